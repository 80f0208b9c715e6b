// SPDX-License-Identifier: MIT
/*
 * units.c - runs of units: finding, splitting, joining them; and the tables' own memory.
 *
 * The truth is one word a unit, in leaves of 1,024. Walking from the first unit, each run's head
 * word says how far the next is, so every unit belongs to exactly one run at every instant: each
 * operation below prepares words that such a walk does not see yet, and then stores one head word.
 *
 *   split:  [FREE n+m            ]      the second head is written inside, unseen;
 *           [LARGE n][FREE m     ]      then the first head: commit
 *   join:   [FREE n][FREE m]            the first head's longer length: commit;
 *           [FREE n+m      ]            then the second head is wiped
 *
 * Bins of free runs by length (four to a power of two), the words inside runs, and the tails that
 * let a run find its left neighbour, are caches: whoever finds that a holder of heap.lock died
 * makes them anew from the heads (H2).
 *
 * Who may call it: the holder of heap.lock. Growing the file happens before, under grow_lock; here
 * its new units only begin to count.
 *
 * Sudden death: the next holder of the lock calls kn_runs_repair first. What must hold: H1 to H4
 * in doc/invariants.md.
 */
#include <shm/units.h>

#include <base/clock.h>
#include <errno.h>
#include <shm/member.h>
#include <string.h>

#define FEW_LOOKS 64

static struct kn_heap *heap(void)
{
    return &kn_process.header->heap;
}

static uint64_t load(uint32_t unit)
{
    return atomic_load_explicit(kn_unit_word(unit), memory_order_relaxed);
}

static void store(uint32_t unit, uint64_t word)
{
    atomic_store_explicit(kn_unit_word(unit), word, memory_order_release);
}

uint32_t kn_milliseconds(void)
{
    return (uint32_t)(kn_now_coarse() / 1000000);
}

/* ---- Bins: caches of free runs by length ---- */

static uint32_t *previous_of(uint32_t unit)
{
    struct kn_leaf *leaf =
        atomic_load_explicit(&kn_process.header->leaf[unit / KN_AREA_UNITS], memory_order_relaxed);
    return &leaf->link[unit % KN_AREA_UNITS].previous;
}

static uint32_t *next_of(uint32_t unit)
{
    return previous_of(unit) + 1;
}

/* When the run was freed stands in the second unit's link, which no list uses. */
static uint32_t *freed_at(uint32_t unit)
{
    return previous_of(unit + 1);
}

/* Lengths 1 to 3 have bins of their own, then four bins to each power of two. */
static uint32_t bin_of(uint64_t length)
{
    if (length < 4)
        return (uint32_t)length;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(length);
    return power * 4 + (uint32_t)((length >> (power - 2)) & 3) - 4;
}

static void bin_add(uint32_t unit, uint64_t length)
{
    struct kn_heap *h = heap();
    kn_assert("H2",
              load(unit) == (load(unit) & KN_PAGES) + kn_word_make(KN_UNIT_FREE, 0, length, 0));
    uint32_t bin = bin_of(length);
    uint32_t first = h->bin[bin];
    *previous_of(unit) = 0;
    *next_of(unit) = first;
    if (first)
        *previous_of(first) = unit;
    h->bin[bin] = unit;
    h->occupied_bins[bin / 32] |= 1u << bin % 32;
}

static void bin_remove(uint32_t unit, uint64_t length)
{
    struct kn_heap *h = heap();
    uint32_t bin = bin_of(length);
    uint32_t previous = *previous_of(unit), next = *next_of(unit);
    kn_assert("H2", previous ? *next_of(previous) == unit : h->bin[bin] == unit);
    kn_assert("H2", !next || *previous_of(next) == unit);
    if (previous)
        *next_of(previous) = next;
    else
        h->bin[bin] = next;
    if (next)
        *previous_of(next) = previous;
    if (!h->bin[bin])
        h->occupied_bins[bin / 32] &= ~(1u << bin % 32);
}

