// SPDX-License-Identifier: MIT
/*
 * inspect.h - walking the heap: figures, and what must always hold.
 */
#ifndef KN_SHM_INSPECT_H
#define KN_SHM_INSPECT_H

#include <kin/heap.h>
#include <shm/sweep.h>

/* Fills the figures; 0 or -EBADMSG with words. */
int kn_heap_count(struct kn_thread *t, kin_heap_statistics *statistics);

/* Tests the invariants H1 to H4 and A2; 0 or -EBADMSG with the first violation in words. */
int kn_heap_verify(struct kn_thread *t);

#endif
