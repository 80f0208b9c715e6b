// SPDX-License-Identifier: MIT
/*
 * supply.c - where the heap's memory comes from, and where it goes back to.
 *
 * Before the file grows, what is only held is looked for: remains of the dead, shelved slabs that
 * turned out empty, free neighbours that were kept apart because the pages of one of them were given
 * back. Then the file grows by steps of 2 MiB under grow_lock, and the units of the new part are put
 * into runs under heap.lock: two locks, one after the other, never one inside the other.
 *
 * Memory goes back to the system by punching holes into the file where a run of 1 MiB or more was
 * free for a second: late and rarely, for all growing and punching of a family waits on one inode.
 * Such a run is committed again before it is used, so that touching it can never raise SIGBUS.
 *
 * Sudden death: a run on its way (being committed again, punched, made a part of a table) is a LARGE
 * run of the thread at work and stands in its intent, so the sweep frees it. It keeps the mark that
 * its pages may be missing until they surely are there.
 */
#include <shm/supply.h>

#include <base/error.h>
#include <base/system.h>
#include <errno.h>
#include <shm/member.h>
#include <string.h>

#define CLEAN_LOOKS    256
#define TRIM_UNITS     ((1 << 20) >> KN_UNIT_SHIFT)
#define TRIM_NOW_UNITS ((64 << 10) >> KN_UNIT_SHIFT)
#define TRIM_AGE       1000u /* milliseconds */
#define TRIM_PAUSE     100u

int kn_heap_trusted(void)
{
    if (kn_unlikely(atomic_load_explicit(&kn_process.header->heap.poisoned, memory_order_relaxed)))
        return kn_fail(-EBADMSG, "the family's heap is damaged: some process wrote where it must "
                                 "not; end the family and start it anew");
    return 0;
}

static uint64_t load(uint32_t unit)
{
    return atomic_load_explicit(kn_unit_word(unit), memory_order_relaxed);
}

/* Under heap.lock: takes a run that the thread names as its intent before it takes it. */
static uint32_t take_intended(struct kn_thread *t, uint32_t unit, uint64_t n, uint64_t flags)
{
    if (!KN_PLANT("large-intent-late"))
        kn_intend(t, kn_unit_address(unit));
    return kn_run_carve(unit, n, kn_word_make(KN_UNIT_LARGE, 0, 0, t->self->slot) | flags);
}

static void give(struct kn_thread *t, uint32_t unit)
{
    kn_heap_lock(t);
    kn_run_give(unit);
    kn_heap_unlock(t);
}

/* Pages of the run may have been given back: commit them again. The run is whole then, or free. */
static int fill_holes(struct kn_thread *t, uint32_t unit, uint64_t n)
{
    int error = kn_arena_recommit(t, (uint64_t)unit << KN_UNIT_SHIFT, n << KN_UNIT_SHIFT);
    if (error) {
        give(t, unit);
        kn_intend(t, NULL);
        return error;
    }
    kn_assert("H6", t->self->intent == (uint64_t)(uintptr_t)kn_unit_address(unit));
    kn_heap_lock(t);
    kn_run_mark(unit, load(unit) & ~KN_PAGES);
    kn_heap_unlock(t);
    return 0;
}

/* Finds memory that is only held: of the dead, of empty slabs, of neighbours kept apart. */
static void reclaim(struct kn_thread *t)
{
    if (kn_sweep_needed(0))
        kn_sweep(t);
    kn_heap_lock(t);
    kn_shelves_clean(CLEAN_LOOKS);
    if (kn_process.header->heap.holes) {
        kn_process.header->heap.holes = 0;
        kn_runs_join();
    }
    kn_heap_unlock(t);
}

void *kn_supply(struct kn_thread *t, uint64_t n, int *error)
{
    if (kn_fault_here(KN_TAKE_UNITS)) {
        *error = kn_fail(-ENOMEM, "no memory: a test wants it so");
        return NULL;
    }
    kn_assert("H6", t->self->intent == 0);
    int solid = 0; /* pages cannot be had at the moment: only what is there already */
    for (int attempt = 0;; attempt++) {
        *error = kn_heap_trusted();
        if (*error)
            return NULL;
        kn_heap_lock(t);
        kn_units_extend();
        uint32_t unit = kn_run_find(n, solid);
        if (unit)
            take_intended(t, unit, n, 0);
        uint64_t pages = unit ? load(unit) & KN_PAGES : 0;
        uint64_t goal = unit ? 0 : kn_units_end() + kn_units_missing(n);
        kn_heap_unlock(t);
        if (unit && pages && fill_holes(t, unit, n) < 0) {
            solid = 1;
            continue;
        }
        if (unit)
            return kn_unit_address(unit);
        if (attempt == 0) {
            reclaim(t);
            continue;
        }
        *error = kn_arena_grow(t, goal << KN_UNIT_SHIFT);
        if (*error)
            return NULL;
    }
}

