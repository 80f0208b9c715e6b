// SPDX-License-Identifier: MIT
/*
 * kill_lock.c - SIGKILL at every instruction of the internal lock and of the event word.
 *
 * The survivors: the world itself, and up to two more processes that wait for the lock or sleep on
 * the event. What must hold: L1 to L4, E1 and E2 of doc/invariants.md.
 */
#include "harness/kill.h"
#include "harness/inside.h"

#include <base/clock.h>
#include <sched.h>
#include <shm/attach.h>
#include <shm/event.h>
#include <shm/lock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* What the victims work on, in the arena: two counters that are equal outside the section. */
struct object {
    struct kn_lock lock;
    _Atomic uint32_t first, second;
    _Atomic uint32_t repairs;
    _Atomic uint32_t got; /* sections that the waiters went through */
    _Atomic uint32_t asleep;
    struct kn_event event;
    _Atomic uint32_t published;
};

static struct object *object;
static pid_t helpers[2];

static void repair(void)
{
    atomic_store(&object->second, atomic_load(&object->first));
    atomic_fetch_add(&object->repairs, 1);
}

/* A section: whoever comes after a death repairs, everybody else finds the counters equal. */
static void section(void)
{
    struct kn_thread *t = self();
    if (kn_lock_acquire(t, &object->lock))
        repair();
    CHECK_EQUAL(atomic_load(&object->first), atomic_load(&object->second));
    atomic_store(&object->first, atomic_load(&object->first) + 1);
    atomic_store(&object->second, atomic_load(&object->second) + 1);
    kn_lock_release(t, &object->lock);
}

static void make_object(void)
{
    object = kin_calloc(1, sizeof *object);
    CHECK(object != NULL);
}

static void join(void)
{
    (void)self();
}

static uint64_t lock_state(void)
{
    return (atomic_load(&object->lock.word) & ~FUTEX_TID_MASK) |
           (uint64_t)(atomic_load(&object->lock.word) != 0) << 8 |
           (uint64_t)atomic_load(&object->first) << 1 | atomic_load(&object->second);
}

static void go_on(void)
{
    uint32_t before = atomic_load(&object->first);
    section();
    CHECK_EQUAL(atomic_load(&object->first), before + 1);
    CHECK_EQUAL(atomic_load(&object->lock.word), 0);
    CHECK(atomic_load(&object->repairs) <= 1);
}

/* ---- Waiters asleep while the victim lets go ---- */

static void wait_for_lock(int number)
{
    (void)number;
    prctl(PR_SET_PDEATHSIG, 0); /* its parent is the victim */
    atomic_fetch_add(&object->asleep, 1);
    (void)self();
    section();
    atomic_fetch_add(&object->got, 1);
}

static void hold(void)
{
    struct kn_thread *t = self();
    CHECK(kn_lock_acquire(t, &object->lock) == 0);
    for (int i = 0; i < 2; i++)
        helpers[i] = fork_worker(wait_for_lock, i);
    WAIT_UNTIL(atomic_load(&object->asleep) == 2 &&
               atomic_load(&object->lock.word) & FUTEX_WAITERS);
}

static void release_held(void)
{
    kn_lock_release(&kn_thread, &object->lock);
}

/* The waiters are children of the victim: they are not ours to collect, so they count themselves. */
static void waiters_got_it(void)
{
    WAIT_UNTIL(atomic_load(&object->got) == 2);
    go_on();
}

/* ---- The victim waits, is woken, and dies ---- */

static void hold_until_waited(int number)
{
    (void)number;
    struct kn_thread *t = self();
    CHECK(kn_lock_acquire(t, &object->lock) == 0);
    atomic_store(&object->asleep, 1);
    WAIT_UNTIL(atomic_load(&object->lock.word) & FUTEX_WAITERS);
    kn_lock_release(t, &object->lock);
}

static void make_held_object(void)
{
    make_object();
    helpers[0] = fork_worker(hold_until_waited, 0);
    WAIT_UNTIL(atomic_load(&object->asleep));
}