/* The first bin from this one on that has a run, or KN_BINS. */
static uint32_t bin_from(uint32_t bin)
{
    if (bin >= KN_BINS)
        return KN_BINS;
    for (uint32_t word = bin / 32; word < KN_ARRAY_LENGTH(heap()->occupied_bins); word++) {
        uint32_t bits = heap()->occupied_bins[word];
        if (word == bin / 32)
            bits &= ~0u << bin % 32;
        if (bits)
            return word * 32 + (uint32_t)__builtin_ctz(bits);
    }
    return KN_BINS;
}

static void poison(void)
{
    atomic_store_explicit(&heap()->poisoned, 1, memory_order_release);
}

/*
 * The next run in a list. It ends, and the heap is poisoned, when it leads out of the arena or goes
 * on for longer than there can be runs: what others may have scribbled on is checked.
 */
static uint32_t next_in_list(uint32_t unit, uint64_t *walked)
{
    uint32_t next = *next_of(unit);
    if (next < kn_units_end() && ++*walked < kn_units_end())
        return next;
    poison();
    return 0;
}

/* Of the first so many runs of a bin, the lowest that is long enough: what is high becomes free. */
static uint32_t lowest_of(uint32_t bin, uint64_t n, int solid, uint64_t looks)
{
    uint32_t lowest = 0;
    uint64_t walked = 0;
    for (uint32_t unit = heap()->bin[bin]; unit && walked < looks;
         unit = next_in_list(unit, &walked)) {
        uint64_t head = load(unit);
        if ((!lowest || unit < lowest) && kn_word_length(head) >= n &&
            !(solid && (head & KN_PAGES)))
            lowest = unit;
    }
    return lowest;
}

/* A few looks into n's own bin, whose runs may be too short; then the next bins; then all of it. */
uint32_t kn_run_find(uint64_t n, int solid)
{
    uint32_t own = bin_of(n);
    if (own >= KN_BINS)
        return 0;
    uint32_t unit = lowest_of(own, n, solid, FEW_LOOKS);
    for (uint32_t bin = bin_from(own + 1); bin < KN_BINS && !unit; bin = bin_from(bin + 1))
        unit = lowest_of(bin, n, solid, solid ? UINT64_MAX : FEW_LOOKS);
    return unit ? unit : lowest_of(own, n, solid, UINT64_MAX);
}

/* ---- Runs ---- */

/* Writes the words that only make a free run's head easier to find: its inside and its tail. */
static void dress_free(uint32_t unit, uint64_t length, int wipe)
{
    if (wipe)
        for (uint64_t i = 1; i < length; i++)
            atomic_store_explicit(kn_unit_word(unit + (uint32_t)i), KN_UNIT_INSIDE,
                                  memory_order_relaxed);
    if (length > 1)
        store(unit + (uint32_t)length - 1, kn_word_make(KN_UNIT_TAIL, 0, length, 0));
}

static void dress_used(uint32_t unit, uint64_t length)
{
    for (uint64_t i = 1; i < length; i++)
        atomic_store_explicit(kn_unit_word(unit + (uint32_t)i),
                              kn_word_make(KN_UNIT_CONTINUED, 0, i, 0), memory_order_relaxed);
}

/* When the run was freed; one that is too short to remember was so just now. */
static uint32_t age_of(uint32_t unit, uint64_t length)
{
    return length > 1 ? *freed_at(unit) : kn_milliseconds();
}

static void stamp(uint32_t unit, uint64_t length, uint32_t when)
{
    if (length > 1)
        *freed_at(unit) = when;
}

