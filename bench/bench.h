// SPDX-License-Identifier: MIT
/*
 * bench.h - measuring kin beside its peers: rounds, medians, noise, a table and JSON lines.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

enum bench_better { BENCH_LESS_IS_BETTER, BENCH_MORE_IS_BETTER };

/*
 * One of those that are compared. round does the work of one round and returns its figure in the
 * bench's unit; it checks its own work and calls bench_die when that went wrong.
 */
struct bench_side {
    const char *name;
    double (*round)(void *context);
    void *context;
};

/* A figure: kin first, then its peers; the list ends with a side without a name. */
struct bench {
    const char *name; /* as in the table of targets */
    const char *unit;
    enum bench_better better;
    const struct bench_side *sides;
};

#define BENCH_MOST_SIDES 8

/* Does the environment's ONLY let this name through? ONLY=heap is all that begins with "heap". */
int bench_wanted(const char *name);

/* Measures if it is wanted, prints its table and appends its JSON lines. */
void bench_measure(const struct bench *bench);

/* Nanoseconds of a clock that only goes forward. */
int64_t bench_now(void);

/*
 * Pins the calling thread to one of the CPUs that the program was started on, the first being 0.
 * There may be fewer than asked for: then they are shared, and bench_measure says so.
 */
void bench_pin(int which);

/*
 * CPU seconds of this process and the children that it waited for; and a way to say that so many,
 * of a child that it did not wait for yet, are the bench's own and not others' noise.
 */
double bench_cpu(void);
void bench_count_cpu(double seconds);

/* Memory that children of a fork share, all zero. */
void *bench_shared(uint64_t bytes);

/* The compiler must take it that somebody looks at the memory behind the pointer. */
static inline void bench_keep(const void *pointer)
{
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

/* What went wrong, in words, and the end of the program. */
_Noreturn void bench_die(const char *words, ...) __attribute__((format(printf, 1, 2)));

/* ---- Two at once (pair.c) ---- */

enum bench_kind { BENCH_THREADS, BENCH_PROCESSES };

struct bench_gate;

/*
 * One of two workers, which is 0 or 1; it is pinned to the CPU of that number. What it does before
 * bench_pass is not measured; what it does after bench_done is not either. leave, if not NULL, is
 * called by a worker that is a process before it ends.
 */
struct bench_pair {
    enum bench_kind kind;
    void (*work)(int which, struct bench_gate *gate, void *context);
    void (*leave)(void);
    void *context;
};

/* Runs both and waits for them. Returns the nanoseconds from the gate to the later bench_done. */
double bench_pair(const struct bench_pair *pair);

/* Waits until both workers are here. */
void bench_pass(struct bench_gate *gate);
void bench_done(struct bench_gate *gate);

#endif
