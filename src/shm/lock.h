// SPDX-License-Identifier: MIT
/*
 * lock.h - the internal lock: four bytes, robust, for short sections of the library.
 *
 * Rules: no nesting; no user code, no blocking system call of unknown length, no return to the
 * caller inside. The owner word is the claim and its attribution in one store.
 */
#ifndef KN_SHM_LOCK_H
#define KN_SHM_LOCK_H

#include <shm/thread.h>

/* The slow halves; see lock.c. */
int kn_lock_wait(struct kn_thread *t, struct kn_lock *lock);
void kn_lock_wake(struct kn_lock *lock);
int kn_lock_acquire_otherwise(struct kn_thread *t, struct kn_lock *lock);
void kn_lock_release_otherwise(struct kn_thread *t, struct kn_lock *lock);

/* For assertions: does this thread hold the lock? */
KN_INLINE int kn_lock_is_ours(const struct kn_thread *t, const struct kn_lock *lock)
{
    return (atomic_load_explicit(&lock->word, memory_order_relaxed) & FUTEX_TID_MASK) == t->tid;
}

/*
 * Takes the lock, waiting as long as a live holder keeps it. Returns 0, or 1 when the last holder
 * died inside: the caller must repair what the lock protects before anything else. If it dies in
 * turn, the next one gets 1 again.
 *
 * Sudden death: list_op_pending names the word from before the claim until after the release, so
 * whenever the word is ours the kernel knows it.
 */
KN_INLINE int kn_lock_acquire(struct kn_thread *t, struct kn_lock *lock)
{
    if (kn_unlikely(kn_process.mode == KN_ROBUST_MUTEX))
        return kn_lock_acquire_otherwise(t, lock);
    kn_assert("L4", t->robust->list_op_pending == NULL);
    if (!KN_PLANT("lock-unnamed"))
        t->robust->list_op_pending = kn_robust_node(&lock->word, kn_process.futex_offset);
    kn_compiler_barrier();
    uint32_t free = 0;
    /* acquire: pairs with the exchange in release, and with the kernel's mark of a dead holder */
    if (kn_likely(atomic_compare_exchange_strong_explicit(
            &lock->word, &free, t->tid, memory_order_acquire, memory_order_relaxed)))
        return 0;
    return kn_lock_wait(t, lock);
}

/* Lets go. The word becomes 0 first: a kernel that finds it so under our name wakes a waiter. */
KN_INLINE void kn_lock_release(struct kn_thread *t, struct kn_lock *lock)
{
    if (kn_unlikely(kn_process.mode == KN_ROBUST_MUTEX)) {
        kn_lock_release_otherwise(t, lock);
        return;
    }
    kn_assert("L1", kn_lock_is_ours(t, lock));
    if (KN_PLANT("lock-name-dropped-early"))
        t->robust->list_op_pending = NULL;
    uint32_t last = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (kn_unlikely(last & FUTEX_WAITERS))
        kn_lock_wake(lock);
    kn_compiler_barrier();
    t->robust->list_op_pending = NULL;
}

#endif
