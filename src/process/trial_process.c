// SPDX-License-Identifier: MIT
/*
 * trial_process.c - rows of the self-test: how processes are watched and told apart.
 *
 * A lifeline that kills a child with its parent, a page that tells of a fork, descriptors of
 * processes, and what /proc says of the living, of zombies and of those who are gone.
 *
 * Sudden death: see trial.h for who ends whom.
 */
#include <process/trial.h>

#include <base/clock.h>
#include <base/procfs.h>
#include <base/system.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

#define WAITID_PIDFD 3 /* P_PIDFD, which older C libraries do not name */

/* ---- Processes ---- */

int kn_try_tid_address(struct kn_trial *t)
{
    const uint32_t *address = NULL;
    long answer = KN_SYSTEM_2(KN_PRCTL, PR_GET_TID_ADDRESS, &address);
    if (answer < 0)
        return kn_trial_say(
            t, 0,
            "not told (error %d; CONFIG_CHECKPOINT_RESTORE): forkserver falls back to "
            "spawn",
            (int)-answer);
    if (!address || *address != kn_gettid())
        return kn_trial_say(t, 0,
                            "this C library does not keep the thread's id there: forkserver falls "
                            "back to spawn");
    return kn_trial_say(t, 1,
                        "found, and the id is there: a forkserver can correct it in its children");
}

/* Ties this process to the write end, and is busy: only a signal ends it. */
static void be_busy_on_lifeline(struct kn_trial *t)
{
    int fd = t->pipe[0];
    close(t->pipe[1]);
    long answer = KN_SYSTEM_3(KN_FCNTL, fd, F_SETOWN, kn_getpid());
    if (answer >= 0)
        answer = KN_SYSTEM_3(KN_FCNTL, fd, F_SETSIG, SIGKILL);
    if (answer >= 0)
        answer = KN_SYSTEM_3(KN_FCNTL, fd, F_SETFL, O_RDONLY | O_ASYNC);
    if (answer < 0)
        kn_trial_fail(t, answer);
    kn_trial_report(t, KN_STAGE_READY);
    for (;;)
        kn_relax();
}

int kn_try_lifeline(struct kn_trial *t)
{
    pid_t pid = pipe2(t->pipe, O_CLOEXEC) < 0 ? -errno : kn_trial_start(t, be_busy_on_lifeline);
    if (pid < 0)
        return kn_trial_say(t, 0,
                            "cannot be armed (error %d): children die with the thread that started "
                            "them (PR_SET_PDEATHSIG)",
                            -pid);
    close(t->pipe[0]);
    close(t->pipe[1]);
    if (!kn_trial_was_killed(kn_trial_collect(pid)))
        return kn_trial_say(
            t, 0,
            "a closed lifeline (O_ASYNC) kills nobody: children die with the thread "
            "that started them (PR_SET_PDEATHSIG)");
    return kn_trial_say(t, 1, "closing a lifeline (O_ASYNC) kills a busy child");
}

static void look_at_page(struct kn_trial *t)
{
    if (*t->page != 0)
        kn_trial_fail(t, -ENOTSUP);
    kn_trial_report(t, KN_STAGE_READY);
}

int kn_try_wipe(struct kn_trial *t)
{
    long page = KN_SYSTEM_6(KN_MMAP, 0, KN_TRIAL_STEP, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (kn_trial_is_error(page))
        return kn_trial_say(t, (int)page, "no memory to try it with");
    long answer = KN_SYSTEM_3(KN_MADVISE, page, KN_TRIAL_STEP, MADV_WIPEONFORK);
    t->page = (volatile uint32_t *)page;
    *t->page = 1;
    pid_t pid = answer < 0 ? (pid_t)answer : kn_trial_start(t, look_at_page);
    if (pid < 0)
        return kn_trial_say(t, 0,
                            "no page is wiped in the child of a fork (error %d): pthread_atfork "
                            "serves, which a bare fork system call bypasses",
                            -pid);
    kn_trial_collect(pid);
    return kn_trial_say(t, 1, "a page is wiped in the child of a fork");
}

int kn_try_pidfd(struct kn_trial *t)
{
    pid_t pid = kn_trial_start(t, kn_trial_wait_for_death);
    if (pid < 0)
        return kn_trial_say(t, pid, "no child process to try it with");
    long fd = KN_SYSTEM_2(KN_PIDFD_OPEN, pid, 0);
    if (fd < 0) {
        kn_trial_end(pid);
        return kn_trial_say(
            t, 0, "no pidfd (error %d): processes are watched in /proc, and by waitpid", (int)-fd);
    }
    siginfo_t info = { 0 };
    struct pollfd poller = { .fd = (int)fd, .events = POLLIN };
    kill(pid, SIGKILL);
    int ended = poll(&poller, 1, KN_TRIAL_PATIENCE / KIN_MS(1));
    if (ended == 1 && syscall(SYS_waitid, WAITID_PIDFD, fd, &info, WEXITED, NULL) == 0 &&
        info.si_pid == pid && info.si_status == SIGKILL)
        return kn_trial_say(t, 1, "a pidfd shows the end of a process, and waitid collects by it");
    kn_trial_end(pid);
    return kn_trial_say(t, 0, "a pidfd does not %s: processes are watched in /proc, and by waitpid",
                        ended == 1 ? "serve waitid" : "show the end of its process");
}

/* What the second source of truth says of a subject that lives, is a zombie, is gone. */
static const char *wrong_start(pid_t pid)
{
    siginfo_t info;
    int64_t recorded = kn_process_start((uint32_t)pid, NULL);
    kill(pid, SIGKILL);
    int ended = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0;
    int64_t zombie = kn_process_start((uint32_t)pid, NULL);
    kn_trial_collect(pid);
    int64_t gone = kn_process_start((uint32_t)pid, NULL);
    if (recorded <= 0)
        return "of a live process";
    if (ended && zombie != KN_START_ZOMBIE)
        return "of a zombie";
    return gone == KN_START_UNKNOWN || gone == recorded ? "of a process that is gone" : NULL;
}

int kn_try_start_time(struct kn_trial *t)
{
    char text[16];
    long answer = kn_read_file("/proc/self/stat", text, sizeof text);
    if (answer <= 0)
        return kn_trial_say(t, answer < 0 ? (int)answer : -ENODATA,
                            "/proc shows nobody: deaths that the kernel does not mark stay unseen");
    pid_t pid = kn_trial_start(t, kn_trial_wait_for_death);
    if (pid < 0)
        return kn_trial_say(t, pid, "no child process to try it with");
    const char *wrong = wrong_start(pid);
    if (wrong)
        return kn_trial_say(t, -ENOTSUP,
                            "/proc gives no true picture %s: deaths that the kernel does not "
                            "mark stay unseen",
                            wrong);
    return kn_trial_say(t, 1, "/proc tells the live, zombies and the gone apart");
}

int kn_try_namespace(struct kn_trial *t)
{
    if (kn_namespace("pid") != 0)
        return kn_trial_say(t, 1, "/proc names it");
    return kn_trial_say(t, -ENOENT,
                        "/proc does not name it: kin cannot refuse who joins from another one");
}
