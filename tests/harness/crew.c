// SPDX-License-Identifier: MIT
/*
 * crew.c - starting and collecting workers, and waiting for conditions without sleeping blindly.
 *
 * Nothing here waits for a time to pass: WAIT_UNTIL looks at its condition again and again, lets
 * the processor go in between, and gives up after a minute, which is a failure. Where the machine is
 * slow (an emulated one), KIN_TEST_PATIENCE in the environment says how many seconds instead.
 */
#include "crew.h"

#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

long patience(void)
{
    const char *wanted = getenv("KIN_TEST_PATIENCE");
    return wanted ? atol(wanted) : 60;
}

void wait_a_little(long *spins, const char *what, const char *file, int line)
{
    static __thread struct timespec began;
    struct timespec now;
    if (*spins == 0)
        clock_gettime(CLOCK_MONOTONIC, &began);
    if (++*spins < 64)
        return;
    /* Off the processor, since whom it waits for may be pinned to the same one; ever longer. */
    long nap = *spins < 256 ? 50000 : *spins < 1024 ? 2000000 : 20000000;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec) { 0, nap }, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - began.tv_sec > patience())
        check_failed(file, line, what, "waited too long");
}

void *crew_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

int reap(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return status;
}

int kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    return reap(pid);
}

/* A test that fails or is killed leaves nobody behind, who might hold its output open for ever. */
static pid_t fork_child(void)
{
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

pid_t fork_worker(void (*work)(int number), int number)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        work(number);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

#if defined(KIN_TEST_THREADS)

static pthread_t threads[CREW_MOST];
static int threads_used;

struct start {
    void (*work)(int number);
    int number;
};

static void *run(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    start.work(start.number);
    return NULL;
}

void crew_start(struct crew *crew, int count, void (*work)(int number))
{
    crew->count = count;
    threads_used = 0;
    for (int i = 0; i < count; i++) {
        struct start *start = malloc(sizeof *start);
        *start = (struct start) { work, i };
        crew->who[i] = threads_used++;
        CHECK(pthread_create(&threads[crew->who[i]], NULL, run, start) == 0);
    }
}

void crew_join(struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        CHECK(pthread_join(threads[crew->who[i]], NULL) == 0);
}

#else

void crew_start(struct crew *crew, int count, void (*work)(int number))
{
    crew->count = count;
    for (int i = 0; i < count; i++)
        crew->who[i] = fork_worker(work, i);
}

void crew_join(struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        CHECK_EQUAL(reap((pid_t)crew->who[i]), 0);
}

#endif

int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    int count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

int in_child(void (*work)(void))
{
    pid_t pid = fork_child();
    if (pid == 0) {
        work();
        fflush(NULL);
        _exit(0);
    }
    return reap(pid);
}

static const struct test_case *chosen;

static void run_chosen(void)
{
    chosen->run();
}

void run_apart(const struct test_case *cases, int argc, char **argv)
{
    for (chosen = cases; chosen->name; chosen++) {
        if (argc > 1 && strcmp(argv[1], chosen->name) != 0)
            continue;
        printf("%s\n", chosen->name);
        CHECK_EQUAL(in_child(run_chosen), 0);
    }
}
