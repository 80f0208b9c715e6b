// SPDX-License-Identifier: MIT
/*
 * trial.c - what the rows of the self-test share: words, waits, and subjects.
 *
 * A subject is the process that dies or is looked at; its tester waits for it by a futex in memory
 * that only they two and the caller know. Limits are so generous that only what never comes exceeds
 * them, and each process bears an alarm of its own.
 *
 * Sudden death: a subject whose tester is gone ends by its alarm.
 */
#include <process/trial.h>

#include <base/clock.h>
#include <base/system.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SUBJECT_SECONDS 10u /* then its alarm ends it */

int kn_trial_say(struct kn_trial *t, int state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->row.text, sizeof t->row.text, format, arguments);
    va_end(arguments);
    t->row.state = state;
    return state;
}

int kn_trial_wait(const _Atomic uint32_t *word, uint32_t bits)
{
    int64_t end = kn_now() + KN_TRIAL_PATIENCE;
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

int kn_trial_collect(pid_t pid)
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

int kn_trial_end(pid_t pid)
{
    kill(pid, SIGKILL);
    return kn_trial_collect(pid);
}

/* ---- Subjects ---- */

void kn_trial_report(struct kn_trial *t, enum kn_stage stage)
{
    atomic_store_explicit(&t->stage, stage, memory_order_release);
    kn_futex_wake(&t->stage, INT32_MAX);
}

void kn_trial_fail(struct kn_trial *t, long error)
{
    t->error = (int)error;
    kn_trial_report(t, KN_STAGE_FAILED);
    _exit(1);
}

void kn_trial_wait_for_death(struct kn_trial *t)
{
    kn_trial_report(t, KN_STAGE_READY);
    for (;;)
        pause();
}

void kn_trial_forget_list(const struct kn_trial *t)
{
    if (!t->known)
        return;
    t->known->list.next = &t->known->list;
    t->known->list_op_pending = NULL;
}

void kn_trial_find_list(struct kn_trial *t, struct kn_robust *robust)
{
    static __thread struct robust_list_head own;
    int error = kn_robust_find(robust, KN_ROBUST_NATIVE, NULL, &own);
    if (error)
        kn_trial_fail(t, error);
}

pid_t kn_trial_start(struct kn_trial *t, kn_trial_part *run)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        alarm(SUBJECT_SECONDS);
        run(t);
        _exit(0);
    }
    int answered = kn_trial_wait(&t->stage, KN_STAGE_READY | KN_STAGE_FAILED);
    if (answered && atomic_load(&t->stage) == KN_STAGE_READY)
        return pid;
    kn_trial_end(pid);
    return answered ? t->error : -ETIMEDOUT;
}
