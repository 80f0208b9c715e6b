// SPDX-License-Identifier: MIT
/*
 * peer_ring.h - a ring of pointers between one producer and one consumer, the plainest there is:
 * each side keeps its own index and looks at the other's only when the ring seems full or empty.
 *
 * It carries what is measured, and is the same for all of them: threads or processes, zeroed
 * memory that both see. It spins; after a while it yields, for a machine with one CPU.
 */
#ifndef PEER_RING_H
#define PEER_RING_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#define PEER_RING_CELLS 1024u
#define PEER_RING_SPINS 10000

/* head: writer is the producer (release); tail: the consumer. The copies are private to a side. */
struct peer_ring {
    _Alignas(128) _Atomic uint64_t head;
    uint64_t tail_seen;
    _Alignas(128) _Atomic uint64_t tail;
    uint64_t head_seen;
    _Alignas(128) void *cell[PEER_RING_CELLS];
};

static inline void peer_ring_relax(int *spins)
{
    if (++*spins > PEER_RING_SPINS)
        sched_yield();
#if defined(__x86_64__)
    else
        __builtin_ia32_pause();
#endif
}

static inline void peer_ring_put(struct peer_ring *ring, void *pointer)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    for (int spins = 0; head - ring->tail_seen == PEER_RING_CELLS; peer_ring_relax(&spins))
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
    ring->cell[head % PEER_RING_CELLS] = pointer;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

static inline void *peer_ring_get(struct peer_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (int spins = 0; tail == ring->head_seen; peer_ring_relax(&spins))
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
    void *pointer = ring->cell[tail % PEER_RING_CELLS];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return pointer;
}

#endif
