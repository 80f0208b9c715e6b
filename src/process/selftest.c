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
 *     '--- struct trial: shared memory --'
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
#include <kin/selftest.h>

#include <base/clock.h>
#include <base/procfs.h>
#include <base/system.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <shm/robust.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS   1033
#define F_SEAL_SEAL   0x0001
#define F_SEAL_SHRINK 0x0002
#endif

#define WAITID_PIDFD 3 /* P_PIDFD, which older C libraries do not name */
#define FUTEX_U32    2 /* FUTEX_32, which older kernel headers do not name */

#define PATIENCE        KIN_S(10) /* for what comes in microseconds, or never */
#define SUBJECT_SECONDS 10u       /* then its alarm ends it */
#define TESTER_SECONDS  60u       /* more than all its waits together */

#define STEP 65536 /* a multiple of the page size of any machine */

enum stage {
    STAGE_READY = 1,
    STAGE_FAILED = 2,
};

/*
 * What caller, tester and subject of one row share. known is written before the tester is forked,
 * mutex, page and pipe before the subject is; word and error by the subject before stage (release),
 * and read after it (acquire); row by the tester, and read by the caller when the tester is gone.
 */
struct trial {
    kin_selftest_result row;
    struct robust_list_head *known; /* the calling thread's list, where it is in the children too */
    _Atomic uint32_t stage;
    int error;
    _Atomic uint32_t *word; /* what the kernel is to mark */
    union kn_life life;
    _Atomic uint32_t lock;    /* in no list: only pending */
    _Atomic uint32_t bell[2]; /* always 0: only slept on */
    pthread_mutex_t mutex;
    volatile uint32_t *page;
    int pipe[2];
};

typedef void part(struct trial *t);

/* ---- Words and waits ---- */

/* The row's answer; returns state. */
static KIN_PRINTF(3, 4) int say(struct trial *t, int state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->row.text, sizeof t->row.text, format, arguments);
    va_end(arguments);
    t->row.state = state;
    return state;
}

/* Sleeps until the word has one of these bits; 0: it did not get one. A wake may be lost. */
static int wait_for(const _Atomic uint32_t *word, uint32_t bits)
{
    int64_t end = kn_now() + PATIENCE;
    for (;;) {
        uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
        if (seen & bits)
            return 1;
        int64_t now = kn_now();
        if (now >= end)
            return 0;
        struct timespec deadline = kn_timespec(now + KIN_MS(50));
        kn_futex_wait(word, seen, &deadline);
    }
}

/* Waits for the end of a child: its wait status, or -ECHILD when somebody else collected it. */
static int collect(pid_t pid)
{
    int status = 0;
    int saved = errno;
    long answer;
    do /* the bare call: waitpid(3) is a cancellation point */
        answer = syscall(SYS_wait4, pid, &status, 0, NULL);
    while (answer < 0 && errno == EINTR);
    errno = saved;
    return answer < 0 ? -ECHILD : status;
}

static int end_subject(pid_t pid)
{
    kill(pid, SIGKILL);
    return collect(pid);
}

static int was_killed(int status)
{
    return status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static int is_error(long answer)
{
    return answer < 0 && answer > -4096;
}

/* ---- Subjects ---- */

static void report(struct trial *t, enum stage stage)
{
    atomic_store_explicit(&t->stage, stage, memory_order_release);
    kn_futex_wake(&t->stage, INT32_MAX);
}

static void fail(struct trial *t, long error)
{
    t->error = (int)error;
    report(t, STAGE_FAILED);
    _exit(1);
}

static void wait_for_death(struct trial *t)
{
    report(t, STAGE_READY);
    for (;;)
        pause();
}

/*
 * The child's list begins empty. glibc sees to that; with musl the head still leads to the parent's
 * locks until the first robust lock registers it, and linking would write into them.
 */
static void forget_list(const struct trial *t)
{
    if (!t->known)
        return;
    t->known->list.next = &t->known->list;
    t->known->list_op_pending = NULL;
}

static void find_list(struct trial *t, struct kn_robust *robust)
{
    static __thread struct robust_list_head own;
    int error = kn_robust_find(robust, KN_ROBUST_NATIVE, NULL, &own);
    if (error)
        fail(t, error);
}

/* Starts a subject and waits until it is ready. Its pid, or -errno, and then there is none. */
static pid_t start_subject(struct trial *t, part *run)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        alarm(SUBJECT_SECONDS);
        run(t);
        _exit(0);
    }
    int answered = wait_for(&t->stage, STAGE_READY | STAGE_FAILED);
    if (answered && atomic_load(&t->stage) == STAGE_READY)
        return pid;
    end_subject(pid);
    return answered ? t->error : -ETIMEDOUT;
}

