// SPDX-License-Identifier: MIT
/*
 * inspect.c - the heap, walked from end to end for people and tests.
 *
 * Under heap.lock no run changes, so runs, bins, shelves and tables can be compared exactly. Bits
 * of slabs that others own change meanwhile: blocks are counted as they are found.
 */
#include <shm/inspect.h>

#include <base/error.h>
#include <base/system.h>
#include <errno.h>
#include <shm/supply.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t load(uint32_t unit)
{
    return atomic_load_explicit(kn_unit_word(unit), memory_order_acquire);
}

static void count_slab(struct kn_slab *slab, kin_heap_statistics *s)
{
    int64_t used = -(int64_t)(slab->words * 64 - slab->count);
    for (uint32_t w = 0; w < slab->words; w++) {
        uint64_t taken = atomic_load_explicit(&kn_slab_alloc(slab)[w], memory_order_relaxed);
        uint64_t freed = atomic_load_explicit(&kn_slab_remote(slab)[w], memory_order_relaxed);
        used += __builtin_popcountll(taken & ~freed);
    }
    s->slabs++;
    s->blocks += used;
    s->used += used * slab->size;
    s->free_small += ((int64_t)slab->count - used) * slab->size;
}

int kn_heap_count(struct kn_thread *t, kin_heap_statistics *s)
{
    struct kn_header *header = kn_process.header;
    struct stat status;
    memset(s, 0, sizeof *s);
    kn_heap_lock(t);
    kn_units_extend();
    uint64_t end = kn_units_end();
    for (uint64_t unit = 0, length; unit < end && (length = kn_run_length(unit)); unit += length) {
        uint64_t word = load((uint32_t)unit);
        int64_t bytes = (int64_t)length << KN_UNIT_SHIFT;
        struct kn_slab *slab = kn_slab_at((uint32_t)unit, word);
        if (slab) {
            count_slab(slab, s);
        } else if (kn_word_kind(word) == KN_UNIT_FREE) {
            s->free_large += bytes;
        } else if (kn_word_kind(word) == KN_UNIT_TABLE) {
            s->tables += bytes;
        } else {
            s->used += bytes;
            s->blocks++;
        }
    }
    s->largest_run = (int64_t)kn_run_longest() << KN_UNIT_SHIFT;
    kn_heap_unlock(t);
    s->reserved = (int64_t)header->size;
    s->length = (int64_t)atomic_load(&header->file_end);
    s->sweeps = (int64_t)atomic_load(&header->heap.sweeps);
    s->repairs = (int64_t)atomic_load(&header->heap.repairs);
    if (KN_SYSTEM_2(KN_FSTAT, kn_process.fd, &status) == 0)
        s->committed = (int64_t)status.st_blocks * 512;
    return kn_heap_trusted();
}

/* ---- Invariants ---- */

static int broken(const char *number, const char *what, uint64_t unit)
{
    return kn_fail(-EBADMSG, "heap: %s: %s, unit %llu (word %llx)", number, what,
                   (unsigned long long)unit,
                   (unsigned long long)(unit < kn_units_end() ? load((uint32_t)unit) : 0));
}

static int check_free(uint64_t unit, uint64_t word, uint64_t before)
{
    uint64_t length = kn_word_length(word);
    if (length > 1 &&
        load((uint32_t)(unit + length - 1)) != kn_word_make(KN_UNIT_TAIL, 0, length, 0))
        return broken("H2", "a free run without its tail", unit);
    for (uint64_t i = 1; i + 1 < length; i++) {
        enum kn_unit_kind kind = kn_word_kind(load((uint32_t)(unit + i)));
        if (kind != KN_UNIT_INSIDE && kind != KN_UNIT_TAIL)
            return broken("H2", "the inside of a free run claims to be something", unit + i);
    }
    if (kn_word_kind(before) == KN_UNIT_FREE && (before & KN_PAGES) == (word & KN_PAGES))
        return broken("H2", "two free runs side by side", unit);
    return 0;
}