/* Takes n units off the front of a free run. */
uint32_t kn_run_carve(uint32_t unit, uint64_t n, uint64_t word)
{
    uint64_t head = load(unit);
    uint64_t length = kn_word_length(head), pages = head & KN_PAGES;
    uint32_t age = age_of(unit, length);
    kn_assert("L4", kn_heap_is_locked());
    kn_assert("H1", kn_word_kind(head) == KN_UNIT_FREE && n > 0 && length >= n);
    bin_remove(unit, length);
    if (length > n) {
        uint32_t rest = unit + (uint32_t)n;
        if (KN_PLANT("carve-rest-late"))
            store(unit, word | n << 12 | pages);
        store(rest, kn_word_make(KN_UNIT_FREE, 0, length - n, 0) | pages);
        dress_free(rest, length - n, 0);
        bin_add(rest, length - n);
        stamp(rest, length - n, age);
    }
    dress_used(unit, n);
    store(unit, word | n << 12 | pages); /* commit */
    return unit;
}

uint64_t kn_run_length(uint64_t unit)
{
    uint64_t word = load((uint32_t)unit), length = kn_word_length(word);
    enum kn_unit_kind kind = kn_word_kind(word);
    int begins = kind == KN_UNIT_FREE || (kind >= KN_UNIT_LARGE && kind <= KN_UNIT_TABLE);
    if (begins && length > 0 && unit + length <= kn_units_end())
        return length;
    poison();
    return 0;
}

void kn_run_mark(uint32_t unit, uint64_t word)
{
    kn_assert("L4", kn_heap_is_locked());
    kn_assert("H1", kn_word_length(word) == kn_word_length(load(unit)));
    store(unit, word);
}

/* The free run at first swallows the one right behind it; both are out of their bins. */
static void swallow(uint32_t first, uint32_t second)
{
    uint64_t left = load(first), right = load(second);
    uint64_t length = kn_word_length(left) + kn_word_length(right);
    uint64_t pages = left & KN_PAGES;
    kn_assert("H1", first + kn_word_length(left) == second);
    kn_assert("H1", kn_word_kind(left) == KN_UNIT_FREE && kn_word_kind(right) == KN_UNIT_FREE);
    if ((right & KN_PAGES) != pages)
        pages = KN_HOLES;
    store(first, kn_word_make(KN_UNIT_FREE, 0, length, 0) | pages); /* commit */
    store(second, KN_UNIT_INSIDE);
    dress_free(first, length, 0);
}

/* The free run that ends just before unit, or 0. */
static uint32_t free_before(uint32_t unit)
{
    uint64_t last = load(unit - 1);
    if (kn_word_kind(last) == KN_UNIT_TAIL)
        return unit - kn_word_length(last);
    return kn_word_kind(last) == KN_UNIT_FREE ? unit - 1 : 0;
}

static int same_pages(uint32_t one, uint32_t other)
{
    return ((load(one) ^ load(other)) & KN_PAGES) == 0;
}

/* A free run that no bin lists yet: joins it with its neighbours and lists it. */
static uint32_t list_free(uint32_t unit)
{
    uint64_t length = kn_word_length(load(unit));
    /* The whole is as old as its largest part, else a little traffic would keep it young. */
    uint32_t age = kn_milliseconds();
    uint64_t largest = length;
    uint64_t after = unit + length;
    if (after < kn_units_end() && kn_word_kind(load((uint32_t)after)) == KN_UNIT_FREE &&
        same_pages(unit, (uint32_t)after)) {
        uint64_t more = kn_word_length(load((uint32_t)after));
        if (more > largest) {
            largest = more;
            age = age_of((uint32_t)after, more);
        }
        bin_remove((uint32_t)after, more);
        swallow(unit, (uint32_t)after);
    }
    uint32_t before = free_before(unit);
    if (before && same_pages(before, unit)) {
        uint64_t more = kn_word_length(load(before));
        if (more > largest)
            age = age_of(before, more);
        bin_remove(before, more);
        swallow(before, unit);
        unit = before;
    }
    length = kn_word_length(load(unit));
    stamp(unit, length, age);
    bin_add(unit, length);
    return unit;
}

