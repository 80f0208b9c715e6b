// SPDX-License-Identifier: MIT
/*
 * local.h - a lock among the threads of one process, which a fork leaves behind.
 */
#ifndef KN_BASE_LOCAL_H
#define KN_BASE_LOCAL_H

#include <base/attributes.h>

/* Who holds it: pid and thread id; 0: nobody. All zero is free. */
struct kn_local_lock {
    _Atomic uint64_t holder;
};

/*
 * Takes the lock, waiting as long as another thread of this process holds it. In the child of a
 * fork the holder is of another process, so the lock is free there.
 * Returns 0, or -EBUSY when this very thread holds it: a signal handler came in between.
 */
int kn_local_acquire(struct kn_local_lock *lock);

void kn_local_release(struct kn_local_lock *lock);

#endif
