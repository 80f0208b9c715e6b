// SPDX-License-Identifier: MIT
/*
 * local.c - the lock for what a process does once: to begin, to join, to find out that it is a fork.
 *
 * A pthread mutex would stay locked for ever in the child of a fork that came while another thread
 * held it. Here the holder's pid stands in the word, and a pid that is not ours does not count. It
 * is taken a few times in the life of a process, so waiting is a look every tenth of a millisecond.
 *
 * Sudden death: the lock is in no shared memory; it ends with the process.
 */
#include <base/local.h>

#include <base/clock.h>
#include <base/system.h>
#include <errno.h>

int kn_local_acquire(struct kn_local_lock *lock)
{
    uint64_t pid = kn_getpid(), mine = pid << 32 | kn_gettid(), seen = 0;
    while (!atomic_compare_exchange_strong_explicit(&lock->holder, &seen, mine,
                                                    memory_order_acquire, memory_order_relaxed)) {
        if (seen == mine)
            return -EBUSY;
        if (seen >> 32 != pid)
            continue; /* seen is what the next try expects */
        /* Nobody wakes this one: a sleep that is no cancellation point. */
        static const _Atomic uint32_t nothing;
        struct timespec until = kn_timespec(kn_now() + KIN_US(100));
        kn_futex_wait(&nothing, 0, &until);
        seen = 0;
    }
    return 0;
}

void kn_local_release(struct kn_local_lock *lock)
{
    atomic_store_explicit(&lock->holder, 0, memory_order_release);
}
