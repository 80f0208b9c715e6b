// SPDX-License-Identifier: MIT
/*
 * lock.c - waiting for an internal lock, and taking it from the dead.
 *
 * The word is TID | FUTEX_WAITERS | FUTEX_OWNER_DIED, which is what the kernel's walk at a thread's
 * end understands. The lock is in no list: while a thread is about to take it, holds it or is
 * about to let go, the field list_op_pending of its list's head names it, and that is enough. A
 * robust lock so costs 0.2 ns more than one that is not.
 *
 *   free 0 --CAS--> TID --xchg--> 0            in order
 *                   TID --kernel--> OWNER_DIED  killed inside; the next one repairs
 *
 * A waiter sets FUTEX_WAITERS and sleeps on the word. It wakes by the release, by the kernel's
 * mark, or by itself after about a second, to ask /proc about a holder that the kernel did not mark
 * (participant.c). Killed between a release and its wake, or woken and killed before it took the
 * lock: the kernel finds the word free under the pending name and wakes the next waiter. One case
 * remains to the second: a third thread takes the lock in between, and lets go not knowing of the
 * other sleepers (L3).
 *
 * Where the list is not to be found (KN_ROBUST_MUTEX), the section runs under one of 64 robust
 * pthread mutexes, by hash of the lock's address, which is safe since sections do not nest. The word
 * still says who is inside: found set under the mutex, it tells that its owner died in here, in
 * this lock and not in another of the same stripe.
 *
 * Sudden death: that is what this file is about. What must hold: L1 to L4 in doc/invariants.md.
 */
#include <shm/lock.h>

#include <base/clock.h>
#include <base/system.h>
#include <errno.h>

#define SPINS 100

#if defined(KN_THREAD_SANITIZER)
/* The sanitizer does not see what the kernel stores, nor that a dead thread's stores are done. */
void __tsan_acquire(void *address);
#define saw_kernel_mark(word) __tsan_acquire((void *)(word))
#else
#define saw_kernel_mark(word) ((void)(word))
#endif

/* Nobody holds it: take it, keeping what must be kept. 1: got it, *died says from whom. */
static int take(struct kn_thread *t, struct kn_lock *lock, uint32_t seen, uint32_t waiters,
                int *died)
{
    kn_assert("L1", t->robust->list_op_pending != NULL);
    kn_assert("L1", (seen & FUTEX_TID_MASK) == 0);
    uint32_t mine = t->tid | (seen & FUTEX_WAITERS) | waiters;
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &seen, mine, memory_order_acquire,
                                                 memory_order_relaxed))
        return 0;
    *died = (seen & FUTEX_OWNER_DIED) != 0;
    if (*died)
        saw_kernel_mark(&lock->word);
    return 1;
}

/*
 * Nobody woke us for a second. If the lock is free, a wake-up was lost; if its holder is gone, do
 * what the kernel would have done.
 */
static void suspect(struct kn_lock *lock, uint32_t seen)
{
    uint32_t tid = seen & FUTEX_TID_MASK;
    uint32_t now = atomic_load_explicit(&lock->word, memory_order_relaxed);
    int rescued = (now & FUTEX_TID_MASK) == 0;
    if (now == seen && kn_tid_gone(kn_process.header, tid)) {
        uint32_t dead = (seen & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        rescued = atomic_compare_exchange_strong_explicit(
            &lock->word, &seen, dead, memory_order_acq_rel, memory_order_relaxed);
    }
    if (rescued)
        atomic_fetch_add_explicit(&kn_process.header->rescues, 1, memory_order_relaxed);
}

KN_COLD int kn_lock_wait(struct kn_thread *t, struct kn_lock *lock)
{
    int died = 0;
    for (int spin = 0; spin < SPINS; spin++) {
        uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
        if ((seen & FUTEX_TID_MASK) == 0 && take(t, lock, seen, 0, &died))
            return died;
        kn_relax();
    }
    uint32_t waiters = 0; /* having slept, one cannot know who else sleeps */
    for (;;) {
        uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
        if ((seen & FUTEX_TID_MASK) == 0) {
            if (take(t, lock, seen, waiters, &died))
                return died;
            continue;
        }
        if (!(seen & FUTEX_WAITERS)) {
            uint32_t announced = seen | FUTEX_WAITERS;
            if (!atomic_compare_exchange_strong_explicit(
                    &lock->word, &seen, announced, memory_order_relaxed, memory_order_relaxed))
                continue;
            seen = announced;
        }
        struct timespec deadline = kn_timespec(kn_now() + kn_jittered_second());
        long woken = kn_futex_wait(&lock->word, seen, &deadline);
        waiters = FUTEX_WAITERS;
        if (woken == -ETIMEDOUT)
            suspect(lock, seen);
    }
}

KN_COLD void kn_lock_wake(struct kn_lock *lock)
{
    if (!KN_PLANT("lock-no-wake"))
        kn_futex_wake(&lock->word, 1);
}

static pthread_mutex_t *stripe_of(const struct kn_lock *lock)
{
    uint64_t mixed = (uint64_t)(uintptr_t)lock * 0x9e3779b97f4a7c15u;
    return &kn_process.header->stripe[mixed >> 58];
}

KN_COLD int kn_lock_acquire_otherwise(struct kn_thread *t, struct kn_lock *lock)
{
    pthread_mutex_t *stripe = stripe_of(lock);
    if (pthread_mutex_lock(stripe) == EOWNERDEAD)
        pthread_mutex_consistent(stripe);
    int died = atomic_load_explicit(&lock->word, memory_order_relaxed) != 0;
    kn_assert("L4", !kn_lock_is_ours(t, lock));
    atomic_store_explicit(&lock->word, t->tid, memory_order_relaxed);
    return died;
}

KN_COLD void kn_lock_release_otherwise(struct kn_thread *t, struct kn_lock *lock)
{
    kn_assert("L1", kn_lock_is_ours(t, lock));
    atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
    pthread_mutex_unlock(stripe_of(lock));
    (void)t;
}