/* ---- The memory file ---- */

static int open_memfd(struct trial *t)
{
    long fd = KN_SYSTEM_2(KN_MEMFD_CREATE, "kin-selftest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate((int)fd, STEP) < 0)
        fd = -errno;
    if (fd < 0)
        say(t, (int)fd, "no memory file (memfd_create, error %d): kin_init fails", (int)-fd);
    return (int)fd;
}

static int try_memfd(struct trial *t)
{
    int fd = open_memfd(t);
    return fd < 0 ? fd : say(t, 1, "memory files can be made");
}

static int try_seals(struct trial *t)
{
    int fd = open_memfd(t);
    if (fd < 0)
        return fd;
    long answer = KN_SYSTEM_3(KN_FCNTL, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
    if (answer < 0)
        return say(t, (int)answer, "a memory file cannot be sealed (error %d): kin_init fails",
                   (int)-answer);
    if (ftruncate(fd, 0) == 0)
        return say(t, -ENOTSUP,
                   "the seal against shrinking does not hold: another process can "
                   "take the arena away");
    return say(t, 1, "a sealed memory file does not shrink");
}

static int try_growth(struct trial *t)
{
    int fd = open_memfd(t);
    if (fd < 0)
        return fd;
    long base = KN_SYSTEM_6(KN_MMAP, 0, 2 * STEP, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (is_error(base))
        return say(t, (int)base, "a memory file cannot be mapped beyond its end: kin_init fails");
    long answer = KN_SYSTEM_4(KN_FALLOCATE, fd, 0, STEP, STEP);
    if (answer < 0)
        return say(t, (int)answer,
                   "fallocate cannot lengthen a memory file (error %d): the arena "
                   "cannot grow",
                   (int)-answer);
    /* Where the mapping does not follow, this is SIGBUS, and the caller says so. */
    volatile char *beyond = (volatile char *)base + STEP;
    char seen = 0;
    *beyond = 'k';
    if (pread(fd, &seen, 1, STEP) != 1 || seen != 'k')
        return say(t, -ENOTSUP, "a mapping does not follow its file's growth: kin_init fails");
    return say(t, 1, "fallocate lengthens a memory file, and old mappings follow");
}

/* ---- The robust list ---- */

static int try_list(struct trial *t)
{
    /* musl has no list before the first robust lock. */
    if (kn_robust_mutex(&t->mutex) == 0 && pthread_mutex_lock(&t->mutex) == 0)
        pthread_mutex_unlock(&t->mutex);
    struct robust_list_head *head = NULL;
    size_t length = 0;
    long answer = KN_SYSTEM_3(KN_GET_ROBUST_LIST, 0, &head, &length);
    if (answer < 0 || !head)
        return say(t, 0,
                   "not to be found (get_robust_list, error %d): robust mutexes serve in its "
                   "place, and cost more",
                   (int)-answer);
    int offset = (int)head->futex_offset;
    if (offset != -32 && offset != -28)
        return say(t, 0, "of unknown layout (offset %d): robust mutexes serve in its place",
                   offset);
    return say(t, 1, "found; words at %d, as with %s", offset, offset == -32 ? "glibc" : "musl");
}

/* A held mutex must be linked where a life word would be: node at 32, previous at 24, word by offset. */
static const char *wrong_place(const struct kn_robust *robust, pthread_mutex_t *mutex)
{
    struct robust_list *node = (struct robust_list *)(void *)((char *)mutex + 32);
    if (robust->head->list.next != node)
        return "the node";
    if (((struct robust_list **)node)[-1] != &robust->head->list)
        return "the previous pointer";
    const void *word = (const char *)node + robust->futex_offset;
    if ((*(const uint32_t *)word & FUTEX_TID_MASK) != kn_gettid())
        return "the word";
    return NULL;
}

static int try_layout(struct trial *t)
{
    static struct robust_list_head own;
    struct kn_robust robust;
    if (kn_robust_find(&robust, KN_ROBUST_NATIVE, NULL, &own) < 0)
        return say(t, 0, "no robust list to look at: robust mutexes serve in its place");
    int error = kn_robust_mutex(&t->mutex);
    if (error || pthread_mutex_lock(&t->mutex) != 0)
        return say(t, -ENOTSUP, "no robust mutex to look at (error %d)", -error);
    const char *wrong = wrong_place(&robust, &t->mutex);
    pthread_mutex_unlock(&t->mutex);
    if (!wrong && robust.head->list.next != &robust.head->list)
        wrong = "the end of the list";
    if (wrong)
        return say(t, -ENOTSUP,
                   "%s is not where kin expects it in a held robust mutex: set "
                   "KIN_ROBUST=mutex",
                   wrong);
    return say(t, 1, "a held mutex is linked as kin links: node at 32, previous before it");
}

static void hold_mutex(struct trial *t)
{
    forget_list(t);
    int error = pthread_mutex_lock(&t->mutex);
    if (error)
        fail(t, -error);
    wait_for_death(t);
}

static int try_mutex(struct trial *t)
{
    int error = kn_robust_mutex(&t->mutex);
    pid_t pid = error ? error : start_subject(t, hold_mutex);
    if (pid < 0)
        return say(t, pid,
                   "no robust mutex was held (error %d): where the list is not to be found "
                   "either, kin looks deaths up in /proc",
                   -pid);
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE / KIN_S(1);
    end_subject(pid);
    error = pthread_mutex_timedlock(&t->mutex, &deadline);
    if (error != EOWNERDEAD)
        return say(t, -ENOTSUP,
                   "a killed holder's robust mutex is not handed on (error %d): "
                   "KIN_ROBUST=mutex would hang",
                   error);
    pthread_mutex_consistent(&t->mutex);
    pthread_mutex_unlock(&t->mutex);
    return say(t, 1, "a killed holder's robust mutex is handed on");
}

/* ---- Marks of the kernel ---- */

/* The calling thread links the life word, as kn_participant_claim does. */
static void link_life(struct trial *t, const struct kn_robust *robust)
{
    t->word = kn_life_word(&t->life, robust->futex_offset);
    robust->head->list_op_pending = kn_robust_node(t->word, robust->futex_offset);
    kn_compiler_barrier();
    atomic_store(t->word, kn_gettid());
    kn_robust_link(robust->head, &t->life);
    kn_compiler_barrier();
    robust->head->list_op_pending = NULL;
}

static void live(struct trial *t)
{
    struct kn_robust robust;
    forget_list(t);
    find_list(t, &robust);
    link_life(t, &robust);
    wait_for_death(t);
}

/* The life word becomes the neighbour of a held mutex, whose unlock then must not drop it. */
static void live_among_mutexes(struct trial *t)
{
    struct kn_robust robust;
    forget_list(t);
    find_list(t, &robust);
    int error = pthread_mutex_lock(&t->mutex);
    if (error)
        fail(t, -error);
    link_life(t, &robust);
    pthread_mutex_unlock(&t->mutex);
    wait_for_death(t);
}

/* As inside an internal lock: in no list, only named. */
static void hold_pending(struct trial *t)
{
    struct kn_robust robust;
    forget_list(t);
    find_list(t, &robust);
    t->word = &t->lock;
    robust.head->list_op_pending = kn_robust_node(t->word, robust.futex_offset);
    kn_compiler_barrier();
    atomic_store(t->word, kn_gettid());
    wait_for_death(t);
}

/* Kills a subject that made a word its own: 0 when the kernel marks it, or -errno. */
static int kill_and_wait(struct trial *t, part *run)
{
    pid_t pid = start_subject(t, run);
    if (pid < 0)
        return pid;
    atomic_fetch_or(t->word, FUTEX_WAITERS);
    kill(pid, SIGKILL);
    int marked = wait_for(t->word, FUTEX_OWNER_DIED);
    collect(pid);
    return marked ? 0 : -ETIMEDOUT;
}

static int judge_mark(struct trial *t, int answer, const char *good, const char *bad)
{
    switch (answer) {
    case 0:
        return say(t, 1, "%s", good);
    case -ENOTSUP:
        return say(t, 0,
                   "the kernel marks no dead threads; kin uses robust mutexes, or looks into "
                   "/proc");
    case -ETIMEDOUT:
        return say(t, answer, "%s", bad);
    default:
        return say(t, answer, "no thread or process to try it with (error %d)", -answer);
    }
}

static int try_life(struct trial *t)
{
    return judge_mark(
        t, kill_and_wait(t, live), "SIGKILL marks a life word",
        "SIGKILL does not mark a life word: deaths are seen after a second, in /proc");
}

static int try_life_among_mutexes(struct trial *t)
{
    int error = kn_robust_mutex(&t->mutex);
    return judge_mark(t, error ? error : kill_and_wait(t, live_among_mutexes),
                      "a life word stays when a robust mutex linked before it is unlocked",
                      "unlocking a robust mutex drops the life word: deaths are seen after a "
                      "second, in /proc");
}

static int try_pending(struct trial *t)
{
    return judge_mark(t, kill_and_wait(t, hold_pending),
                      "SIGKILL marks a lock that only list_op_pending names",
                      "SIGKILL does not mark a lock that list_op_pending names: its waiters look "
                      "into /proc after a second");
}

/*
 * Dies between a release and its wake, when the tester is surely asleep: moving the sleepers of a
 * word to the same word changes nothing, but tells how many there are.
 */
static void die_before_wake(struct trial *t)
{
    struct kn_robust robust;
    forget_list(t);
    find_list(t, &robust);
    report(t, STAGE_READY);
    while (KN_SYSTEM_6(KN_FUTEX, &t->lock, FUTEX_CMP_REQUEUE, 0, 1, &t->lock, FUTEX_WAITERS) != 1)
        sched_yield();
    robust.head->list_op_pending = kn_robust_node(&t->lock, robust.futex_offset);
    kn_compiler_barrier();
    atomic_store(&t->lock, 0);
    kill((pid_t)kn_getpid(), SIGKILL);
}

/*
 * Sleeps on the lock until its release is told: 0, -ETIMEDOUT, or -EAGAIN when this thread was not
 * asleep at that moment after all (the kernel may wake and re-queue a sleeper for no reason).
 */
static int sleep_on_lock(struct trial *t)
{
    int64_t end = kn_now() + PATIENCE;
    struct timespec deadline = kn_timespec(end);
    while (kn_now() < end) {
        long answer = kn_futex_wait(&t->lock, FUTEX_WAITERS, &deadline);
        if (answer == 0)
            return 0;
        if (answer == -EAGAIN && atomic_load(&t->lock) == 0)
            return -EAGAIN;
    }
    return -ETIMEDOUT;
}

static int wake_once(struct trial *t)
{
    atomic_store(&t->stage, 0);
    atomic_store(&t->lock, FUTEX_WAITERS);
    pid_t pid = start_subject(t, die_before_wake);
    if (pid < 0)
        return pid;
    int answer = sleep_on_lock(t);
    end_subject(pid);
    return answer;
}

static int try_wake(struct trial *t)
{
    int answer = -EAGAIN;
    for (int i = 0; i < 5 && answer == -EAGAIN; i++)
        answer = wake_once(t);
    return judge_mark(t, answer, "the kernel wakes a waiter in place of one killed before its wake",
                      "nobody wakes for one killed before its wake: waiters look again after a "
                      "second");
}

static void *live_and_end(void *argument)
{
    static __thread struct robust_list_head own;
    struct trial *t = argument;
    struct kn_robust robust;
    t->error = kn_robust_find(&robust, KN_ROBUST_NATIVE, NULL, &own);
    if (t->error == 0)
        link_life(t, &robust);
    return NULL;
}

static int try_thread_end(struct trial *t)
{
    pthread_t thread;
    int answer = -pthread_create(&thread, NULL, live_and_end, t);
    if (answer == 0)
        answer = -pthread_join(thread, NULL);
    if (answer == 0)
        answer = t->error;
    if (answer == 0 && !wait_for(t->word, FUTEX_OWNER_DIED))
        answer = -ETIMEDOUT;
    return judge_mark(t, answer, "the end of a thread marks its life word",
                      "the end of a thread does not mark its life word: it is seen after a second, "
                      "in /proc");
}

/* ---- Processes ---- */

static int try_tid_address(struct trial *t)
{
    const uint32_t *address = NULL;
    long answer = KN_SYSTEM_2(KN_PRCTL, PR_GET_TID_ADDRESS, &address);
    if (answer < 0)
        return say(t, 0,
                   "not told (error %d; CONFIG_CHECKPOINT_RESTORE): forkserver falls back to "
                   "spawn",
                   (int)-answer);
    if (!address || *address != kn_gettid())
        return say(t, 0,
                   "this C library does not keep the thread's id there: forkserver falls "
                   "back to spawn");
    return say(t, 1, "found, and the id is there: a forkserver can correct it in its children");
}

/* Ties this process to the write end, and is busy: only a signal ends it. */
static void be_busy_on_lifeline(struct trial *t)
{
    int fd = t->pipe[0];
    close(t->pipe[1]);
    long answer = KN_SYSTEM_3(KN_FCNTL, fd, F_SETOWN, kn_getpid());
    if (answer >= 0)
        answer = KN_SYSTEM_3(KN_FCNTL, fd, F_SETSIG, SIGKILL);
    if (answer >= 0)
        answer = KN_SYSTEM_3(KN_FCNTL, fd, F_SETFL, O_RDONLY | O_ASYNC);
    if (answer < 0)
        fail(t, answer);
    report(t, STAGE_READY);
    for (;;)
        kn_relax();
}

static int try_lifeline(struct trial *t)
{
    pid_t pid = pipe2(t->pipe, O_CLOEXEC) < 0 ? -errno : start_subject(t, be_busy_on_lifeline);
    if (pid < 0)
        return say(t, 0,
                   "cannot be armed (error %d): children die with the thread that started "
                   "them (PR_SET_PDEATHSIG)",
                   -pid);
    close(t->pipe[0]);
    close(t->pipe[1]);
    if (!was_killed(collect(pid)))
        return say(t, 0,
                   "a closed lifeline (O_ASYNC) kills nobody: children die with the thread "
                   "that started them (PR_SET_PDEATHSIG)");
    return say(t, 1, "closing a lifeline (O_ASYNC) kills a busy child");
}

static void look_at_page(struct trial *t)
{
    if (*t->page != 0)
        fail(t, -ENOTSUP);
    report(t, STAGE_READY);
}

static int try_wipe(struct trial *t)
{
    long page =
        KN_SYSTEM_6(KN_MMAP, 0, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (is_error(page))
        return say(t, (int)page, "no memory to try it with");
    long answer = KN_SYSTEM_3(KN_MADVISE, page, STEP, MADV_WIPEONFORK);
    t->page = (volatile uint32_t *)page;
    *t->page = 1;
    pid_t pid = answer < 0 ? (pid_t)answer : start_subject(t, look_at_page);
    if (pid < 0)
        return say(t, 0,
                   "no page is wiped in the child of a fork (error %d): pthread_atfork "
                   "serves, which a bare fork system call bypasses",
                   -pid);
    collect(pid);
    return say(t, 1, "a page is wiped in the child of a fork");
}

static int try_pidfd(struct trial *t)
{
    pid_t pid = start_subject(t, wait_for_death);
    if (pid < 0)
        return say(t, pid, "no child process to try it with");
    long fd = KN_SYSTEM_2(KN_PIDFD_OPEN, pid, 0);
    if (fd < 0) {
        end_subject(pid);
        return say(t, 0, "no pidfd (error %d): processes are watched in /proc, and by waitpid",
                   (int)-fd);
    }
    siginfo_t info = { 0 };
    struct pollfd poller = { .fd = (int)fd, .events = POLLIN };
    kill(pid, SIGKILL);
    int ended = poll(&poller, 1, PATIENCE / KIN_MS(1));
    if (ended == 1 && syscall(SYS_waitid, WAITID_PIDFD, fd, &info, WEXITED, NULL) == 0 &&
        info.si_pid == pid && info.si_status == SIGKILL)
        return say(t, 1, "a pidfd shows the end of a process, and waitid collects by it");
    end_subject(pid);
    return say(t, 0, "a pidfd does not %s: processes are watched in /proc, and by waitpid",
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
    collect(pid);
    int64_t gone = kn_process_start((uint32_t)pid, NULL);
    if (recorded <= 0)
        return "of a live process";
    if (ended && zombie != KN_START_ZOMBIE)
        return "of a zombie";
    return gone == KN_START_UNKNOWN || gone == recorded ? "of a process that is gone" : NULL;
}

static int try_start_time(struct trial *t)
{
    char text[16];
    long answer = kn_read_file("/proc/self/stat", text, sizeof text);
    if (answer <= 0)
        return say(t, answer < 0 ? (int)answer : -ENODATA,
                   "/proc shows nobody: deaths that the kernel does not mark stay unseen");
    pid_t pid = start_subject(t, wait_for_death);
    if (pid < 0)
        return say(t, pid, "no child process to try it with");
    const char *wrong = wrong_start(pid);
    if (wrong)
        return say(t, -ENOTSUP,
                   "/proc gives no true picture %s: deaths that the kernel does not "
                   "mark stay unseen",
                   wrong);
    return say(t, 1, "/proc tells the live, zombies and the gone apart");
}

static int try_namespace(struct trial *t)
{
    if (kn_namespace("pid") != 0)
        return say(t, 1, "/proc names it");
    return say(t, -ENOENT, "/proc does not name it: kin cannot refuse who joins from another one");
}

/* ---- Newer calls ---- */

/* struct futex_waitv, which older kernel headers do not have. */
struct waiter {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static void wake_second_bell(struct trial *t)
{
    report(t, STAGE_READY);
    while (kn_futex_wake(&t->bell[1], 1) != 1)
        sched_yield();
}

static int try_waitv(struct trial *t)
{
    pid_t pid = start_subject(t, wake_second_bell);
    if (pid < 0)
        return say(t, pid, "no child process to try it with");
    const struct waiter waiters[] = {
        { 0, (uint64_t)(uintptr_t)&t->bell[0], FUTEX_U32, 0 },
        { 0, (uint64_t)(uintptr_t)&t->bell[1], FUTEX_U32, 0 },
    };
    struct timespec deadline = kn_timespec(kn_now() + PATIENCE);
    long answer = KN_SYSTEM_6(KN_FUTEX_WAITV, waiters, 2, 0, &deadline, CLOCK_MONOTONIC, 0);
    end_subject(pid);
    if (answer != 1)
        return say(t, 0,
                   "nobody sleeps on several words at once (error %d; Linux 5.16): who waits "
                   "for one of several looks every 1 to 100 ms",
                   (int)-answer);
    return say(t, 1, "a thread sleeps on several words, and is told which one woke it");
}

static int try_membarrier(struct trial *t)
{
    static const int commands[] = {
        MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
        MEMBARRIER_CMD_GLOBAL_EXPEDITED,
    };
    long answer = KN_SYSTEM_3(KN_MEMBARRIER, MEMBARRIER_CMD_QUERY, 0, 0);
    if (answer >= 0 && (answer & commands[0]) == 0)
        answer = -ENOSYS;
    for (size_t i = 0; i < KN_ARRAY_LENGTH(commands) && answer >= 0; i++)
        answer = KN_SYSTEM_3(KN_MEMBARRIER, commands[i], 0, 0);
    if (answer < 0)
        return say(t, 0, "no expedited global barrier (error %d): kin uses full fences",
                   (int)-answer);
    return say(t, 1, "a process can register, and others can make it pass a barrier");
}

/* ---- The table ---- */

static const struct {
    const char *name;
    int (*run)(struct trial *t);
} trials[] = {
    { "memfd", try_memfd },
    { "memfd seals", try_seals },
    { "memfd growth", try_growth },
    { "robust list", try_list },
    { "robust layout", try_layout },
    { "robust mutex", try_mutex },
    { "life word", try_life },
    { "life word among mutexes", try_life_among_mutexes },
    { "pending word", try_pending },
    { "pending wake", try_wake },
    { "thread end", try_thread_end },
    { "thread id address", try_tid_address },
    { "lifeline", try_lifeline },
    { "wipe on fork", try_wipe },
    { "futex_waitv", try_waitv },
    { "membarrier", try_membarrier },
    { "pidfd", try_pidfd },
    { "start time", try_start_time },
    { "pid namespace", try_namespace },
};

/* What the tester inherits and must not keep: handlers, a pending cancellation, the robust list. */
static void become_tester(const struct trial *t)
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
    forget_list(t);
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

static void say_what_ended(struct trial *t, int status)
{
    int number = status >= 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGALRM)
        say(t, -ETIMEDOUT, "the child that tried it did not finish in %u s", TESTER_SECONDS);
    else
        say(t, -ECHILD, "the child that tried it ended by signal %d%s", number,
            number == SIGSYS ? ": a seccomp profile forbids it" : " before it could say more");
}

static void run_trial(struct trial *t, int (*run)(struct trial *t))
{
    pid_t pid = fork_quietly();
    if (pid < 0) {
        say(t, pid, "no child process to try it in (fork, error %d)", -pid);
        return;
    }
    if (pid == 0) {
        become_tester(t);
        run(t);
        _exit(0);
    }
    int status = collect(pid);
    if (t->row.text[0] == '\0')
        say_what_ended(t, status);
}

static kin_selftest_result run_row(size_t i, struct robust_list_head *known)
{
    struct trial none = { .row.name = trials[i].name };
    long memory = KN_SYSTEM_6(KN_MMAP, 0, sizeof(struct trial), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (is_error(memory)) {
        say(&none, (int)memory, "no memory to try it with (mmap, error %d)", (int)-memory);
        return none.row;
    }
    struct trial *t = (struct trial *)memory;
    t->row.name = trials[i].name;
    t->known = known;
    run_trial(t, trials[i].run);
    kin_selftest_result row = t->row;
    KN_SYSTEM_2(KN_MUNMAP, memory, sizeof(struct trial));
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