static int check_slab(uint64_t unit, uint64_t word)
{
    struct kn_slab *slab = kn_slab_at((uint32_t)unit, word);
    if (!slab)
        return broken("H4", "a slab's header is damaged", unit);
    if (kn_word_length(word) != kn_class_units(slab->class) ||
        slab->size != kn_class_size(slab->class))
        return broken("H4", "a slab of the wrong size", unit);
    uint64_t owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
    if (owner == 0 || owner == KN_SHELVED)
        return 0;
    struct kn_participant *p = kn_participant_at(kn_process.header, kn_id_slot(owner));
    if (!p || kn_id_generation(owner) != atomic_load(&p->generation))
        return broken("H4", "a slab whose owner is in no table", unit);
    return 0;
}

static int check_used(uint64_t unit, uint64_t word)
{
    for (uint64_t i = 1; i < kn_word_length(word); i++)
        if (load((uint32_t)(unit + i)) != kn_word_make(KN_UNIT_CONTINUED, 0, i, 0))
            return broken("H2", "a unit that does not know its run", unit + i);
    return kn_word_kind(word) == KN_UNIT_SLAB ? check_slab(unit, word) : 0;
}

static int check_runs(uint64_t *free_runs, uint64_t *shelved)
{
    uint64_t end = kn_units_end(), before = 0;
    for (uint64_t unit = 0; unit < end;) {
        uint64_t word = load((uint32_t)unit), length = kn_word_length(word);
        enum kn_unit_kind kind = kn_word_kind(word);
        if (length == 0 || unit + length > end || kind == KN_UNIT_INSIDE || kind == KN_UNIT_TAIL ||
            kind > KN_UNIT_TABLE)
            return broken("H1", "no run begins where the last one ends", unit);
        int error = kind == KN_UNIT_FREE ? check_free(unit, word, before) : check_used(unit, word);
        if (error)
            return error;
        *free_runs += kind == KN_UNIT_FREE;
        *shelved += kind == KN_UNIT_SLAB &&
                    ((struct kn_slab *)kn_unit_address((uint32_t)unit))->owner == KN_SHELVED;
        before = word;
        unit += length;
    }
    return 0;
}

static int check_shelves(uint64_t shelved)
{
    struct kn_heap *heap = &kn_process.header->heap;
    for (uint32_t class = 0; class < KN_CLASSES; class ++) {
        uint64_t listed = 0;
        for (struct kn_slab *slab = heap->shelf[class]; slab; slab = slab->next) {
            if (slab->class != class || slab->owner != KN_SHELVED || listed > shelved)
                return broken("H4", "a shelf lists what is not shelved", kn_unit_of(slab));
            listed++;
        }
        if (listed != heap->on_shelf[class])
            return kn_fail(-EBADMSG, "heap: H4: shelf %u counts wrong", class);
        shelved -= listed;
    }
    return shelved ? kn_fail(-EBADMSG, "heap: H4: %llu slabs are shelved on no shelf",
                             (unsigned long long)shelved)
                   : 0;
}

static int check_file(void)
{
    struct kn_header *header = kn_process.header;
    struct stat status;
    uint64_t end = atomic_load(&header->file_end);
    if (kn_units_end() << KN_UNIT_SHIFT > end)
        return kn_fail(-EBADMSG, "heap: H3: units beyond the file's end");
    if (KN_SYSTEM_2(KN_FSTAT, kn_process.fd, &status) == 0 && (uint64_t)status.st_size < end)
        return kn_fail(-EBADMSG, "arena: A2: the file is shorter than the header says");
    return 0;
}

int kn_heap_verify(struct kn_thread *t)
{
    uint64_t free_runs = 0, shelved = 0;
    int error = kn_heap_trusted();
    if (error)
        return error;
    kn_heap_lock(t);
    kn_units_extend();
    error = check_runs(&free_runs, &shelved);
    if (!error && kn_runs_listed() != free_runs)
        error = kn_fail(-EBADMSG, "heap: H2: the bins do not list what is free");
    if (!error)
        error = check_shelves(shelved);
    if (!error)
        error = check_file();
    if (error)
        atomic_store_explicit(&kn_process.header->heap.poisoned, 1, memory_order_release);
    kn_heap_unlock(t);
    return error;
}