uint32_t kn_run_give(uint32_t unit)
{
    uint64_t head = load(unit), length = kn_word_length(head);
    kn_assert("L4", kn_heap_is_locked());
    kn_assert("H1", kn_word_kind(head) >= KN_UNIT_LARGE && kn_word_kind(head) <= KN_UNIT_TABLE);
    kn_assert("H1", length > 0 && unit + length <= kn_units_end());
    store(unit, kn_word_make(KN_UNIT_FREE, 0, length, 0) | (head & KN_PAGES)); /* commit */
    dress_free(unit, length, 1);
    return list_free(unit);
}

uint32_t kn_run_find_old(uint64_t n, uint32_t age)
{
    uint32_t now = kn_milliseconds();
    uint64_t walked = 0;
    for (uint32_t bin = bin_from(bin_of(n)); bin < KN_BINS; bin = bin_from(bin + 1))
        for (uint32_t unit = heap()->bin[bin]; unit; unit = next_in_list(unit, &walked)) {
            uint64_t head = load(unit);
            if (kn_word_length(head) >= n && !(head & KN_EMPTY) && now - *freed_at(unit) >= age)
                return unit;
        }
    return 0;
}

void kn_runs_join(void)
{
    uint64_t end = kn_units_end();
    uint32_t open = 0; /* the free run just before */
    for (uint64_t unit = 0, length; unit < end && (length = kn_run_length(unit)); unit += length) {
        uint64_t head = load((uint32_t)unit);
        if (kn_word_kind(head) != KN_UNIT_FREE) {
            open = 0;
        } else if (!open) {
            open = (uint32_t)unit;
        } else {
            bin_remove(open, kn_word_length(load(open)));
            bin_remove((uint32_t)unit, length);
            swallow(open, (uint32_t)unit);
            stamp(open, kn_word_length(load(open)), kn_milliseconds());
            bin_add(open, kn_word_length(load(open)));
        }
    }
}

uint64_t kn_run_longest(void)
{
    uint64_t longest = 0, walked = 0;
    for (uint32_t bin = bin_from(0); bin < KN_BINS; bin = bin_from(bin + 1))
        for (uint32_t unit = heap()->bin[bin]; unit; unit = next_in_list(unit, &walked))
            if (kn_word_length(load(unit)) > longest)
                longest = kn_word_length(load(unit));
    return longest;
}

uint64_t kn_runs_listed(void)
{
    uint64_t listed = 0;
    for (uint32_t bin = 0; bin < KN_BINS; bin++) {
        uint32_t previous = 0;
        for (uint32_t unit = heap()->bin[bin]; unit; unit = *next_of(unit)) {
            uint64_t word = load(unit);
            if (kn_word_kind(word) != KN_UNIT_FREE || bin_of(kn_word_length(word)) != bin ||
                *previous_of(unit) != previous || ++listed > kn_units_end())
                return 0;
            previous = unit;
        }
    }
    return listed;
}

/* ---- Growth ---- */

/* A free unit that is surely committed, for a leaf; 0: none near at hand. */
static uint32_t solid_unit(void)
{
    for (uint32_t bin = bin_from(0); bin < KN_BINS; bin = bin_from(bin + 1)) {
        uint32_t unit = lowest_of(bin, 1, 1, 4);
        if (unit)
            return unit;
    }
    return 0;
}

/* The last area that the file reaches into. */
static uint32_t last_area(void)
{
    uint64_t end = atomic_load_explicit(&kn_process.header->file_end, memory_order_acquire);
    return (uint32_t)((end - 1) / KN_AREA);
}

