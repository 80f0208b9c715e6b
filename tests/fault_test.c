// SPDX-License-Identifier: MIT
/*
 * fault_test.c - every system call that kin makes fails, at its first, second ... n-th use, with
 * each error that it could answer; and so does every taking of memory.
 *
 * What must hold: a clean error with words, or success by another way; no descriptor and no mapping
 * left behind by a failure; the heap sound; and when the fault is over, everything works.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/system.h>
#include <pthread.h>
#include <shm/attach.h>
#include <sys/wait.h>

/* Lines of /proc/self/maps that are the arena's. */
static int arena_mappings(void)
{
    char line[512];
    int count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        count += strstr(line, "memfd:kin") != NULL;
    fclose(file);
    return count;
}

static void arm(enum kn_call call, long nth, int error, long times)
{
    memset(&kn_fault, 0, sizeof kn_fault);
    kn_fault.call = call;
    kn_fault.nth = nth;
    kn_fault.error = error;
    kn_fault.times = times;
    kn_fault.counting = 1;
}

/* Returns how often the call was made. */
static long disarm(enum kn_call call)
{
    long seen = kn_fault.seen[call];
    memset(&kn_fault, 0, sizeof kn_fault);
    return seen;
}

static void work(void)
{
    for (size_t size = 10; size < 3 << 20; size *= 2) {
        char *block = kin_calloc(1, size);
        CHECK(block != NULL);
        CHECK(kin_free(block) == 0);
    }
    CHECK(kin_heap_check() == 0);
}

/* What is tried under a fault. Each step may fail, in words; none may do harm. */

static int begin_family(void)
{
    return kin_init(NULL, NULL, NULL);
}

static int use_heap(void)
{
    static char *kept[64];
    int failed = 0;
    for (int i = 0; i < 64; i++) {
        if (kept[i] && kin_free(kept[i]) < 0)
            failed = -EIO; /* never: freeing needs nothing */
        kept[i] = kin_alloc((size_t)1 << i % 22);
        if (!kept[i])
            failed = -errno;
    }
    int64_t trimmed = kin_heap_trim();
    kin_heap_statistics statistics;
    int counted = kin_heap_stats(&statistics);
    for (int i = 0; i < 64; i++) {
        if (kin_free(kept[i]) < 0)
            failed = -EIO;
        kept[i] = NULL;
    }
    return failed < 0 ? failed : trimmed < 0 ? (int)trimmed : counted;
}

static int thread_answer, thread_has_words;

static void *first_call(void *unused)
{
    char *block = kin_alloc(100);
    thread_answer = block ? kin_free(block) : -errno;
    thread_has_words = *kin_family_error() != '\0';
    return unused;
}

/* A thread's first call and its end. */
static int use_thread(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, first_call, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(thread_answer == 0 || thread_has_words);
    return thread_answer;
}

/* A new process's first call. */
static int use_process(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char *block = kin_alloc(100);
        int answer = block ? kin_free(block) : -errno;
        if (!block && !*kin_family_error())
            _exit(99);
        _exit(answer < 0 ? 1 : 0);
    }
    int status = reap(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) ? -EIO : 0;
}

static int leave_family(void)
{
    return kin_fini();
}

static const struct step {
    const char *name;
    int (*act)(void);
    int needs_family;
} steps[] = {
    { "kin_init", begin_family, 0 }, { "the heap", use_heap, 1 },     { "a thread", use_thread, 1 },
    { "a process", use_process, 1 }, { "kin_fini", leave_family, 1 },
};

static const struct step *step;
static enum kn_call row;
static long nth, times;
static int error;
static long *made; /* shared: how often the call was made */

static void one_fault(void)
{
    if (step->needs_family)
        CHECK(kin_init(NULL, NULL, NULL) == 0);
    int descriptors = open_descriptors(), mappings = arena_mappings();
    arm(row, nth, error, times);
    int answer = step->act();
    *made = disarm(row);
    if (answer < 0) {
        CHECK(*kin_family_error() != '\0' || step->act == use_thread || step->act == use_process);
        CHECK(answer != -EIO || step->act == use_process);
        if (!step->needs_family) {
            CHECK_EQUAL(open_descriptors(), descriptors);
            CHECK_EQUAL(arena_mappings(), mappings);
        }
    }
    /* The fault is over: all is well, from the same state. */
    CHECK(kin_init(NULL, NULL, NULL) == 0);
    work();
    CHECK(use_heap() == 0 && use_thread() == 0 && use_process() == 0);
    CHECK_EQUAL(kin_family_size(), 1);
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK_EQUAL(statistics.blocks, 0);
}

int main(void)
{
    long faults = 0;
    made = crew_shared(sizeof *made);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        step = &steps[s];
        for (row = 0; row < KN_CALLS; row++) {
            for (int e = 0; e < 6 && kn_system_table[row].errors[e]; e++) {
                error = kn_system_table[row].errors[e];
                /* Once at each place, and once for good from the first place on. */
                for (nth = 1; nth <= 60; nth++) {
                    times = 1;
                    int status = in_child(one_fault);
                    if (status != 0)
                        fprintf(stderr, "%s, %s fails at its use %ld with %s\n", step->name,
                                kn_system_table[row].name, nth, strerror(error));
                    CHECK_EQUAL(status, 0);
                    faults++;
                    if (*made < nth)
                        break;
                }
                nth = 1;
                times = error == EINTR ? 1 : 100000;
                if (row == KN_FUTEX && error == EAGAIN)
                    continue; /* a kernel that never lets anybody sleep: only hotter */
                int status = in_child(one_fault);
                if (status != 0)
                    fprintf(stderr, "%s, %s always fails with %s\n", step->name,
                            kn_system_table[row].name, strerror(error));
                CHECK_EQUAL(status, 0);
                faults++;
            }
        }
        printf("%s: %ld faults so far\n", step->name, faults);
        fflush(stdout);
    }
    return 0;
}
