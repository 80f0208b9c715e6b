// SPDX-License-Identifier: MIT
/*
 * units.h - the arena behind its header, in units of 16 KiB: who has which.
 *
 * Units are in runs. A run's first unit has the word that says what the run is; that word's store
 * is the commit of every operation here. The others point back to it or say nothing.
 */
#ifndef KN_SHM_UNITS_H
#define KN_SHM_UNITS_H

#include <shm/arena.h>
#include <shm/lock.h>

/*
 * A unit's word:  63..58 unused | 57 empty | 56 holes | 55..40 slot | 39..12 length | 11..4 class | 3..0 kind
 *
 * length: units of the run; of a CONTINUED unit, how far back its run begins. slot: which
 * participant took a LARGE run. class: of a SLAB its size class, of a TABLE which table. holes:
 * pages of the run may have been given back to the system, so it must be committed again before
 * use; empty: all of them were.
 * Writer: the holder of heap.lock. Reader: anyone (acquire).
 */
enum kn_unit_kind {
    KN_UNIT_INSIDE,    /* inside a free run: says nothing */
    KN_UNIT_FREE,      /* a free run begins */
    KN_UNIT_TAIL,      /* a free run of this length ends */
    KN_UNIT_LARGE,     /* one large block */
    KN_UNIT_SLAB,      /* a slab of small blocks */
    KN_UNIT_TABLE,     /* a part of the library's tables */
    KN_UNIT_CONTINUED, /* inside a run that is in use */
};

enum kn_table {
    KN_TABLE_HEADER,
    KN_TABLE_LEAF,
    KN_TABLE_PARTICIPANTS,
    KN_TABLE_MEMBERS,
};

#define KN_HOLES ((uint64_t)1 << 56)
#define KN_EMPTY ((uint64_t)1 << 57)
#define KN_PAGES (KN_HOLES | KN_EMPTY)

KN_INLINE enum kn_unit_kind kn_word_kind(uint64_t word)
{
    return (enum kn_unit_kind)(word & 15);
}

KN_INLINE uint32_t kn_word_class(uint64_t word)
{
    return (uint32_t)(word >> 4) & 255;
}

KN_INLINE uint32_t kn_word_length(uint64_t word)
{
    return (uint32_t)(word >> 12) & 0xfffffff;
}

KN_INLINE uint32_t kn_word_slot(uint64_t word)
{
    return (uint32_t)(word >> 40) & 0xffff;
}

KN_INLINE uint64_t kn_word_make(enum kn_unit_kind kind, uint32_t class, uint64_t length,
                                uint32_t slot)
{
    return (uint64_t)kind | (uint64_t) class << 4 | length << 12 | (uint64_t)slot << 40;
}

/* The unit that a pointer lies in. */
KN_INLINE uint32_t kn_unit_of(const void *pointer)
{
    return (uint32_t)(kn_arena_offset(pointer) >> KN_UNIT_SHIFT);
}

KN_INLINE void *kn_unit_address(uint32_t unit)
{
    return (char *)kn_process.header + ((uint64_t)unit << KN_UNIT_SHIFT);
}

/* The unit's word; the unit must be below units_end. */
KN_INLINE _Atomic uint64_t *kn_unit_word(uint32_t unit)
{
    struct kn_leaf *leaf =
        atomic_load_explicit(&kn_process.header->leaf[unit / KN_AREA_UNITS], memory_order_acquire);
    return &leaf->word[unit % KN_AREA_UNITS];
}

/* How many units belong to runs. */
KN_INLINE uint64_t kn_units_end(void)
{
    return atomic_load_explicit(&kn_process.header->heap.units_end, memory_order_acquire);
}

/* For assertions: does this thread hold heap.lock? */
KN_INLINE int kn_heap_is_locked(void)
{
    return kn_lock_is_ours(&kn_thread, &kn_process.header->heap.lock);
}

/* Units of one chunk of a table. */
uint32_t kn_table_units(enum kn_table table);

/* The first units of a new arena: header, first leaf, first chunks of the tables. No lock yet. */
void kn_units_begin(void);

/* ---- Under heap.lock ---- */

/*
 * The length of the run that begins at this unit. 0: none begins here, so some process wrote where
 * it must not; the heap is poisoned then, and a walk ends.
 */
uint64_t kn_run_length(uint64_t unit);

/* Makes bins, tails and insides anew from the heads. -EBADMSG: the heads make no sense. */
int kn_runs_repair(void);

/*
 * Frees the run that begins at unit and joins it with free neighbours whose pages are in the same
 * state. Returns the first unit of the free run that it is part of now.
 */
uint32_t kn_run_give(uint32_t unit);

/* A free run of n or more units whose pages are there, free for so many milliseconds; or 0. */
uint32_t kn_run_find_old(uint64_t n, uint32_t age);

/* Joins free neighbours whatever the state of their pages. */
void kn_runs_join(void);

/* The longest free run, in units, and how many the bins list (0 if a list is broken). */
uint64_t kn_run_longest(void);
uint64_t kn_runs_listed(void);

/* A free run of at least n units, or 0. solid: only one whose pages are all there. */
uint32_t kn_run_find(uint64_t n, int solid);

/*
 * Takes n units off the front of this free run, marked with word (kind, class and slot; the length
 * and what is known of its pages are set here).
 */
uint32_t kn_run_carve(uint32_t unit, uint64_t n, uint64_t word);

/* Stores a run's head: the commit of what changes its kind. */
void kn_run_mark(uint32_t unit, uint64_t word);

/* Puts what the file grew by into runs. */
void kn_units_extend(void);

/* How many units the file must get so that n free ones stand in a row. */
uint64_t kn_units_missing(uint64_t n);

/* Milliseconds, for ages of runs; wraps. */
uint32_t kn_milliseconds(void);

#endif
