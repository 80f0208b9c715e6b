// SPDX-License-Identifier: MIT
/*
 * peer_word.h - the limit of every lock: one compare-and-swap to take a plain word, one exchange to
 * let it go and to learn whether somebody sleeps. It survives nobody's death.
 *
 * There is nobody to wait for where it is used; it spins, so that it is a lock all the same.
 */
#ifndef PEER_WORD_H
#define PEER_WORD_H

#include <stdatomic.h>
#include <stdint.h>

struct peer_word {
    _Atomic uint32_t word; /* 0, or who holds it */
};

static inline void peer_word_acquire(struct peer_word *lock, uint32_t me)
{
    uint32_t free = 0;
    while (!atomic_compare_exchange_strong_explicit(&lock->word, &free, me, memory_order_acquire,
                                                    memory_order_relaxed))
        free = 0;
}

/* Returns what was in the word; a lock with sleepers would look at it. */
static inline uint32_t peer_word_release(struct peer_word *lock)
{
    return atomic_exchange_explicit(&lock->word, 0, memory_order_release);
}

#endif