/* Is there a leaf in the first unit that does not count yet? Then it counts from now on. */
static void count_stray_leaf(void)
{
    struct kn_header *header = kn_process.header;
    uint32_t unit = (uint32_t)kn_units_end();
    for (uint32_t area = unit / KN_AREA_UNITS; area <= last_area(); area++) {
        void *leaf = atomic_load_explicit(&header->leaf[area], memory_order_relaxed);
        if (leaf && leaf == kn_unit_address(unit)) {
            store(unit, kn_word_make(KN_UNIT_TABLE, KN_TABLE_LEAF, 1, 0));
            atomic_store_explicit(&heap()->units_end, unit + 1, memory_order_release);
            return;
        }
    }
}

/*
 * Gives an area its leaf: a free unit, or else the first one that does not count yet. That one is
 * listed before it counts; who dies in between leaves a stray, which count_stray_leaf finds.
 */
static void place_leaf(uint32_t area)
{
    struct kn_header *header = kn_process.header;
    uint32_t unit = solid_unit();
    if (unit)
        kn_run_carve(unit, 1, kn_word_make(KN_UNIT_TABLE, KN_TABLE_LEAF, 0, 0));
    struct kn_leaf *leaf = kn_unit_address(unit ? unit : (uint32_t)kn_units_end());
    memset((void *)leaf, 0, sizeof *leaf);
    atomic_store_explicit(&header->leaf[area], leaf, memory_order_release);
    if (!unit)
        count_stray_leaf();
}

/*
 * All leaves first, so that what follows stands in one row; then the new units as one run for each
 * area, which counts when units_end is stored: the commit.
 */
void kn_units_extend(void)
{
    struct kn_header *header = kn_process.header;
    uint64_t file_units =
        atomic_load_explicit(&header->file_end, memory_order_acquire) >> KN_UNIT_SHIFT;
    if (kn_units_end() >= file_units)
        return;
    count_stray_leaf();
    for (uint32_t area = 0; area <= last_area(); area++)
        if (!atomic_load_explicit(&header->leaf[area], memory_order_relaxed))
            place_leaf(area);
    uint64_t first;
    while ((first = kn_units_end()) < file_units) {
        kn_assert("H3", first < file_units);
        uint64_t stop = (first / KN_AREA_UNITS + 1) * KN_AREA_UNITS;
        if (stop > file_units)
            stop = file_units;
        dress_free((uint32_t)first, stop - first, 1);
        store((uint32_t)first, kn_word_make(KN_UNIT_FREE, 0, stop - first, 0));
        atomic_store_explicit(&heap()->units_end, stop, memory_order_release); /* commit */
        list_free((uint32_t)first);
    }
}

uint64_t kn_units_missing(uint64_t n)
{
    uint64_t end = kn_units_end();
    uint32_t tail = free_before((uint32_t)end);
    uint64_t free_tail = tail && !(load(tail) & KN_PAGES) ? kn_word_length(load(tail)) : 0;
    uint64_t leaves = n / KN_AREA_UNITS + 2;
    return (n > free_tail ? n - free_tail : 0) + leaves;
}

/* ---- Repair ---- */

/* Is this part of a table in the header's list? One that is not was being added by a dead one. */
static int table_is_listed(uint32_t unit, uint32_t table)
{
    struct kn_header *header = kn_process.header;
    const void *address = kn_unit_address(unit);
    if (table == KN_TABLE_HEADER)
        return 1;
    for (uint32_t i = 0; table == KN_TABLE_LEAF && i < header->areas; i++)
        if (atomic_load_explicit(&header->leaf[i], memory_order_relaxed) == address)
            return 1;
    for (uint32_t i = 0; table == KN_TABLE_PARTICIPANTS && i < KN_PARTICIPANT_CHUNKS; i++)
        if (atomic_load_explicit(&header->participants[i], memory_order_relaxed) == address)
            return 1;
    for (uint32_t i = 0; table == KN_TABLE_MEMBERS && i < KN_MEMBER_CHUNKS; i++)
        if (atomic_load_explicit(&header->members[i], memory_order_relaxed) == address)
            return 1;
    return 0;
}

