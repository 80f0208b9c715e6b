// SPDX-License-Identifier: MIT
/*
 * heap_test.c - the shared heap as its users see it: one process, several, limits and mistakes.
 */
#include "harness/check.h"
#include "harness/crew.h"
#include "harness/inside.h"

#include <base/system.h>
#include <pthread.h>
#include <shm/attach.h>
#include <shm/shelf.h>

static kin_heap_statistics figures(void)
{
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    return statistics;
}

static void begin(void)
{
    CHECK(kin_init(NULL, NULL, NULL) == 0);
}

/* Every size around every class boundary: aligned, writable whole, big enough, not overlapping. */
static void every_size(void)
{
    begin();
    for (size_t size = 0; size < 40000; size += size < 600 ? 1 : 97) {
        char *one = kin_alloc(size), *two = kin_alloc(size);
        CHECK(one && two);
        CHECK_EQUAL((uintptr_t)one % 16, 0);
        CHECK(kin_usable_size(one) >= (int64_t)size);
        memset(one, 1, (size_t)kin_usable_size(one));
        memset(two, 2, (size_t)kin_usable_size(two));
        for (int64_t i = 0; i < kin_usable_size(one); i += 7)
            CHECK(one[i] == 1);
        CHECK(kin_free(one) == 0);
        CHECK(kin_free(two) == 0);
    }
    CHECK_EQUAL(figures().blocks, 0);
    CHECK(kin_heap_check() == 0);
}

static void classes_divide(void)
{
    for (size_t size = 0; size <= KN_LARGEST_SMALL; size++) {
        uint32_t class = kn_class_of(size);
        CHECK(class < KN_CLASSES && kn_class_size(class) >= size);
        CHECK(class == 0 || kn_class_size(class - 1) < size);
    }
    for (uint32_t class = 0; class < KN_CLASSES; class ++) {
        struct kn_slab *slab = aligned_alloc(KN_UNIT, kn_class_units(class) * KN_UNIT);
        kn_slab_format(slab, class, 1);
        CHECK(slab->count >= 8 && slab->words <= 16);
        for (uint32_t i = 0; i < slab->count; i++) {
            char *block = kn_slab_block(slab, i);
            CHECK_EQUAL(kn_slab_index(slab, block), i);
            CHECK_EQUAL(kn_slab_index(slab, block + 1), slab->count);
            CHECK(block + slab->size <= (char *)slab + kn_class_units(class) * KN_UNIT);
        }
        CHECK_EQUAL(kn_slab_index(slab, slab), slab->count);
        free(slab);
    }
}

