// SPDX-License-Identifier: MIT
/*
 * slab.h - allocating and freeing small blocks, from the slabs of the calling thread.
 */
#ifndef KN_SHM_SLAB_H
#define KN_SHM_SLAB_H

#include <errno.h>
#include <shm/supply.h>

/*
 * A free block of the class, which becomes the thread's intent; the caller clears the intent when
 * it hands the block out. NULL: *error as kn_supply.
 */
void *kn_slab_take(struct kn_thread *t, uint32_t class, int *error);

/* Frees a block of this slab. 0, -EINVAL (not the begin of a block) or -EALREADY (free). */
int kn_slab_give(struct kn_thread *t, struct kn_slab *slab, const void *block);

/* ---- The common path: inline, and without a call on it ---- */

/* An own slab that is not the current one got room or became empty: into the list, or away. */
void kn_slab_rearrange(struct kn_thread *t, struct kn_slab *slab);

/*
 * kn_slab_take from a slab that has room.
 *
 * Sudden death: the intent comes before the alloc bit; see slab.c.
 */
KN_INLINE void *kn_slab_take_own(struct kn_thread *t, struct kn_slab *slab)
{
    _Atomic uint64_t *alloc = kn_slab_alloc(slab);
    uint32_t w = slab->cursor;
    kn_assert("H4", slab->owner == t->id && slab->free > 0);
    uint64_t taken = atomic_load_explicit(&alloc[w], memory_order_relaxed);
    if (kn_unlikely(taken == UINT64_MAX)) {
        do
            w = w + 1 == slab->words ? 0 : w + 1;
        while ((taken = atomic_load_explicit(&alloc[w], memory_order_relaxed)) == UINT64_MAX);
        slab->cursor = w;
    }
    uint32_t bit = (uint32_t)__builtin_ctzll(~taken);
    void *block = kn_slab_block(slab, w * 64 + bit);
    if (!KN_PLANT("slab-intent-late"))
        kn_intend(t, block);
    atomic_store_explicit(&alloc[w], taken | (uint64_t)1 << bit, memory_order_relaxed); /* commit */
    slab->free--;
    if (KN_PLANT("slab-intent-late"))
        kn_intend(t, block);
    return block;
}

/* kn_slab_give to a slab of the thread's own. On an error nothing was changed. */
KN_INLINE int kn_slab_give_own(struct kn_thread *t, struct kn_slab *slab, uint32_t index)
{
    uint64_t bit = (uint64_t)1 << index % 64;
    _Atomic uint64_t *alloc = &kn_slab_alloc(slab)[index / 64];
    uint64_t taken = atomic_load_explicit(alloc, memory_order_relaxed);
    uint64_t freed = atomic_load_explicit(&kn_slab_remote(slab)[index / 64], memory_order_relaxed);
    if (kn_unlikely(!(taken & bit) || (freed & bit)))
        return -EALREADY;
    atomic_store_explicit(alloc, taken & ~bit, memory_order_relaxed); /* commit */
    uint32_t free = ++slab->free;
    kn_assert("H5", slab->owner == t->id && free <= slab->count);
    slab->cursor = index / 64;
    if (kn_unlikely(slab->place == KN_PLACE_NONE ||
                    (free == slab->count && slab->place == KN_PLACE_LIST)))
        kn_slab_rearrange(t, slab);
    return 0;
}

/* 0 if the block is allocated, else as kn_slab_give. */
int kn_slab_verify(struct kn_slab *slab, const void *block);

/* Frees this thread's slabs that are empty; under heap.lock. */
void kn_slabs_trim(struct kn_thread *t);

/* The thread ends; under heap.lock: its slabs are anyone's. */
void kn_slabs_leave(struct kn_thread *t);

#endif
