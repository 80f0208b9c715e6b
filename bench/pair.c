// SPDX-License-Identifier: MIT
/*
 * pair.c - two workers at once, each on a CPU of its own: threads for the peers that have nothing
 * else, processes for kin.
 *
 * Both warm up, meet at a gate by spinning (a sleeping one would start 20 us late), work, and note
 * when they are done. What is measured begins when both are at the gate and ends with the later of
 * them. Starting and joining them is not in it, nor is what they clean up.
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * In shared memory. waiting: who is at the gate; writer: both. begun: each worker's own time after
 * the gate; ended: the same after its work. Read by the starter after both were joined.
 */
struct bench_gate {
    _Atomic int waiting;
    _Atomic int next; /* which index the next to be done gets */
    int64_t begun[2], ended[2];
};

struct worker {
    const struct bench_pair *pair;
    struct bench_gate *gate;
    int which;
};

void bench_pass(struct bench_gate *gate)
{
    int mine = atomic_fetch_add(&gate->waiting, 1);
    for (int spins = 0; atomic_load_explicit(&gate->waiting, memory_order_acquire) < 2; spins++)
        if (spins > 10000) /* one CPU for both, or the other is not there yet */
            sched_yield();
    gate->begun[mine] = bench_now();
}

void bench_done(struct bench_gate *gate)
{
    int64_t now = bench_now();
    gate->ended[atomic_fetch_add(&gate->next, 1)] = now;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    bench_pin(worker->which);
    worker->pair->work(worker->which, worker->gate, worker->pair->context);
    return NULL;
}

static void run_threads(struct worker workers[2])
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        int error = pthread_create(&threads[i], NULL, work, &workers[i]);
        if (error)
            bench_die("no thread: %s", strerror(error));
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void run_processes(struct worker workers[2])
{
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] < 0)
            bench_die("no process: %s", strerror(errno));
        if (children[i] == 0) {
            work(&workers[i]);
            if (workers[i].pair->leave)
                workers[i].pair->leave();
            _exit(0);
        }
    }
    for (int i = 0; i < 2; i++) {
        int status;
        if (waitpid(children[i], &status, 0) < 0 || status != 0)
            bench_die("a worker failed");
    }
}

double bench_pair(const struct bench_pair *pair)
{
    struct bench_gate *gate = bench_shared(sizeof *gate);
    struct worker workers[2] = { { pair, gate, 0 }, { pair, gate, 1 } };
    if (pair->kind == BENCH_THREADS)
        run_threads(workers);
    else
        run_processes(workers);
    int64_t begun = gate->begun[0] < gate->begun[1] ? gate->begun[0] : gate->begun[1];
    int64_t ended = gate->ended[0] > gate->ended[1] ? gate->ended[0] : gate->ended[1];
    munmap(gate, sizeof *gate);
    return (double)(ended - begun);
}
