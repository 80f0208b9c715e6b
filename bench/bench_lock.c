// SPDX-License-Identifier: MIT
/*
 * bench_lock.c - what a robust section costs when nobody else wants it.
 *
 * lock.internal: take the library's internal lock, count one, let go; beside the limit (the two
 * locked instructions that no such lock can do without) and the C library's mutexes. All of them
 * stand in the same shared memory, each on a line of its own with its counter, and each loop looks
 * at what its acquire and release answer, as a user has to.
 */
#include "bench.h"
#include "peers/peer_mutex.h"
#include "peers/peer_word.h"

#include <kin/kin.h>
#include <shm/attach.h>
#include <shm/lock.h>

#define SECTIONS 1000000

/* The subject and its peers, each with what it protects. */
struct table {
    struct {
        _Alignas(KN_LINE) struct kn_lock lock;
        uint64_t count;
    } kin;
    struct {
        _Alignas(KN_LINE) struct peer_word lock;
        uint64_t count;
    } word;
    struct {
        _Alignas(KN_LINE) pthread_mutex_t lock;
        uint64_t count;
    } mutex[3];
};

static struct table *table;

/* Nanoseconds of one section. */
static double finish(int64_t begun, uint64_t counted)
{
    int64_t elapsed = bench_now() - begun;
    if (counted != SECTIONS)
        bench_die("%llu sections counted instead of %d", (unsigned long long)counted, SECTIONS);
    return (double)elapsed / SECTIONS;
}

static double kin_round(void *unused)
{
    (void)unused;
    int error;
    struct kn_thread *t = kn_thread_enter(&error);
    struct kn_lock *lock = &table->kin.lock;
    uint64_t *count = &table->kin.count;
    uint64_t before = *count;
    if (!t)
        bench_die("%s", kin_family_error());
    int64_t begun = bench_now();
    for (int i = 0; i < SECTIONS; i++) {
        if (kn_lock_acquire(t, lock))
            bench_die("a holder died that there is not");
        ++*count;
        kn_lock_release(t, lock);
    }
    double each = finish(begun, *count - before);
    kn_thread_done(t);
    return each;
}

static double word_round(void *unused)
{
    (void)unused;
    struct peer_word *lock = &table->word.lock;
    uint64_t *count = &table->word.count;
    uint64_t before = *count;
    int64_t begun = bench_now();
    for (int i = 0; i < SECTIONS; i++) {
        peer_word_acquire(lock, 1);
        ++*count;
        if (peer_word_release(lock) != 1)
            bench_die("the word was another's");
    }
    return finish(begun, *count - before);
}

static double mutex_round(void *context)
{
    enum peer_mutex_kind kind = *(enum peer_mutex_kind *)context;
    pthread_mutex_t *lock = &table->mutex[kind].lock;
    uint64_t *count = &table->mutex[kind].count;
    uint64_t before = *count;
    int64_t begun = bench_now();
    for (int i = 0; i < SECTIONS; i++) {
        if (peer_mutex_acquire(lock))
            bench_die("a holder died that there is not");
        ++*count;
        peer_mutex_release(lock);
    }
    return finish(begun, *count - before);
}

/* The family's memory is aligned to 16 bytes; here lines count. */
static void make_table(void)
{
    char *memory = kin_calloc(1, sizeof *table + KN_LINE);
    if (!memory)
        bench_die("%s", kin_family_error());
    table = (struct table *)(((uintptr_t)memory + KN_LINE - 1) & ~(uintptr_t)(KN_LINE - 1));
    for (int kind = PEER_MUTEX_NORMAL; kind <= PEER_MUTEX_PI; kind++)
        if (peer_mutex_init(&table->mutex[kind].lock, kind))
            bench_die("this system has no mutex of kind %d", kind);
}

int main(int argc, char **argv)
{
    static enum peer_mutex_kind normal = PEER_MUTEX_NORMAL, robust = PEER_MUTEX_ROBUST,
                                pi = PEER_MUTEX_PI;
    const struct bench_side sides[] = {
        { "kin", kin_round, NULL },          { "limit", word_round, NULL },
        { "pthread", mutex_round, &normal }, { "robust", mutex_round, &robust },
        { "pi", mutex_round, &pi },          { 0 },
    };
    if (!bench_wanted("lock.internal"))
        return 0;
    if (kin_init(&argc, &argv, NULL) < 0)
        bench_die("%s", kin_family_error());
    make_table();
    bench_pin(0);
    bench_measure(&(struct bench) { "lock.internal", "ns", BENCH_LESS_IS_BETTER, sides });
    return 0;
}