/* Walks the heads and dresses every run; a part of a table that is listed nowhere becomes free. */
static int repair_heads(uint64_t end)
{
    for (uint64_t unit = 0, length; unit < end; unit += length) {
        length = kn_run_length(unit);
        if (!length)
            return -EBADMSG;
        uint64_t head = load((uint32_t)unit);
        if (kn_word_kind(head) == KN_UNIT_TABLE &&
            !table_is_listed((uint32_t)unit, kn_word_class(head))) {
            head = kn_word_make(KN_UNIT_FREE, 0, length, 0);
            store((uint32_t)unit, head);
        }
        if (kn_word_kind(head) == KN_UNIT_FREE)
            dress_free((uint32_t)unit, length, 1);
        else
            dress_used((uint32_t)unit, length);
    }
    return 0;
}

/* Joins neighbours that a dead one left apart, two by two, while no bin lists them. */
static void repair_joins(uint64_t end)
{
    uint32_t open = 0;
    for (uint64_t unit = 0; unit < end;) {
        uint64_t head = load((uint32_t)unit), length = kn_word_length(head);
        if (kn_word_kind(head) != KN_UNIT_FREE)
            open = 0;
        else if (open && same_pages(open, (uint32_t)unit))
            swallow(open, (uint32_t)unit);
        else
            open = (uint32_t)unit;
        unit += length;
    }
}

int kn_runs_repair(void)
{
    struct kn_heap *h = heap();
    memset(h->bin, 0, sizeof h->bin);
    memset(h->occupied_bins, 0, sizeof h->occupied_bins);
    uint64_t end = kn_units_end();
    kn_assert("L4", kn_heap_is_locked());
    int error = repair_heads(end);
    if (error)
        return error;
    repair_joins(end);
    for (uint64_t unit = 0; unit < end; unit += kn_word_length(load((uint32_t)unit))) {
        uint64_t head = load((uint32_t)unit);
        if (kn_word_kind(head) == KN_UNIT_FREE) {
            stamp((uint32_t)unit, kn_word_length(head), kn_milliseconds());
            bin_add((uint32_t)unit, kn_word_length(head));
        }
    }
    return 0;
}

/* ---- Tables ---- */

uint32_t kn_table_units(enum kn_table table)
{
    return table == KN_TABLE_PARTICIPANTS ? KN_PARTICIPANT_UNITS : KN_MEMBER_UNITS;
}

/* Places a part of a table in a new arena that nobody else sees yet. */
static void *place(uint32_t *unit, enum kn_table table, uint32_t n)
{
    dress_used(*unit, n);
    store(*unit, kn_word_make(KN_UNIT_TABLE, table, n, 0));
    void *address = kn_unit_address(*unit);
    *unit += n;
    return address;
}

void kn_units_begin(void)
{
    struct kn_header *header = kn_process.header;
    uint32_t header_units = header->header_bytes / KN_UNIT, unit = 0;
    kn_assert("A1", header->base == (uint64_t)(uintptr_t)header);
    struct kn_leaf *leaf = kn_unit_address(header_units);
    atomic_store_explicit(&header->leaf[0], leaf, memory_order_relaxed);
    place(&unit, KN_TABLE_HEADER, header_units);
    place(&unit, KN_TABLE_LEAF, 1);
    struct kn_participant *participants =
        place(&unit, KN_TABLE_PARTICIPANTS, kn_table_units(KN_TABLE_PARTICIPANTS));
    kn_participants_prepare(header, participants, 0);
    atomic_store_explicit(&header->participants[0], participants, memory_order_release);
    struct kn_member *members = place(&unit, KN_TABLE_MEMBERS, kn_table_units(KN_TABLE_MEMBERS));
    atomic_store_explicit(&header->members[0], members, memory_order_release);
    kn_assert("H3", unit * KN_UNIT <= atomic_load(&header->file_end));
    atomic_store_explicit(&heap()->units_end, unit, memory_order_release);
}