static void zeroed_and_copied(void)
{
    begin();
    for (int i = 0; i < 1000; i++) {
        size_t size = 1 + (size_t)i * 131;
        char *dirty = kin_alloc(size);
        memset(dirty, 0xff, size);
        CHECK(kin_free(dirty) == 0);
        char *zero = kin_calloc(1, size);
        for (size_t k = 0; k < size; k++)
            CHECK(zero[k] == 0);
        CHECK(kin_free(zero) == 0);
    }
    char *text = kin_strdup("text");
    CHECK(strcmp(text, "text") == 0);
    CHECK(kin_free(text) == 0);
    errno = 0;
    CHECK(kin_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    CHECK(kin_alloc(SIZE_MAX) == NULL && errno == ENOMEM);
    CHECK(strstr(kin_family_error(), "does not fit"));
    CHECK_EQUAL(figures().blocks, 0);
}

static void moved(void)
{
    begin();
    char *block = kin_realloc(NULL, 10);
    uint64_t state = 1;
    size_t size = 10;
    memset(block, 1, size);
    for (int i = 0; i < 3000; i++) {
        size_t next = 1 + next_random(&state) % (i % 100 ? 3000 : 300000);
        block = kin_realloc(block, next);
        CHECK(block != NULL);
        for (size_t k = 0; k < size && k < next; k++)
            CHECK(block[k] == 1);
        memset(block, 1, next);
        size = next;
    }
    CHECK_EQUAL(figures().blocks, 1);
    CHECK(kin_realloc(block, SIZE_MAX / 2) == NULL);
    CHECK(block[size - 1] == 1);
    CHECK(kin_free(block) == 0);
    errno = 0;
    CHECK(kin_realloc(block, 20) == NULL && errno == EALREADY);
}

static void mistakes(void)
{
    begin();
    int local;
    char *small = kin_alloc(100), *large = kin_alloc(100000), *other = kin_alloc(100);
    CHECK(kin_free(NULL) == 0);
    CHECK_EQUAL(kin_free(&local), -EINVAL);
    CHECK(strstr(kin_family_error(), "not the begin of a block"));
    CHECK_EQUAL(kin_free(small + 1), -EINVAL);
    CHECK_EQUAL(kin_free(small + 16), -EINVAL);
    CHECK_EQUAL(kin_free(large + 4096), -EINVAL);
    CHECK_EQUAL(kin_free(large + KN_UNIT), -EINVAL);
    CHECK_EQUAL(kin_free(kn_process.header), -EINVAL);
    CHECK_EQUAL(kin_free((char *)kn_process.header + kn_process.header->size - 64), -EINVAL);
    CHECK_EQUAL(kin_usable_size(&local), -EINVAL);
    CHECK_EQUAL(kin_heap_stats(NULL), -EINVAL);
    CHECK(kin_free(small) == 0 && kin_free(large) == 0);
    CHECK_EQUAL(kin_free(small), -EALREADY);
    CHECK(strstr(kin_family_error(), "freed twice"));
    CHECK_EQUAL(kin_free(large), -EALREADY);
    CHECK_EQUAL(kin_usable_size(small), -EALREADY);
    CHECK(kin_free(other) == 0);
    CHECK(kin_heap_check() == 0);
    CHECK_EQUAL(figures().blocks, 0);
}

/* ---- Several at once: blocks pass through shared slots, freed by whoever draws them ---- */

#define SLOTS   4096
#define WORKERS 4

static struct {
    char *_Atomic slot[SLOTS];
    _Atomic long frees;
} * table;
static long rounds = 100000;

static void drain(char *block)
{
    size_t size;
    memcpy(&size, block, sizeof size);
    CHECK(kin_usable_size(block) >= (int64_t)size);
    for (size_t i = sizeof size; i < size; i++)
        CHECK((unsigned char)block[i] == (size & 255));
    CHECK(kin_free(block) == 0);
    atomic_fetch_add(&table->frees, 1);
}

static void exchange(int number)
{
    uint64_t state = (uint64_t)number + 99;
    for (long i = 0; i < rounds; i++) {
        size_t size = 8 + next_random(&state) % 400;
        if (next_random(&state) % 64 == 0)
            size *= 200;
        char *block = kin_alloc(size);
        CHECK(block != NULL);
        fill_block(block, size);
        block = atomic_exchange(&table->slot[next_random(&state) % SLOTS], block);
        if (block)
            drain(block);
    }
}

static void shared_by_many(void)
{
    begin();
    table = crew_shared(sizeof *table);
    struct crew crew;
    crew_start(&crew, WORKERS, exchange);
    crew_join(&crew);
    CHECK(kin_heap_check() == 0);
    for (int i = 0; i < SLOTS; i++)
        if (table->slot[i])
            drain(table->slot[i]);
    CHECK_EQUAL(figures().blocks, 0);
    CHECK_EQUAL(table->frees, rounds * WORKERS);
    CHECK(kin_heap_check() == 0);
    CHECK(kin_heap_trim() >= 0);
    CHECK(kin_heap_check() == 0);
}

/* One allocates, another frees, so that slabs travel. */
static void produce_or_consume(int number)
{
    for (long i = 0; i < rounds; i++) {
        char *_Atomic *slot = &table->slot[i % SLOTS];
        if (number == 0) {
            char *block = kin_alloc(64);
            CHECK(block != NULL);
            fill_block(block, 64);
            WAIT_UNTIL(atomic_load(slot) == NULL);
            atomic_store(slot, block);
        } else {
            WAIT_UNTIL(atomic_load(slot) != NULL);
            drain(atomic_exchange(slot, NULL));
        }
    }
}

static void from_hand_to_hand(void)
{
    begin();
    table = crew_shared(sizeof *table);
    struct crew crew;
    crew_start(&crew, 2, produce_or_consume);
    crew_join(&crew);
    kin_heap_statistics now = figures();
    CHECK_EQUAL(now.blocks, 0);
    CHECK(now.length <= 16 << 20);
    CHECK(kin_heap_check() == 0);
}

/* ---- Threads that come and go leave nothing behind ---- */

static void *use_and_end(void *unused)
{
    for (size_t size = 16; size < 30000; size *= 2)
        CHECK(kin_free(kin_alloc(size)) == 0);
    return unused;
}

static void threads_come_and_go(void)
{
    begin();
    int64_t length = 0;
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, use_and_end, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        if (i == 50)
            length = figures().length;
    }
    CHECK_EQUAL(figures().length, length);
    CHECK_EQUAL(figures().slabs, 0);
    CHECK_EQUAL(figures().sweeps, 0);
}

/* ---- Memory goes back ---- */

