// SPDX-License-Identifier: MIT
/*
 * crew.h - several workers at once, as processes or, in the thread build, as threads.
 *
 * Race detectors see nothing across fork, so the shared-memory tests are built once more with
 * threads (-DKIN_TEST_THREADS) for ThreadSanitizer. A worker gets its number and must use only
 * shared memory (crew_shared) and kin.
 */
#ifndef KIN_TEST_CREW_H
#define KIN_TEST_CREW_H

#include <stddef.h>
#include <sys/types.h>

#define CREW_MOST 64

struct crew {
    int count;
    long who[CREW_MOST]; /* pid, or index of the thread */
};

/* Starts count workers; each runs work(number) and ends. */
void crew_start(struct crew *crew, int count, void (*work)(int number));

/* Waits for all; fails the test if one did not end well. */
void crew_join(struct crew *crew);

/* Zeroed memory that all workers share. */
void *crew_shared(size_t bytes);

/* Forks a child that runs work(number) and _exits 0. Not in the thread build. */
pid_t fork_worker(void (*work)(int number), int number);

/* Waits until the condition holds; fails the test after a generous while. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        long wait_spins = 0;                                                                       \
        while (!(condition))                                                                       \
            wait_a_little(&wait_spins, #condition, __FILE__, __LINE__);                            \
    } while (0)

/* How many seconds that is. */
long patience(void);

void wait_a_little(long *spins, const char *what, const char *file, int line);

/* Ends a child that is ours, and collects it. Returns its wait status. */
int reap(pid_t pid);
int kill_and_reap(pid_t pid);

/* How many descriptors this process has open. */
int open_descriptors(void);

struct test_case;

/* Runs the cases, or the one named in the first argument, each in a process of its own, so that each
 * has a family of its own. */
void run_apart(const struct test_case *cases, int argc, char **argv);

/* Runs work in a child process and returns its wait status; its output is seen. */
int in_child(void (*work)(void));

#endif
