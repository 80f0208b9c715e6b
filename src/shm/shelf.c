// SPDX-License-Identifier: MIT
/*
 * shelf.c - what a slab is, and the slabs that nobody owns.
 *
 * A slab belongs to one thread at a time, which alone writes its alloc bits and so needs no locked
 * instruction to allocate, or to free what is its own. Others that free a block set its remote bit;
 * the owner folds these in when it has nothing left. A full slab is let go at once (owner 0) and
 * found again through its blocks: the first thread that frees one takes the slab over. A slab with
 * room that its owner does not want goes to a shelf of its class, for anyone who needs one.
 *
 * Folding needs no record: alloc bits are cleared first, then the remote bits. Who takes over from
 * one killed in between does the same again; a remote bit whose alloc bit is clear already is
 * folded, not freed twice (H5).
 *
 * Sudden death: which slabs belonged to a dead thread is read from their owner words by the sweep;
 * the lists of its cache are not trusted. The shelves are a cache too: a slab that says KN_SHELVED
 * is on one, and who repairs the heap's lock makes them anew.
 */
#include <shm/shelf.h>

#include <string.h>

#define UNITS_1  1
#define UNITS_4  4
#define UNITS_8  8
#define UNITS_16 16

/*
 * Sizes rise by about a quarter or less. Above 1 KiB they are what divides a slab without much
 * rest, its header counted. Slabs have at most 1,024 blocks and, but for the largest, at least 16.
 */
static const struct {
    uint16_t size;
    uint8_t units;
} classes[KN_CLASSES] = {
    { 16, UNITS_1 },     { 32, UNITS_1 },     { 48, UNITS_1 },     { 64, UNITS_1 },
    { 80, UNITS_1 },     { 96, UNITS_1 },     { 112, UNITS_1 },    { 128, UNITS_1 },
    { 160, UNITS_1 },    { 192, UNITS_1 },    { 224, UNITS_1 },    { 256, UNITS_1 },
    { 320, UNITS_1 },    { 384, UNITS_1 },    { 448, UNITS_1 },    { 512, UNITS_1 },
    { 640, UNITS_4 },    { 768, UNITS_4 },    { 896, UNITS_4 },    { 1024, UNITS_4 },
    { 1280, UNITS_4 },   { 1552, UNITS_4 },   { 1808, UNITS_4 },   { 2096, UNITS_4 },
    { 2608, UNITS_4 },   { 3104, UNITS_4 },   { 3840, UNITS_4 },   { 4080, UNITS_4 },
    { 4352, UNITS_8 },   { 5232, UNITS_8 },   { 6224, UNITS_8 },   { 7264, UNITS_8 },
    { 8176, UNITS_8 },   { 9344, UNITS_16 },  { 10912, UNITS_16 }, { 12464, UNITS_16 },
    { 14544, UNITS_16 }, { 16368, UNITS_16 }, { 18704, UNITS_16 }, { 20144, UNITS_16 },
    { 21824, UNITS_16 }, { 23808, UNITS_16 }, { 26192, UNITS_16 }, { 32736, UNITS_16 },
};

uint32_t kn_class_of(size_t size)
{
    if (size <= KN_LARGEST_COMPUTED)
        return kn_class_computed(size);
    uint32_t class = size > 4080 ? 28 : 20;
    while (classes[class].size < size)
        class ++;
    return class;
}

uint32_t kn_class_size(uint32_t class)
{
    return classes[class].size;
}

uint32_t kn_class_units(uint32_t class)
{
    return classes[class].units;
}

void kn_slab_format(struct kn_slab *slab, uint32_t class, kn_id owner)
{
    uint32_t size = classes[class].size;
    uint32_t bytes = (uint32_t)(classes[class].units * KN_UNIT);
    /* First as if there were no header, then with the bit maps of that many. */
    uint32_t words = (bytes / size + 63) / 64;
    uint32_t stride = (words + 7) / 8 * 8;
    uint32_t first = (uint32_t)KN_ROUND_UP(sizeof *slab + 2ul * stride * 8, 16);
    kn_assert("H4", class < KN_CLASSES && ((uintptr_t)slab & (KN_UNIT - 1)) == 0);
    slab->magic = KN_SLAB_MAGIC;
    slab->class = class;
    slab->size = size;
    slab->count = (bytes - first) / size;
    slab->first = first;
    slab->reciprocal = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
    slab->words = words;
    kn_assert("H4", slab->count > 0 && slab->count <= words * 64);
    slab->free = slab->count;
    slab->cursor = 0;
    slab->place = KN_PLACE_NONE;
    slab->next = slab->previous = NULL;
    memset((void *)slab->bits, 0, 2ul * stride * 8);
    /* Bits beyond the last block count as allocated, so that a search never finds them. */
    for (uint32_t i = slab->count; i < words * 64; i++)
        slab->bits[i / 64] |= (uint64_t)1 << i % 64;
    atomic_store_explicit(&slab->owner, owner, memory_order_release);
}