static void goes_back(void)
{
    begin();
    char *block = kin_alloc(64 << 20);
    CHECK(block != NULL);
    int64_t full = figures().committed;
    CHECK(full >= 64 << 20);
    CHECK(kin_free(block) == 0);
    CHECK(kin_heap_trim() >= 63 << 20);
    CHECK(figures().committed < 2 << 20);
    /* And is there again, zeroed or not, when it is wanted. */
    block = kin_alloc(64 << 20);
    CHECK(block != NULL);
    memset(block, 1, 64 << 20);
    CHECK(figures().length < 80 << 20);
    CHECK(kin_free(block) == 0);
    /* By itself, a second later, when somebody calls. */
    int64_t now = figures().committed;
    WAIT_UNTIL((kin_free(kin_alloc(100000)), figures().committed < now / 2));
    CHECK(kin_heap_check() == 0);
}

static void across_areas(void)
{
    begin();
    void *blocks[40];
    for (int i = 0; i < 40; i++) {
        blocks[i] = kin_alloc((size_t)(i + 1) << 20);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], i, 4096);
    }
    CHECK(kin_heap_check() == 0);
    for (int i = 0; i < 40; i += 2)
        CHECK(kin_free(blocks[i]) == 0);
    char *big = kin_alloc((size_t)300 << 20);
    CHECK(big != NULL);
    for (size_t i = 0; i < (size_t)300 << 20; i += 4096)
        big[i] = 1;
    for (int i = 1; i < 40; i += 2)
        CHECK(kin_free(blocks[i]) == 0);
    CHECK(kin_free(big) == 0);
    CHECK(kin_heap_check() == 0);
    CHECK_EQUAL(figures().blocks, 0);
}

#if !defined(KIN_TEST_THREADS)
/* A slab of nobody's whose blocks were all freed, as a death at the wrong moment leaves it. */
static void strays(void)
{
    begin();
    char *block = kin_alloc(1000);
    struct kn_slab *slab = kn_slab_own_around(kn_thread.id, block);
    CHECK(slab != NULL);
    while (slab->free)
        CHECK(kin_alloc(1000) != NULL);
    kn_thread.self->cache[slab->class].current = NULL;
    atomic_store(&slab->owner, 0);
    for (uint32_t i = 0; i < slab->count; i++)
        atomic_fetch_or(&kn_slab_remote(slab)[i / 64], (uint64_t)1 << i % 64);
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK_EQUAL(statistics.slabs, 1);
    CHECK(kin_heap_trim() >= 0);
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK_EQUAL(statistics.slabs, 0);
    CHECK(kin_heap_check() == 0);
}

/* What some process wrote where it must not: an error, and never a walk without an end. */
static void scribbled(void)
{
    begin();
    char *large = kin_alloc(1 << 20);
    CHECK(large != NULL);
    atomic_store(kn_unit_word(kn_unit_of(large)), 0);
    CHECK_EQUAL(kin_heap_check(), -EBADMSG);
    CHECK(kin_alloc(1 << 20) == NULL);
    CHECK_EQUAL(errno, EBADMSG);
    kin_heap_statistics statistics;
    CHECK_EQUAL(kin_heap_stats(&statistics), -EBADMSG);
    CHECK_EQUAL(kin_family_size(), 1);
}

/* A list of free runs that leads round in a circle, or out of the arena. */
static void circle(void)
{
    begin();
    char *blocks[8];
    for (int i = 0; i < 8; i++)
        CHECK((blocks[i] = kin_alloc(100000)) != NULL);
    for (int i = 0; i < 8; i += 2)
        CHECK(kin_free(blocks[i]) == 0);
    uint32_t unit = kn_unit_of(blocks[0]);
    struct kn_leaf *leaf = atomic_load(&kn_process.header->leaf[unit / KN_AREA_UNITS]);
    leaf->link[unit % KN_AREA_UNITS].next = unit;
    kin_heap_statistics statistics;
    CHECK_EQUAL(kin_heap_stats(&statistics), -EBADMSG);
    leaf->link[unit % KN_AREA_UNITS].next = UINT32_MAX;
    CHECK_EQUAL(kin_heap_check(), -EBADMSG);
}
#endif

static const struct test_case cases[] = {
    { "classes divide", classes_divide },
    { "every size", every_size },
    { "zeroed and copied", zeroed_and_copied },
    { "moved", moved },
    { "mistakes", mistakes },
    { "shared by many", shared_by_many },
    { "from hand to hand", from_hand_to_hand },
    { "threads come and go", threads_come_and_go },
    { "goes back", goes_back },
    { "across areas", across_areas },
#if !defined(KIN_TEST_THREADS)
    { "strays", strays },
    { "scribbled", scribbled },
    { "circle", circle },
#endif
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    if (getenv("KIN_TEST_ROUNDS"))
        rounds = atol(getenv("KIN_TEST_ROUNDS"));
    run_apart(cases, argc, argv);
    return 0;
}
