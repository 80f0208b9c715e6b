// SPDX-License-Identifier: MIT
/*
 * sweep.h - the heap's lock with its repair, and what dead threads left in the heap.
 */
#ifndef KN_SHM_SWEEP_H
#define KN_SHM_SWEEP_H

#include <shm/lock.h>
#include <shm/shelf.h>

/* Takes the heap's lock; makes the caches anew first if its last holder died. Releases it. */
void kn_heap_lock(struct kn_thread *t);
void kn_heap_unlock(struct kn_thread *t);

/*
 * Is a slot of a dead thread waiting to be swept? Some loads. Where nobody marks the dead, and when
 * a thorough answer is wanted, /proc is asked about each that counts as alive.
 */
int kn_sweep_needed(int thorough);

/*
 * Puts in order what dead threads left: their half-done blocks are freed, their slabs are anyone's,
 * their slots can be used again. May be called at any time, outside sections; a sweeper that dies
 * is swept with the rest.
 */
void kn_sweep(struct kn_thread *t);

/* Under heap.lock: frees what a dead thread was just handing out; clears its intent. */
void kn_settle_intent(struct kn_participant *p);

/*
 * Under heap.lock: settles slabs of nobody's that have room, and with of_the_dead also those whose
 * owner is condemned. In between they belong to the calling thread.
 */
void kn_adopt_strays(struct kn_thread *t, int of_the_dead);

/* Names the block that this thread is handing out or moving; NULL: none. */
KN_INLINE void kn_intend(struct kn_thread *t, const void *block)
{
    kn_compiler_barrier();
    atomic_store_explicit(&t->self->intent, (uint64_t)(uintptr_t)block, memory_order_relaxed);
    kn_compiler_barrier();
}

#endif
