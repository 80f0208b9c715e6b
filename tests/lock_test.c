// SPDX-License-Identifier: MIT
/*
 * lock_test.c - the internal lock and the event word under load, in each of the ways to learn of
 * deaths: robust lists by hand, robust mutexes, and none at all.
 */
#include "harness/check.h"
#include "harness/crew.h"
#include "harness/inside.h"

#include <base/clock.h>
#include <shm/attach.h>
#include <shm/event.h>
#include <shm/lock.h>
#include <signal.h>
#include <sys/wait.h>

#define WORKERS 4

static struct object {
    struct kn_lock lock;
    uint64_t count; /* plain on purpose: only the lock protects it */
    uint64_t canary;
    struct kn_event event;
    _Atomic uint32_t items, taken;
} * object;
static long rounds = 200000;

static void begin(void)
{
    CHECK(kin_init(NULL, NULL, NULL) == 0);
    object = kin_calloc(1, sizeof *object);
    CHECK(object != NULL);
}

static void count_up(int number)
{
    struct kn_thread *t = self();
    for (long i = 0; i < rounds; i++) {
        CHECK(kn_lock_acquire(t, &object->lock) == 0);
        CHECK_EQUAL(object->canary, 0);
        object->canary = (uint64_t)number + 1;
        object->count++;
        object->canary = 0;
        kn_lock_release(t, &object->lock);
    }
}

static void excludes(void)
{
    begin();
    struct crew crew;
    crew_start(&crew, WORKERS, count_up);
    crew_join(&crew);
    CHECK_EQUAL(object->count, WORKERS * rounds);
    CHECK_EQUAL(atomic_load(&object->lock.word), 0);
}

/* ---- Items handed over through an event; nobody sleeps on while there is one ---- */

static int take_item(void)
{
    uint32_t n = atomic_load(&object->items);
    while (n > 0)
        if (atomic_compare_exchange_weak(&object->items, &n, n - 1))
            return 1;
    return 0;
}

static void put_or_take(int number)
{
    if (number == 0) {
        for (long i = 0; i < rounds; i++) {
            WAIT_UNTIL(atomic_load(&object->items) < 8);
            atomic_fetch_add(&object->items, 1);
            kn_event_wake(&object->event, 1);
        }
        return;
    }
    while (atomic_load(&object->taken) < (uint32_t)rounds) {
        int slept = 0;
        while (!take_item()) {
            uint32_t seen = kn_event_announce(&object->event);
            if (take_item())
                break;
            if (atomic_load(&object->taken) >= (uint32_t)rounds)
                return;
            kn_event_sleep(&object->event, seen, KIN_FOREVER);
            slept = 1;
        }
        uint32_t taken = atomic_fetch_add(&object->taken, 1) + 1;
        if (taken >= (uint32_t)rounds)
            kn_event_wake(&object->event, INT32_MAX);
        else if (slept)
            kn_event_pass(&object->event, atomic_load(&object->items) > 0);
    }
    kn_event_wake(&object->event, INT32_MAX);
}

static void hands_over(void)
{
    begin();
    rounds /= 10;
    struct crew crew;
    crew_start(&crew, 3, put_or_take);
    crew_join(&crew);
    rounds *= 10;
    CHECK_EQUAL(atomic_load(&object->items), 0);
}

static void times_out(void)
{
    begin();
    uint32_t seen = kn_event_announce(&object->event);
    CHECK_EQUAL(kn_event_sleep(&object->event, seen, kn_deadline(0)), -ETIMEDOUT);
    CHECK_EQUAL(kn_event_sleep(&object->event, seen, kn_deadline(-5)), -ETIMEDOUT);
    int64_t until = kn_deadline(KIN_MS(20));
    while (kn_event_sleep(&object->event, seen, until) == 0)
        ;
    CHECK(kn_now() >= until);
    CHECK_EQUAL(kn_deadline(KIN_FOREVER), KIN_FOREVER);
    kn_event_wake(&object->event, 1);
    CHECK_EQUAL(kn_event_sleep(&object->event, seen, KIN_FOREVER), 0);
}

#if !defined(KIN_TEST_THREADS)

/* ---- Death of the holder; the survivors take the lock over in turn ---- */

static void die_in_section(int number)
{
    struct kn_thread *t = self();
    for (int i = 0; i < 100 + number; i++) {
        if (kn_lock_acquire(t, &object->lock))
            object->canary = 0;
        object->canary++;
        object->count++;
        if (i == 99 + number)
            raise(SIGKILL);
        object->canary--;
        kn_lock_release(t, &object->lock);
    }
}

static void survives(void)
{
    begin();
    if (kn_process.mode == KN_ROBUST_NONE)
        return; /* each death costs a second there: "second source" is enough */
    for (int round = 0; round < 20; round++) {
        pid_t pids[WORKERS];
        for (int i = 0; i < WORKERS; i++)
            pids[i] = fork_worker(die_in_section, i);
        for (int i = 0; i < WORKERS; i++)
            CHECK_EQUAL(WTERMSIG(reap(pids[i])), SIGKILL);
    }
    struct kn_thread *t = self();
    CHECK_EQUAL(kn_lock_acquire(t, &object->lock), 1);
    CHECK_EQUAL(object->canary, 1);
    kn_lock_release(t, &object->lock);
    CHECK_EQUAL(kn_lock_acquire(t, &object->lock), 0);
    kn_lock_release(t, &object->lock);
    CHECK_EQUAL(object->count, 20 * (100 + 101 + 102 + 103));
}

/* A holder that the kernel does not mark, since it dropped the name: /proc knows. */
static void die_unmarked(int number)
{
    (void)number;
    struct kn_thread *t = self();
    (void)kn_lock_acquire(t, &object->lock);
    t->robust->list_op_pending = NULL;
    raise(SIGKILL);
}

static void second_source(void)
{
    begin();
    reap(fork_worker(die_unmarked, 0));
    struct kn_thread *t = self();
    CHECK_EQUAL(kn_lock_acquire(t, &object->lock), 1);
    kn_lock_release(t, &object->lock);
    if (kn_process.mode != KN_ROBUST_MUTEX)
        CHECK(atomic_load(&kn_process.header->rescues) >= 1);
}

#endif

static const struct test_case cases[] = {
    { "excludes", excludes }, { "hands over", hands_over },       { "times out", times_out },
#if !defined(KIN_TEST_THREADS)
    { "survives", survives }, { "second source", second_source },
#endif
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    static const char *const modes[] = { "native", "mutex", "none" };
    if (getenv("KIN_TEST_ROUNDS"))
        rounds = atol(getenv("KIN_TEST_ROUNDS"));
    for (int mode = 0; mode < 3; mode++) {
        setenv("KIN_ROBUST", modes[mode], 1);
        printf("%s:\n", modes[mode]);
        run_apart(cases, argc, argv);
    }
    return 0;
}
