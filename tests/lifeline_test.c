// SPDX-License-Identifier: MIT
/*
 * lifeline_test.c - a child is killed when its parent is gone: busy, asleep, after an exec, and when
 * the parent died before the child had armed its end.
 *
 * This process is the reaper of its grandchildren, so it sees how they ended.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/system.h>
#include <process/lifeline.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum way { BUSY, ASLEEP, EXECUTED, ORPHANED };

static struct {
    _Atomic int stage; /* 1: the child is there; 2: it is armed; 3: the parent is gone */
    _Atomic int child, answer;
} * shared;

static void live_on(enum way way, int hold)
{
    if (way == ORPHANED) {
        atomic_store(&shared->stage, 1);
        WAIT_UNTIL(atomic_load(&shared->stage) == 3);
    }
    int answer = kn_lifeline_arm(hold);
    atomic_store(&shared->answer, answer);
    if (way == ORPHANED)
        _exit(answer == 1 ? 7 : 8);
    CHECK_EQUAL(answer, 0);
    atomic_store(&shared->stage, 2);
    if (way == EXECUTED) {
        execl("/proc/self/exe", "lifeline_test", "--sleep", (char *)NULL);
        _exit(9);
    }
    for (;;)
        if (way == ASLEEP)
            pause();
}

/* The parent, which is killed. */
static void be_parent(enum way way)
{
    struct kn_lifeline line;
    CHECK_EQUAL(kn_lifeline_open(&line), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(line.keep);
        live_on(way, line.hold);
    }
    close(line.hold);
    atomic_store(&shared->child, pid);
    for (;;)
        pause();
}

static void in_this_way(enum way way)
{
    shared = crew_shared(sizeof *shared);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    fflush(NULL);
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0)
        be_parent(way);
    WAIT_UNTIL(atomic_load(&shared->child) &&
               atomic_load(&shared->stage) == (way == ORPHANED ? 1 : 2));
    kill_and_reap(parent);
    atomic_store(&shared->stage, 3);
    int status = reap(atomic_load(&shared->child));
    if (way == ORPHANED)
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    else
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void busy(void)
{
    in_this_way(BUSY);
}

static void asleep(void)
{
    in_this_way(ASLEEP);
}

static void executed(void)
{
    in_this_way(EXECUTED);
}

static void orphaned_before(void)
{
    in_this_way(ORPHANED);
}

/* Each step that can fail says so, and leaves nothing open. */
static void steps_fail(void)
{
    struct kn_lifeline line;
    int before = open_descriptors();
    kn_fault.call = KN_PIPE2;
    kn_fault.error = EMFILE;
    kn_fault.nth = kn_fault.times = 1;
    kn_fault.counting = 1;
    CHECK_EQUAL(kn_lifeline_open(&line), -EMFILE);
    CHECK_EQUAL(open_descriptors(), before);
    CHECK_EQUAL(kn_lifeline_open(&line), 0);
    CHECK_EQUAL(open_descriptors(), before + 2);
    for (int step = 1; step <= 4; step++) {
        kn_fault.call = KN_FCNTL;
        kn_fault.error = EPERM;
        kn_fault.nth = step;
        kn_fault.times = 1;
        CHECK_EQUAL(kn_lifeline_arm(line.hold), -EPERM);
    }
    kn_fault.counting = 0;
    CHECK_EQUAL(kn_lifeline_arm(-1), -EBADF);
    close(line.hold);
    close(line.keep);
}

static const struct test_case cases[] = {
    { "busy", busy },
    { "asleep", asleep },
    { "executed", executed },
    { "orphaned before", orphaned_before },
    { "steps fail", steps_fail },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    while (argc > 1 && strcmp(argv[1], "--sleep") == 0)
        pause();
    run_apart(cases, argc, argv);
    return 0;
}
