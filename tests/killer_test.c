// SPDX-License-Identifier: MIT
/*
 * killer_test.c - a random killer under load.
 *
 * Workers allocate, fill, hand on and check blocks through shared slots, under locks and without,
 * and come and go as threads. A killer SIGKILLs one every millisecond or so and starts another. At
 * all times the heap is sound and the survivors make progress; at the end nothing is missing but
 * what a victim had in its hands.
 *
 * Argument: seconds (default 5). KIN_TEST_SEED repeats a run.
 */
#include "harness/check.h"
#include "harness/crew.h"
#include "harness/inside.h"

#include <pthread.h>
#include <shm/attach.h>
#include <shm/lock.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define WORKERS 6
#define SLOTS   512
#define IN_HAND 8 /* blocks that a victim can have in its hands, threads included */

static struct {
    char *_Atomic slot[SLOTS];
    struct kn_lock lock;
    _Atomic uint64_t first, second; /* equal outside the section */
    _Atomic uint64_t steps, repairs, damages;
} * arena_part;

static void drain(char *block)
{
    size_t size;
    memcpy(&size, block, sizeof size);
    if (size > 1 << 20 || kin_usable_size(block) < (int64_t)size) {
        atomic_fetch_add(&arena_part->damages, 1);
        return;
    }
    for (size_t i = sizeof size; i < size; i += 13)
        if ((unsigned char)block[i] != (size & 255))
            atomic_fetch_add(&arena_part->damages, 1);
    CHECK(kin_free(block) == 0);
}

static void exchange_some(uint64_t *state)
{
    size_t size = 8 + next_random(state) % 700;
    if (next_random(state) % 32 == 0)
        size *= 150;
    char *block = kin_alloc(size);
    CHECK(block != NULL);
    fill_block(block, size);
    block = atomic_exchange(&arena_part->slot[next_random(state) % SLOTS], block);
    if (block)
        drain(block);
}

static void count_under_lock(void)
{
    struct kn_thread *t = &kn_thread;
    if (kn_lock_acquire(t, &arena_part->lock)) {
        atomic_store(&arena_part->second, atomic_load(&arena_part->first));
        atomic_fetch_add(&arena_part->repairs, 1);
    }
    if (atomic_load(&arena_part->first) != atomic_load(&arena_part->second))
        atomic_fetch_add(&arena_part->damages, 1);
    atomic_store(&arena_part->first, atomic_load(&arena_part->first) + 1);
    atomic_store(&arena_part->second, atomic_load(&arena_part->second) + 1);
    kn_lock_release(t, &arena_part->lock);
}

static void *short_thread(void *seed)
{
    uint64_t state = (uint64_t)(uintptr_t)seed;
    for (int i = 0; i < 20; i++)
        exchange_some(&state);
    return NULL;
}

static void work(int number)
{
    uint64_t state = (uint64_t)number * 7919 + (uint64_t)getpid();
    for (;;) {
        for (int i = 0; i < 200; i++) {
            exchange_some(&state);
            count_under_lock();
        }
        atomic_fetch_add(&arena_part->steps, 1);
        if (next_random(&state) % 8 == 0) {
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, short_thread, (void *)(uintptr_t)state) == 0);
            CHECK(pthread_join(thread, NULL) == 0);
        }
        if (next_random(&state) % 64 == 0)
            CHECK(kin_heap_check() == 0);
        if (next_random(&state) % 64 == 0)
            CHECK(kin_heap_trim() >= 0);
    }
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Lets the workers run for a random moment: until they got some steps further, or a millisecond. */
static void let_run(uint64_t *state)
{
    double until = seconds_now() + (double)(next_random(state) % 2000) * 1e-6;
    while (seconds_now() < until)
        ;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 5;
    const char *given = getenv("KIN_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)(seconds_now() * 1e6);
    uint64_t state = seed;
    pid_t pids[WORKERS];
    long kills = 0;
    CHECK(kin_init(NULL, NULL, NULL) == 0);
    arena_part = kin_calloc(1, sizeof *arena_part);
    CHECK(arena_part != NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < WORKERS; i++)
        pids[i] = fork_worker(work, i);

    double began = seconds_now(), moved = began;
    uint64_t steps = 0;
    while (seconds_now() - began < seconds) {
        let_run(&state);
        int victim = (int)(next_random(&state) % WORKERS);
        int status = kill_and_reap(pids[victim]);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        kills++;
        pids[victim] = fork_worker(work, victim);
        if (atomic_load(&arena_part->steps) != steps) {
            steps = atomic_load(&arena_part->steps);
            moved = seconds_now();
        }
        CHECK(seconds_now() - moved < 30); /* somebody hangs */
    }
    for (int i = 0; i < WORKERS; i++)
        kill_and_reap(pids[i]);

    int64_t in_slots = 1;
    for (int i = 0; i < SLOTS; i++)
        in_slots += arena_part->slot[i] != NULL;
    kin_heap_statistics statistics;
    CHECK(kin_heap_check() == 0);
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK(kin_heap_check() == 0);
    CHECK_EQUAL(arena_part->damages, 0);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK(statistics.blocks >= in_slots);
    CHECK(statistics.blocks - in_slots <= (kills + WORKERS) * IN_HAND);
    printf("%ld kills, %llu steps, %llu sections repaired, heap repaired %lld times, %lld swept, "
           "%lld blocks were in dead hands, %llu rescues by the clock, arena %lld MiB\n",
           kills, (unsigned long long)steps, (unsigned long long)arena_part->repairs,
           (long long)statistics.repairs, (long long)statistics.sweeps,
           (long long)(statistics.blocks - in_slots),
           (unsigned long long)atomic_load(&kn_process.header->rescues),
           (long long)(statistics.length >> 20));
    return 0;
}