static void holder_and_others_go_on(void)
{
    /* Killed before it announced itself, the victim leaves the holder waiting for a waiter. */
    section();
    CHECK_EQUAL(reap(helpers[0]), 0);
    go_on();
}

/* ---- The section after one that died in it ---- */

static void die_inside(int number)
{
    (void)number;
    struct kn_thread *t = self();
    (void)kn_lock_acquire(t, &object->lock);
    atomic_fetch_add(&object->first, 1);
    raise(SIGKILL);
}

static void make_orphaned_object(void)
{
    make_object();
    reap(fork_worker(die_inside, 0));
    CHECK(atomic_load(&object->lock.word) & FUTEX_OWNER_DIED);
}

static void orphan_goes_on(void)
{
    section();
    CHECK_EQUAL(atomic_load(&object->first), atomic_load(&object->second));
    CHECK(atomic_load(&object->repairs) >= 1);
    CHECK_EQUAL(atomic_load(&object->lock.word), 0);
}

/* ---- Events ---- */

static void sleep_for_event(int number)
{
    uint32_t wanted = (uint32_t)number + 1;
    while (atomic_load(&object->published) < wanted) {
        uint32_t seen = kn_event_announce(&object->event);
        atomic_fetch_add(&object->asleep, 1);
        if (atomic_load(&object->published) >= wanted)
            break;
        kn_event_sleep(&object->event, seen, KIN_FOREVER);
    }
    kn_event_pass(&object->event, atomic_load(&object->published) > wanted);
    atomic_fetch_add(&object->got, 1);
}

/* Asleep as /proc sees it, so that the wake-up is what wakes it. */
static int is_asleep(pid_t pid)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[n] = '\0';
    const char *state = strrchr(text, ')');
    return state && state[2] == 'S';
}

static void make_sleeper(void)
{
    make_object();
    helpers[0] = fork_worker(sleep_for_event, 0);
    WAIT_UNTIL(atomic_load(&object->asleep) && is_asleep(helpers[0]));
}

static void publish(void)
{
    atomic_fetch_add(&object->published, 1);
    kn_event_wake(&object->event, 1);
}

static uint64_t event_state(void)
{
    return atomic_load(&object->published) << 8 | atomic_load(&object->event.word);
}

/* The next publication wakes whom the dead one did not, long before its own clock does (which the
 * library counts as a rescue, and the harness does not forgive). */
static void sleeper_goes_on(void)
{
    publish();
    CHECK_EQUAL(reap(helpers[0]), 0);
}

/* The victim itself sleeps, is woken, passes the baton; two publications, two sleepers. */
static void make_second_sleeper(void)
{
    make_object();
    atomic_store(&object->published, 1);
    helpers[0] = fork_worker(sleep_for_event, 1);
    WAIT_UNTIL(atomic_load(&object->asleep) && is_asleep(helpers[0]));
}

static void take_and_pass(void)
{
    sleep_for_event(0);
}

static void second_goes_on(void)
{
    publish();
    CHECK_EQUAL(reap(helpers[0]), 0);
}

static const struct kill_case cases[] = {
    { "section", make_object, join, section, lock_state, go_on, 0 },
    { "release with two asleep", make_object, hold, release_held, lock_state, waiters_got_it, 0 },
    { "wait, wake, section", make_held_object, join, section, lock_state, holder_and_others_go_on,
      0 },
    { "section after a dead holder", make_orphaned_object, join, section, lock_state,
      orphan_goes_on, 0 },
    { "publish and wake", make_sleeper, join, publish, event_state, sleeper_goes_on, 0 },
    { "announce, look, pass", make_second_sleeper, join, take_and_pass, event_state, second_goes_on,
      0 },
    { NULL, NULL, NULL, NULL, NULL, NULL, 0 },
};

int main(int argc, char **argv)
{
    return kill_main(cases, argc, argv);
}
