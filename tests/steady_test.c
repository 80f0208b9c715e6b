// SPDX-License-Identifier: MIT
/*
 * steady_test.c - the heap does not creep: a seeded mix of sizes, 200 million operations by two
 * processes, and what is committed after the first tenth and at the end differs by under 5 %.
 *
 * Argument: millions of operations (default 200).
 */
#include "harness/check.h"
#include "harness/crew.h"
#include "harness/inside.h"

#include <stdatomic.h>

#define SLOTS   400000
#define WORKERS 2

static struct {
    _Atomic int arrived;
    _Atomic int64_t committed_early;
} * shared;
static long operations;

/* Mostly small; one in 64 up to 16 KiB, one in 4,096 up to 256 KiB. */
static size_t next_size(uint64_t *state)
{
    uint64_t kind = next_random(state);
    if (kind % 4096 == 0)
        return 1 + next_random(state) % (256 << 10);
    return 1 + next_random(state) % (kind % 64 == 0 ? 16 << 10 : 300);
}

static void mix(char **held, uint64_t *state, long count)
{
    for (long i = 0; i < count; i++) {
        char **slot = &held[next_random(state) % SLOTS];
        if (*slot) {
            CHECK(kin_free(*slot) == 0);
            *slot = NULL;
        } else {
            *slot = kin_alloc(next_size(state));
            CHECK(*slot != NULL);
            **slot = 1;
        }
    }
}

static int64_t committed(void)
{
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    return statistics.committed;
}

static void work(int number)
{
    uint64_t state = (uint64_t)number + 42;
    char **held = calloc(SLOTS, sizeof *held);
    mix(held, &state, operations / WORKERS / 10);
    atomic_fetch_add(&shared->arrived, 1);
    WAIT_UNTIL(atomic_load(&shared->arrived) >= WORKERS);
    if (number == 0)
        atomic_store(&shared->committed_early, committed());
    WAIT_UNTIL(atomic_load(&shared->committed_early));
    mix(held, &state, operations / WORKERS - operations / WORKERS / 10);
    atomic_fetch_add(&shared->arrived, 1);
    /* Whoever is ready waits in short calls: the other may need another minute. */
    for (long tries = 0; atomic_load(&shared->arrived) < 2 * WORKERS && tries < 10; tries++)
        WAIT_UNTIL(atomic_load(&shared->arrived) >= 2 * WORKERS);
    if (number == 0) {
        int64_t early = atomic_load(&shared->committed_early), late = committed();
        double change = 100.0 * (double)(late - early) / (double)early;
        printf("%ld operations: committed %lld KiB after a tenth, %lld KiB at the end (%+.2f %%)\n",
               operations, (long long)early / 1024, (long long)late / 1024, change);
        CHECK(change < 5 && change > -5);
        atomic_fetch_add(&shared->arrived, 1);
    }
    WAIT_UNTIL(atomic_load(&shared->arrived) > 2 * WORKERS);
    for (int i = 0; i < SLOTS; i++)
        CHECK(kin_free(held[i]) == 0);
    free(held);
}

int main(int argc, char **argv)
{
    operations = (argc > 1 ? atol(argv[1]) : 200) * 1000000;
    shared = crew_shared(sizeof *shared);
    CHECK(kin_init(NULL, NULL, NULL) == 0);
    struct crew crew;
    crew_start(&crew, WORKERS, work);
    crew_join(&crew);
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK_EQUAL(statistics.blocks, 0);
    CHECK(kin_heap_check() == 0);
    return 0;
}
