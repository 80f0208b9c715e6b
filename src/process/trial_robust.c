// SPDX-License-Identifier: MIT
/*
 * trial_robust.c - rows of the self-test: the robust list, and what the kernel marks when a thread ends.
 *
 * Each row is something that the life words and the internal lock rely on (robust.c, lock.c), tried
 * with a subject that is killed.
 *
 * Sudden death: that is what is tried here; see trial.h for who ends whom.
 */
#include <process/trial.h>

#include <base/clock.h>
#include <base/system.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* ---- The robust list ---- */

int kn_try_list(struct kn_trial *t)
{
    /* musl has no list before the first robust lock. */
    if (kn_robust_mutex(&t->mutex) == 0 && pthread_mutex_lock(&t->mutex) == 0)
        pthread_mutex_unlock(&t->mutex);
    struct robust_list_head *head = NULL;
    size_t length = 0;
    long answer = KN_SYSTEM_3(KN_GET_ROBUST_LIST, 0, &head, &length);
    if (answer < 0 || !head)
        return kn_trial_say(
            t, 0,
            "not to be found (get_robust_list, error %d): robust mutexes serve in its "
            "place, and cost more",
            (int)-answer);
    int offset = (int)head->futex_offset;
    if (offset != -32 && offset != -28)
        return kn_trial_say(
            t, 0, "of unknown layout (offset %d): robust mutexes serve in its place", offset);
    return kn_trial_say(t, 1, "found; words at %d, as with %s", offset,
                        offset == -32 ? "glibc" : "musl");
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

int kn_try_layout(struct kn_trial *t)
{
    static struct robust_list_head own;
    struct kn_robust robust;
    if (kn_robust_find(&robust, KN_ROBUST_NATIVE, NULL, &own) < 0)
        return kn_trial_say(t, 0, "no robust list to look at: robust mutexes serve in its place");
    int error = kn_robust_mutex(&t->mutex);
    if (error || pthread_mutex_lock(&t->mutex) != 0)
        return kn_trial_say(t, -ENOTSUP, "no robust mutex to look at (error %d)", -error);
    const char *wrong = wrong_place(&robust, &t->mutex);
    pthread_mutex_unlock(&t->mutex);
    if (!wrong && robust.head->list.next != &robust.head->list)
        wrong = "the end of the list";
    if (wrong)
        return kn_trial_say(t, -ENOTSUP,
                            "%s is not where kin expects it in a held robust mutex: set "
                            "KIN_ROBUST=mutex",
                            wrong);
    return kn_trial_say(t, 1,
                        "a held mutex is linked as kin links: node at 32, previous before it");
}

static void hold_mutex(struct kn_trial *t)
{
    kn_trial_forget_list(t);
    int error = pthread_mutex_lock(&t->mutex);
    if (error)
        kn_trial_fail(t, -error);
    kn_trial_wait_for_death(t);
}

int kn_try_mutex(struct kn_trial *t)
{
    int error = kn_robust_mutex(&t->mutex);
    pid_t pid = error ? error : kn_trial_start(t, hold_mutex);
    if (pid < 0)
        return kn_trial_say(
            t, pid,
            "no robust mutex was held (error %d): where the list is not to be found "
            "either, kin looks deaths up in /proc",
            -pid);
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += KN_TRIAL_PATIENCE / KIN_S(1);
    kn_trial_end(pid);
    error = pthread_mutex_timedlock(&t->mutex, &deadline);
    if (error != EOWNERDEAD)
        return kn_trial_say(t, -ENOTSUP,
                            "a killed holder's robust mutex is not handed on (error %d): "
                            "KIN_ROBUST=mutex would hang",
                            error);
    pthread_mutex_consistent(&t->mutex);
    pthread_mutex_unlock(&t->mutex);
    return kn_trial_say(t, 1, "a killed holder's robust mutex is handed on");
}

/* ---- Marks of the kernel ---- */

/* The calling thread links the life word, as kn_participant_claim does. */
static void link_life(struct kn_trial *t, const struct kn_robust *robust)
{
    t->word = kn_life_word(&t->life, robust->futex_offset);
    robust->head->list_op_pending = kn_robust_node(t->word, robust->futex_offset);
    kn_compiler_barrier();
    atomic_store(t->word, kn_gettid());
    kn_robust_link(robust->head, &t->life);
    kn_compiler_barrier();
    robust->head->list_op_pending = NULL;
}

static void live(struct kn_trial *t)
{
    struct kn_robust robust;
    kn_trial_forget_list(t);
    kn_trial_find_list(t, &robust);
    link_life(t, &robust);
    kn_trial_wait_for_death(t);
}

/* The life word becomes the neighbour of a held mutex, whose unlock then must not drop it. */
static void live_among_mutexes(struct kn_trial *t)
{
    struct kn_robust robust;
    kn_trial_forget_list(t);
    kn_trial_find_list(t, &robust);
    int error = pthread_mutex_lock(&t->mutex);
    if (error)
        kn_trial_fail(t, -error);
    link_life(t, &robust);
    pthread_mutex_unlock(&t->mutex);
    kn_trial_wait_for_death(t);
}

/* As inside an internal lock: in no list, only named. */
static void hold_pending(struct kn_trial *t)
{
    struct kn_robust robust;
    kn_trial_forget_list(t);
    kn_trial_find_list(t, &robust);
    t->word = &t->lock;
    robust.head->list_op_pending = kn_robust_node(t->word, robust.futex_offset);
    kn_compiler_barrier();
    atomic_store(t->word, kn_gettid());
    kn_trial_wait_for_death(t);
}

/* Kills a subject that made a word its own: 0 when the kernel marks it, or -errno. */
static int kill_and_wait(struct kn_trial *t, kn_trial_part *run)
{
    pid_t pid = kn_trial_start(t, run);
    if (pid < 0)
        return pid;
    atomic_fetch_or(t->word, FUTEX_WAITERS);
    kill(pid, SIGKILL);
    int marked = kn_trial_wait(t->word, FUTEX_OWNER_DIED);
    kn_trial_collect(pid);
    return marked ? 0 : -ETIMEDOUT;
}

static int judge_mark(struct kn_trial *t, int answer, const char *good, const char *bad)
{
    switch (answer) {
    case 0:
        return kn_trial_say(t, 1, "%s", good);
    case -ENOTSUP:
        return kn_trial_say(
            t, 0,
            "the kernel marks no dead threads; kin uses robust mutexes, or looks into "
            "/proc");
    case -ETIMEDOUT:
        return kn_trial_say(t, answer, "%s", bad);
    default:
        return kn_trial_say(t, answer, "no thread or process to try it with (error %d)", -answer);
    }
}

int kn_try_life(struct kn_trial *t)
{
    return judge_mark(
        t, kill_and_wait(t, live), "SIGKILL marks a life word",
        "SIGKILL does not mark a life word: deaths are seen after a second, in /proc");
}

int kn_try_life_among_mutexes(struct kn_trial *t)
{
    int error = kn_robust_mutex(&t->mutex);
    return judge_mark(t, error ? error : kill_and_wait(t, live_among_mutexes),
                      "a life word stays when a robust mutex linked before it is unlocked",
                      "unlocking a robust mutex drops the life word: deaths are seen after a "
                      "second, in /proc");
}

int kn_try_pending(struct kn_trial *t)
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
static void die_before_wake(struct kn_trial *t)
{
    struct kn_robust robust;
    kn_trial_forget_list(t);
    kn_trial_find_list(t, &robust);
    kn_trial_report(t, KN_STAGE_READY);
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
static int sleep_on_lock(struct kn_trial *t)
{
    int64_t end = kn_now() + KN_TRIAL_PATIENCE;
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

static int wake_once(struct kn_trial *t)
{
    atomic_store(&t->stage, 0);
    atomic_store(&t->lock, FUTEX_WAITERS);
    pid_t pid = kn_trial_start(t, die_before_wake);
    if (pid < 0)
        return pid;
    int answer = sleep_on_lock(t);
    kn_trial_end(pid);
    return answer;
}

int kn_try_wake(struct kn_trial *t)
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
    struct kn_trial *t = argument;
    struct kn_robust robust;
    t->error = kn_robust_find(&robust, KN_ROBUST_NATIVE, NULL, &own);
    if (t->error == 0)
        link_life(t, &robust);
    return NULL;
}

int kn_try_thread_end(struct kn_trial *t)
{
    pthread_t thread;
    int answer = -pthread_create(&thread, NULL, live_and_end, t);
    if (answer == 0)
        answer = -pthread_join(thread, NULL);
    if (answer == 0)
        answer = t->error;
    if (answer == 0 && !kn_trial_wait(t->word, FUTEX_OWNER_DIED))
        answer = -ETIMEDOUT;
    return judge_mark(t, answer, "the end of a thread marks its life word",
                      "the end of a thread does not mark its life word: it is seen after a second, "
                      "in /proc");
}
