// SPDX-License-Identifier: MIT
/*
 * bench_fork.c - what a big arena costs a process that forks.
 *
 * fork.arena: fork(2), _exit in the child, waitpid; in a process of whose arena 1 GiB is in use and
 * touched, beside the same process without an arena, and beside one with 1 GiB of private memory,
 * whose page tables a fork copies. All three are children of this program that do what it asks
 * over a pipe, so that they can take turns.
 */
#include "bench.h"

#include <errno.h>
#include <kin/kin.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD  ((size_t)1 << 30)
#define BLOCK ((size_t)16 << 20)

/* A process that forks when it is asked to, and what it holds while it does. */
struct servant {
    void (*prepare)(void);
    int forks; /* in one round */
    pid_t pid;
    int asks, answers;
};

struct answer {
    double us;  /* of one fork */
    double cpu; /* seconds that it took */
};

static void touch(char *memory, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t offset = 0; offset < bytes; offset += page)
        memory[offset] = 1;
    bench_keep(memory);
}

static void hold_arena(void)
{
    if (kin_init(NULL, NULL, NULL) < 0)
        bench_die("%s", kin_family_error());
    for (size_t held = 0; held < HELD; held += BLOCK) {
        char *block = kin_alloc(BLOCK);
        if (!block)
            bench_die("%s", kin_family_error());
        touch(block, BLOCK);
    }
}

static void hold_nothing(void)
{
}

static void hold_private(void)
{
    char *memory = mmap(NULL, HELD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_die("no private memory: %s", strerror(errno));
    /* What a program allocates bit by bit is in small pages for the most part. */
    madvise(memory, HELD, MADV_NOHUGEPAGE);
    touch(memory, HELD);
}

static void fork_once(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        bench_die("fork failed: %s", strerror(errno));
}

static _Noreturn void serve(const struct servant *servant, int asks, int answers)
{
    char ask;
    struct answer answer = { 0 };
    bench_pin(0);
    servant->prepare();
    while (write(answers, &answer, sizeof answer) == sizeof answer && read(asks, &ask, 1) == 1) {
        double cpu = bench_cpu();
        int64_t begun = bench_now();
        for (int i = 0; i < servant->forks; i++)
            fork_once();
        answer.us = (double)(bench_now() - begun) / servant->forks / 1000;
        answer.cpu = bench_cpu() - cpu;
    }
    _exit(0);
}

static double wait_for(const struct servant *servant)
{
    struct answer answer;
    if (read(servant->answers, &answer, sizeof answer) != sizeof answer)
        bench_die("a process that should fork ended");
    bench_count_cpu(answer.cpu);
    return answer.us;
}

static void start(struct servant *servant)
{
    int asks[2], answers[2];
    if (pipe(asks) < 0 || pipe(answers) < 0)
        bench_die("no pipe: %s", strerror(errno));
    servant->pid = fork();
    if (servant->pid < 0)
        bench_die("no process: %s", strerror(errno));
    if (servant->pid == 0) {
        close(asks[1]);
        close(answers[0]);
        serve(servant, asks[0], answers[1]);
    }
    close(asks[0]);
    close(answers[1]);
    servant->asks = asks[1];
    servant->answers = answers[0];
    wait_for(servant);
}

static double round_of(void *context)
{
    const struct servant *servant = context;
    if (write(servant->asks, "", 1) != 1)
        bench_die("a process that should fork does not listen");
    return wait_for(servant);
}

static void stop(const struct servant *servant)
{
    int status;
    close(servant->asks);
    close(servant->answers);
    waitpid(servant->pid, &status, 0);
}

int main(void)
{
    struct servant arena = { .prepare = hold_arena, .forks = 40 };
    struct servant nothing = { .prepare = hold_nothing, .forks = 40 };
    struct servant private = { .prepare = hold_private, .forks = 2 };
    const struct bench_side sides[] = {
        { "kin", round_of, &arena },
        { "without", round_of, &nothing },
        { "private", round_of, &private },
        { 0 },
    };
    if (!bench_wanted("fork.arena"))
        return 0;
    start(&nothing);
    start(&arena);
    start(&private);
    bench_measure(&(struct bench) { "fork.arena", "us", BENCH_LESS_IS_BETTER, sides });
    /* The last to be started has copies of the others' pipes. */
    stop(&private);
    stop(&arena);
    stop(&nothing);
    return 0;
}
