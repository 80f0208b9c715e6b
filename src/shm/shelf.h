// SPDX-License-Identifier: MIT
/*
 * shelf.h - slabs of small blocks, and the shelves of those that nobody owns.
 */
#ifndef KN_SHM_SHELF_H
#define KN_SHM_SHELF_H

#include <shm/units.h>

/*
 * A slab: a run of units cut into blocks of one size.
 *
 *   | header | alloc bits | remote bits | block 0 | block 1 | ...
 *
 * owner: the id of the thread that allocates from it; 0: nobody, and it was full when left (who
 * frees a block of it may take it by compare-and-swap); KN_SHELVED: nobody, and it is on a shelf
 * (to be taken under heap.lock only).
 * alloc bits: 1 is allocated. Writer: the owner alone. Reader: anyone, as a check.
 * remote bits: blocks that others freed. Writers: anyone, by fetch-or; the owner clears them when it
 * folds them into the alloc bits. A bit set in both: freed, not folded yet (H5).
 * free, cursor, place, next, previous: the owner's caches; under heap.lock when shelved.
 * The rest never changes while the slab is one.
 */
struct kn_slab {
    _Atomic uint64_t owner;
    uint32_t magic;
    uint32_t class;
    uint32_t size, count;
    uint32_t first;      /* where block 0 begins, from the slab's begin */
    uint32_t reciprocal; /* 2^32 / size, rounded up */
    uint32_t words;      /* of each bit map */
    uint32_t free;       /* blocks that are free, remote ones not counted */
    uint32_t cursor;     /* the word of the bit map to look at first */
    uint32_t place;      /* where its owner keeps it: enum kn_place */
    struct kn_slab *next, *previous;
    _Alignas(64) _Atomic uint64_t bits[];
};

_Static_assert(sizeof(struct kn_slab) == KN_SLAB_BYTES, "the layout's hash counts on it");

enum kn_place { KN_PLACE_NONE, KN_PLACE_LIST, KN_PLACE_CURRENT };

#define KN_SHELVED          UINT64_MAX
#define KN_SLAB_MAGIC       0x62616c73u /* "slab" */
#define KN_LARGEST_COMPUTED 1024u
#define KN_LARGEST_SMALL    32736u

/* The words of the remote bits begin on a line of their own. */
KN_INLINE uint32_t kn_slab_stride(const struct kn_slab *slab)
{
    return (slab->words + 7) / 8 * 8;
}

KN_INLINE _Atomic uint64_t *kn_slab_alloc(struct kn_slab *slab)
{
    return slab->bits;
}

KN_INLINE _Atomic uint64_t *kn_slab_remote(struct kn_slab *slab)
{
    return slab->bits + kn_slab_stride(slab);
}

KN_INLINE void *kn_slab_block(struct kn_slab *slab, uint32_t index)
{
    return (char *)slab + slab->first + (uint64_t)index * slab->size;
}

/*
 * The block's number in its slab, or slab->count if the pointer is not the begin of one. The
 * multiplication divides exactly where the remainder is zero, and is checked for the rest.
 */
KN_INLINE uint32_t kn_slab_index(const struct kn_slab *slab, const void *block)
{
    uint64_t offset = (uint64_t)((const char *)block - (const char *)slab) - slab->first;
    uint64_t index = offset * slab->reciprocal >> 32;
    return offset >> 32 == 0 && index < slab->count && index * slab->size == offset
               ? (uint32_t)index
               : slab->count;
}

/* The class of a size up to KN_LARGEST_SMALL. */
uint32_t kn_class_of(size_t size);

/*
 * The same up to KN_LARGEST_COMPUTED: steps of 16 bytes up to 128, then four steps to each power
 * of two.
 */
KN_INLINE uint32_t kn_class_computed(size_t size)
{
    if (kn_likely(size <= 128))
        return size <= 16 ? 0 : (uint32_t)(size - 1) / 16;
    uint32_t last = (uint32_t)size - 1;
    uint32_t power = 31 - (uint32_t)__builtin_clz(last);
    return power * 4 + (last >> (power - 2)) - 24;
}

/* Bytes of a block of the class, and units of its slabs. */
uint32_t kn_class_size(uint32_t class);
uint32_t kn_class_units(uint32_t class);

/* Makes the memory of a run a slab whose blocks are all free; before its unit's word says so. */
void kn_slab_format(struct kn_slab *slab, uint32_t class, kn_id owner);

/* Moves what others freed into the alloc bits; the caller owns the slab. Returns free blocks. */
uint32_t kn_slab_fold(struct kn_slab *slab);

/* Counts the free blocks anew after a death, remote ones folded in. */
uint32_t kn_slab_recount(struct kn_slab *slab);

/* The slab that this unit's run is, checked; NULL if it is none. */
KN_INLINE struct kn_slab *kn_slab_at(uint32_t unit, uint64_t word)
{
    struct kn_slab *slab = kn_unit_address(unit);
    return kn_word_kind(word) == KN_UNIT_SLAB && slab->magic == KN_SLAB_MAGIC &&
                   slab->class < KN_CLASSES && slab->class == kn_word_class(word)
               ? slab
               : NULL;
}

/*
 * The slab that a pointer points into, if this thread owns it; else NULL. As the arena is aligned
 * to units, the slab's address does not wait for what the words say.
 */
KN_INLINE struct kn_slab *kn_slab_own_around(kn_id self, const void *pointer)
{
    uint64_t unit = kn_arena_offset(pointer) >> KN_UNIT_SHIFT;
    if (kn_unlikely(unit >= kn_units_end()))
        return NULL;
    const char *begin = (const char *)((uintptr_t)pointer & ~(uintptr_t)(KN_UNIT - 1));
    uint64_t word = atomic_load_explicit(kn_unit_word((uint32_t)unit), memory_order_acquire);
    if (kn_word_kind(word) == KN_UNIT_CONTINUED) {
        uint32_t back = kn_word_length(word);
        if (kn_unlikely(back > unit))
            return NULL;
        begin -= back * KN_UNIT;
        word = atomic_load_explicit(kn_unit_word((uint32_t)unit - back), memory_order_acquire);
    }
    struct kn_slab *slab = (struct kn_slab *)(uintptr_t)begin;
    return kn_word_kind(word) == KN_UNIT_SLAB &&
                   atomic_load_explicit(&slab->owner, memory_order_acquire) == self
               ? slab
               : NULL;
}

/* ---- Under heap.lock ---- */

/* A slab of nobody's with room for this class, taken off its shelf for a new owner; or NULL. */
struct kn_slab *kn_shelf_take(uint32_t class, kn_id owner);

/*
 * What becomes of a slab that nobody owns any more: freed, shelved or, when full, left alone.
 * Returns the first unit of the run that it is part of now.
 */
uint32_t kn_slab_settle(struct kn_slab *slab);

/* Takes a slab of owner 0 in which blocks were freed. 1: it is this thread's now. */
int kn_slab_take_stray(struct kn_slab *slab, kn_id self);

/* Frees shelved slabs that turned out empty, looking at up to so many. Returns units freed. */
uint64_t kn_shelves_clean(uint32_t looks);

/* Makes the shelves anew from the slabs themselves. */
void kn_shelves_repair(void);

#endif