/* ---- Tables ---- */

/* Under heap.lock: makes a run the table's next chunk. 0: the table is full. */
static int list_chunk(enum kn_table table, void *chunk)
{
    struct kn_header *header = kn_process.header;
    uint32_t entries = table == KN_TABLE_MEMBERS ? KN_MEMBER_CHUNKS : KN_PARTICIPANT_CHUNKS;
    uint32_t i = 0;
    if (table == KN_TABLE_MEMBERS)
        while (i < entries && atomic_load(&header->members[i]))
            i++;
    else
        while (i < entries && atomic_load(&header->participants[i]))
            i++;
    if (i == entries)
        return 0;
    kn_run_mark(kn_unit_of(chunk), kn_word_make(KN_UNIT_TABLE, table, kn_table_units(table), 0));
    if (table == KN_TABLE_MEMBERS) {
        atomic_store_explicit(&header->members[i], chunk, memory_order_release);
    } else {
        kn_participants_prepare(header, chunk, i * KN_PARTICIPANTS_IN_CHUNK);
        atomic_store_explicit(&header->participants[i], chunk, memory_order_release);
    }
    return 1;
}

int kn_table_extend(struct kn_thread *t, enum kn_table table)
{
    int error;
    uint32_t n = kn_table_units(table);
    void *chunk = kn_supply(t, n, &error);
    if (!chunk)
        return error;
    memset(chunk, 0, n * KN_UNIT);
    kn_heap_lock(t);
    int listed = list_chunk(table, chunk);
    if (!listed)
        kn_run_give(kn_unit_of(chunk));
    kn_heap_unlock(t);
    kn_intend(t, NULL);
    return listed ? 0
                  : kn_fail(-ENOSPC, "the family has as many %s as it can hold",
                            table == KN_TABLE_MEMBERS ? "processes" : "threads");
}

/* ---- Giving back ---- */

/* One run, out of the lists while its pages go. Returns its bytes, 0: there was none. */
static int64_t trim_one(struct kn_thread *t, uint64_t least, uint32_t age)
{
    kn_heap_lock(t);
    uint32_t unit = kn_run_find_old(least, age);
    uint64_t n = unit ? kn_word_length(load(unit)) : 0;
    if (unit)
        take_intended(t, unit, n, KN_HOLES);
    kn_heap_unlock(t);
    if (!unit)
        return 0;

    uint64_t offset = (uint64_t)unit << KN_UNIT_SHIFT, length = n << KN_UNIT_SHIFT, done = 0;
    kn_assert("H6", t->self->intent == (uint64_t)(uintptr_t)kn_unit_address(unit));
    int error = 0;
    while (done < length && !error) {
        uint64_t step = length - done < KN_COMMIT_STEP ? length - done : KN_COMMIT_STEP;
        error = kn_arena_punch(offset + done, step);
        done += error ? 0 : step;
    }
    kn_heap_lock(t);
    kn_process.header->heap.holes = 1;
    uint64_t pages = done == length ? KN_PAGES : KN_HOLES;
    kn_run_mark(unit, (load(unit) & ~KN_PAGES) | pages);
    kn_run_give(unit);
    kn_heap_unlock(t);
    kn_intend(t, NULL);
    return (int64_t)done;
}

static int64_t trim(struct kn_thread *t, uint64_t least, uint32_t age)
{
    int64_t sum = 0, bytes;
    while ((bytes = trim_one(t, least, age)) > 0)
        sum += bytes;
    return sum;
}

int64_t kn_trim(struct kn_thread *t)
{
    kn_heap_lock(t);
    kn_adopt_strays(t, 0);
    kn_shelves_clean(UINT32_MAX);
    kn_heap_unlock(t);
    return trim(t, TRIM_NOW_UNITS, 0);
}

void kn_trim_sometimes(struct kn_thread *t)
{
    struct kn_heap *heap = &kn_process.header->heap;
    uint32_t now = kn_milliseconds();
    uint32_t last = atomic_load_explicit(&heap->last_trim, memory_order_relaxed);
    if (now - last < TRIM_PAUSE ||
        !atomic_compare_exchange_strong_explicit(&heap->last_trim, &last, now, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    trim(t, TRIM_UNITS, TRIM_AGE);
}