uint32_t kn_slab_fold(struct kn_slab *slab)
{
    _Atomic uint64_t *alloc = kn_slab_alloc(slab), *remote = kn_slab_remote(slab);
    kn_assert("H4", slab->magic == KN_SLAB_MAGIC);
    for (uint32_t w = 0; w < slab->words; w++) {
        uint64_t freed = atomic_load_explicit(&remote[w], memory_order_acquire);
        if (!freed)
            continue;
        uint64_t was = atomic_load_explicit(&alloc[w], memory_order_relaxed);
        if (KN_PLANT("fold-remote-first"))
            atomic_fetch_and_explicit(&remote[w], ~freed, memory_order_acq_rel);
        atomic_store_explicit(&alloc[w], was & ~freed, memory_order_relaxed);
        kn_compiler_barrier();
        atomic_fetch_and_explicit(&remote[w], ~freed, memory_order_acq_rel);
        slab->free += (uint32_t)__builtin_popcountll(was & freed);
        slab->cursor = w;
    }
    kn_assert("H5", slab->free <= slab->count);
    return slab->free;
}

uint32_t kn_slab_recount(struct kn_slab *slab)
{
    uint32_t used = 0;
    slab->place = KN_PLACE_NONE;
    kn_slab_fold(slab);
    for (uint32_t w = 0; w < slab->words; w++)
        used += (uint32_t)__builtin_popcountll(
            atomic_load_explicit(&kn_slab_alloc(slab)[w], memory_order_relaxed));
    slab->free = slab->words * 64 - used;
    return slab->free;
}

/* ---- Shelves ---- */

static void shelve(struct kn_slab *slab)
{
    struct kn_heap *heap = &kn_process.header->heap;
    struct kn_slab *first = heap->shelf[slab->class];
    kn_assert("H4", slab->free > 0 && slab->place == KN_PLACE_NONE);
    slab->previous = NULL;
    slab->next = first;
    if (first)
        first->previous = slab;
    atomic_store_explicit(&slab->owner, KN_SHELVED, memory_order_release);
    heap->shelf[slab->class] = slab;
    heap->on_shelf[slab->class]++;
}

static void unshelve(struct kn_slab *slab)
{
    struct kn_heap *heap = &kn_process.header->heap;
    kn_assert("H4", slab->owner == KN_SHELVED && heap->on_shelf[slab->class] > 0);
    kn_assert("H4",
              slab->previous ? slab->previous->next == slab : heap->shelf[slab->class] == slab);
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        heap->shelf[slab->class] = slab->next;
    if (slab->next)
        slab->next->previous = slab->previous;
    heap->on_shelf[slab->class]--;
    slab->next = slab->previous = NULL;
}

struct kn_slab *kn_shelf_take(uint32_t class, kn_id owner)
{
    struct kn_slab *slab = kn_process.header->heap.shelf[class];
    if (!slab)
        return NULL;
    unshelve(slab);
    atomic_store_explicit(&slab->owner, owner, memory_order_release);
    kn_slab_recount(slab);
    return slab;
}

uint32_t kn_slab_settle(struct kn_slab *slab)
{
    uint32_t free = kn_slab_recount(slab);
    kn_assert("H4", slab->owner != KN_SHELVED);
    if (free == slab->count)
        return kn_run_give(kn_unit_of(slab));
    if (free > 0)
        shelve(slab);
    else
        atomic_store_explicit(&slab->owner, 0, memory_order_release);
    return kn_unit_of(slab);
}

int kn_slab_take_stray(struct kn_slab *slab, kn_id self)
{
    uint64_t freed = 0, nobody = 0;
    for (uint32_t w = 0; w < slab->words; w++)
        freed |= atomic_load_explicit(&kn_slab_remote(slab)[w], memory_order_seq_cst);
    return freed && atomic_compare_exchange_strong_explicit(
                        &slab->owner, &nobody, self, memory_order_acq_rel, memory_order_relaxed);
}

uint64_t kn_shelves_clean(uint32_t looks)
{
    uint64_t freed = 0;
    for (uint32_t class = 0; class < KN_CLASSES; class ++) {
        struct kn_slab *next, *slab = kn_process.header->heap.shelf[class];
        for (; slab && looks; slab = next, looks--) {
            next = slab->next;
            if (kn_slab_recount(slab) != slab->count)
                continue;
            unshelve(slab);
            freed += kn_class_units(class);
            kn_run_give(kn_unit_of(slab));
        }
    }
    return freed;
}

void kn_shelves_repair(void)
{
    struct kn_heap *heap = &kn_process.header->heap;
    memset(heap->shelf, 0, sizeof heap->shelf);
    memset(heap->on_shelf, 0, sizeof heap->on_shelf);
    uint64_t end = kn_units_end();
    for (uint64_t unit = 0, length; unit < end && (length = kn_run_length(unit)); unit += length) {
        uint64_t word = atomic_load_explicit(kn_unit_word((uint32_t)unit), memory_order_relaxed);
        struct kn_slab *slab = kn_slab_at((uint32_t)unit, word);
        if (slab && atomic_load_explicit(&slab->owner, memory_order_acquire) == KN_SHELVED)
            shelve(slab);
    }
}
