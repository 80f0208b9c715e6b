// SPDX-License-Identifier: MIT
/*
 * kill_family.c - SIGKILL at every instruction of becoming a member and of leaving.
 *
 * What must hold: P1, P2, M1, M2, S1 to S3 of doc/invariants.md. After each kill the survivor
 * sweeps, counts the family, and others can join.
 */
#include "harness/kill.h"
#include "harness/inside.h"

#include <pthread.h>
#include <shm/attach.h>
#include <shm/member.h>
#include <shm/supply.h>

static uint64_t table_state(void)
{
    struct kn_header *header = kn_process.header;
    struct kn_participant *p;
    struct kn_member *m;
    uint64_t seen = 0;
    for (uint32_t slot = 0; (p = kn_participant_at(header, slot)); slot++)
        seen = seen * 31 + (uint64_t)kn_participant_state(header, p) * 4 +
               atomic_load(&p->generation) * 2 + (atomic_load(&p->start_time) != 0);
    for (uint32_t i = 0; (m = kn_member_at(header, i)); i++)
        seen = seen * 31 + atomic_load(&m->state) * 2 + (atomic_load(&m->claim) != 0);
    return seen;
}

static int count_claims(void)
{
    struct kn_member *m;
    int count = 0;
    for (uint32_t i = 0; (m = kn_member_at(kn_process.header, i)); i++)
        count += atomic_load(&m->claim) != 0;
    return count;
}

static void join(void)
{
    (void)self();
}

static void leave(void)
{
    kn_thread_leave();
}

static void use_the_heap(void)
{
    for (int size = 1; size < 20000; size *= 2)
        CHECK(kin_free(kin_alloc((size_t)size)) == 0);
    CHECK(kin_free(kin_alloc(100)) == 0);
}

static void join_and_use(void)
{
    join();
    use_the_heap();
}

static void fini(void)
{
    CHECK(kin_fini() == 0);
}

static void join_as_another(int number)
{
    (void)number;
    use_the_heap();
    CHECK_EQUAL(kin_family_size(), 2);
}

/* The dead one is gone from both tables, its slots are free, and others can join. */
static void verify_gone(void)
{
    kn_sweep(self());
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
    CHECK_EQUAL(count_claims(), 1);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(reap(fork_worker(join_as_another, 0)), 0);
    kn_sweep(self());
    CHECK_EQUAL(kin_family_size(), 1);
    use_the_heap();
}

/* ---- A robust mutex of the C library is held at the first call, and released behind it ---- */

static pthread_mutex_t *mutex;

static void make_mutex_of(int protocol)
{
    pthread_mutexattr_t attributes;
    mutex = kin_alloc(sizeof *mutex);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    CHECK(pthread_mutexattr_setprotocol(&attributes, protocol) == 0);
    CHECK(pthread_mutex_init(mutex, &attributes) == 0);
}

static void make_mutex(void)
{
    make_mutex_of(PTHREAD_PRIO_NONE);
}

/* The C library marks the list's pointers to such mutexes. */
static void make_pi_mutex(void)
{
    make_mutex_of(PTHREAD_PRIO_INHERIT);
}

static void hold_mutex(void)
{
    CHECK(pthread_mutex_lock(mutex) == 0);
}

static void join_and_unlock(void)
{
    join();
    CHECK(pthread_mutex_unlock(mutex) == 0);
}

static void verify_gone_and_unlocked(void)
{
    int answer = pthread_mutex_lock(mutex);
    CHECK(answer == 0 || answer == EOWNERDEAD);
    if (answer == EOWNERDEAD)
        CHECK(pthread_mutex_consistent(mutex) == 0);
    CHECK(pthread_mutex_unlock(mutex) == 0);
    verify_gone();
}

/* ---- A full table of threads: who comes next makes it longer, from the vestibule ---- */

static pthread_barrier_t all_in;

static void *register_and_stay(void *unused)
{
    (void)self();
    pthread_barrier_wait(&all_in);
    for (;;)
        pause();
    return unused;
}

static void fill_the_table(void)
{
    /* One slot is the vestibule, one is this thread's. */
    int free_slots = count_slots(KN_LIFE_FREE) - 1;
    pthread_barrier_init(&all_in, NULL, (unsigned)free_slots + 1);
    for (int i = 0; i < free_slots; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, register_and_stay, NULL) == 0);
        pthread_detach(thread);
    }
    pthread_barrier_wait(&all_in);
    CHECK_EQUAL(count_slots(KN_LIFE_FREE), 1);
}

static void verify_longer(void)
{
    kn_sweep(self());
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(reap(fork_worker(join_as_another, 0)), 0);
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), KN_PARTICIPANTS_IN_CHUNK - 1);
    kn_sweep(self());
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK_EQUAL(statistics.blocks, 0);
}

static const struct kill_case cases[] = {
    { "first call of a process", NULL, NULL, join, table_state, verify_gone, 0 },
    { "end of a thread", NULL, join, leave, table_state, verify_gone, 0 },
    { "end of a thread with slabs", NULL, join_and_use, leave, table_state, verify_gone, 0 },
    { "kin_fini", NULL, join, fini, table_state, verify_gone, 0 },
    { "first call, a mutex is held", make_mutex, hold_mutex, join_and_unlock, table_state,
      verify_gone_and_unlocked, 0 },
    { "first call, a PI mutex is held", make_pi_mutex, hold_mutex, join_and_unlock, table_state,
      verify_gone_and_unlocked, 0 },
    { "first call, the table is full", fill_the_table, NULL, join, table_state, verify_longer, 0 },
    { NULL, NULL, NULL, NULL, NULL, NULL, 0 },
};

int main(int argc, char **argv)
{
    return kill_main(cases, argc, argv);
}
