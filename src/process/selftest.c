// SPDX-License-Identifier: MIT
/*
 * selftest.c - trying what kin stands on, on this machine, now.
 *
 * What a kernel's version promises is not what a program gets: a seccomp profile, an emulator, an
 * old C library or a kernel's configuration stand between. So each facility is used here once as
 * kin uses it, and the answer says what was found, or what follows from its lack.
 *
 *   caller --fork--> tester --fork--> subject
 *     |                 |                |   links a life word, is killed ...
 *     '--- struct kn_trial: shared memory --'
 *
 * Each row has a tester, a child process of its own. The caller itself only maps the memory through
 * which they speak, forks, and waits for that one pid: it opens no descriptor, touches no robust
 * list, and a trial that crashes or hangs is a row that says so. The tester has its signals at
 * their defaults, so it learns how its subject ended even where the caller ignores SIGCHLD or
 * collects every child it sees; the caller needs no more than that its tester is gone.
 *
 * Nothing is measured and nothing is slept through: who waits, waits on a futex, and the limits are
 * so generous that only what never comes exceeds them.
 *
 * Who may call it: any thread, with a family or without, several at a time. The caller's fork
 * handlers run, and SIGCHLD is raised for each tester.
 *
 * Sudden death: testers and subjects bear an alarm that ends them whoever else is dead. A row's
 * memory is its own, so a subject that survived its tester writes into none that anyone reads.
 */
#include <process/trial.h>

#include <base/system.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TESTER_SECONDS 60u /* more than all its waits together */

/* ---- The table ---- */

static const struct {
    const char *name;
    int (*run)(struct kn_trial *t);
} trials[] = {
    { "memfd", kn_try_memfd },
    { "memfd seals", kn_try_seals },
    { "memfd growth", kn_try_growth },
    { "robust list", kn_try_list },
    { "robust layout", kn_try_layout },
    { "robust mutex", kn_try_mutex },
    { "life word", kn_try_life },
    { "life word among mutexes", kn_try_life_among_mutexes },
    { "pending word", kn_try_pending },
    { "pending wake", kn_try_wake },
    { "thread end", kn_try_thread_end },
    { "thread id address", kn_try_tid_address },
    { "lifeline", kn_try_lifeline },
    { "wipe on fork", kn_try_wipe },
    { "futex_waitv", kn_try_waitv },
    { "membarrier", kn_try_membarrier },
    { "pidfd", kn_try_pidfd },
    { "start time", kn_try_start_time },
    { "pid namespace", kn_try_namespace },
};

/* What the tester inherits and must not keep: handlers, a pending cancellation, the robust list. */
static void become_tester(const struct kn_trial *t)
{
    /* No core: 0 would still allow one that goes to a pipe. */
    static const struct rlimit no_core = { 1, 1 };
    uint64_t signals = ~((uint64_t)1 << (SIGALRM - 1));
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    signal(SIGALRM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    alarm(TESTER_SECONDS);
    KN_SYSTEM_4(KN_SIGPROCMASK, SIG_SETMASK, &signals, NULL, sizeof signals);
    KN_SYSTEM_4(KN_PRLIMIT, 0, RLIMIT_CORE, &no_core, NULL);
    kn_trial_forget_list(t);
}

/* Forks with all signals held, so that none of the caller's handlers runs in the child. */
static pid_t fork_quietly(void)
{
    uint64_t all = ~(uint64_t)0, before = 0;
    long held = KN_SYSTEM_4(KN_SIGPROCMASK, SIG_SETMASK, &all, &before, sizeof all);
    pid_t pid = fork();
    if (pid < 0)
        pid = -errno;
    if (pid != 0 && held == 0)
        KN_SYSTEM_4(KN_SIGPROCMASK, SIG_SETMASK, &before, NULL, sizeof before);
    return pid;
}

static void say_what_ended(struct kn_trial *t, int status)
{
    int number = status >= 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGALRM)
        kn_trial_say(t, -ETIMEDOUT, "the child that tried it did not finish in %u s",
                     TESTER_SECONDS);
    else
        kn_trial_say(t, -ECHILD, "the child that tried it ended by signal %d%s", number,
                     number == SIGSYS ? ": a seccomp profile forbids it"
                                      : " before it could say more");
}

static void run_trial(struct kn_trial *t, int (*run)(struct kn_trial *t))
{
    pid_t pid = fork_quietly();
    if (pid < 0) {
        kn_trial_say(t, pid, "no child process to try it in (fork, error %d)", -pid);
        return;
    }
    if (pid == 0) {
        become_tester(t);
        run(t);
        _exit(0);
    }
    int status = kn_trial_collect(pid);
    if (t->row.text[0] == '\0')
        say_what_ended(t, status);
}

static kin_selftest_result run_row(size_t i, struct robust_list_head *known)
{
    struct kn_trial none = { .row.name = trials[i].name };
    long memory = KN_SYSTEM_6(KN_MMAP, 0, sizeof(struct kn_trial), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kn_trial_is_error(memory)) {
        kn_trial_say(&none, (int)memory, "no memory to try it with (mmap, error %d)", (int)-memory);
        return none.row;
    }
    struct kn_trial *t = (struct kn_trial *)memory;
    t->row.name = trials[i].name;
    t->known = known;
    run_trial(t, trials[i].run);
    kin_selftest_result row = t->row;
    KN_SYSTEM_2(KN_MUNMAP, memory, sizeof(struct kn_trial));
    return row;
}

int kin_selftest(kin_selftest_result *results, int count)
{
    if (count < 0 || (count > 0 && !results))
        return -EINVAL;
    int saved = errno;
    struct robust_list_head *known = NULL;
    size_t length = 0;
    /* Not by the table: it serves the children's safety, not a trial. */
    if (syscall(SYS_get_robust_list, 0, &known, &length) < 0)
        known = NULL;
    size_t rows = KN_ARRAY_LENGTH(trials);
    for (size_t i = 0; i < rows && i < (size_t)count; i++)
        results[i] = run_row(i, known);
    errno = saved;
    return (int)rows;
}
