// SPDX-License-Identifier: MIT
/*
 * trial.h - one row of the self-test: what its three processes share, and what all rows use.
 */
#ifndef KN_PROCESS_TRIAL_H
#define KN_PROCESS_TRIAL_H

#include <kin/selftest.h>
#include <shm/robust.h>
#include <sys/types.h>
#include <sys/wait.h>

#define KN_TRIAL_STEP     65536     /* a multiple of the page size of any machine */
#define KN_TRIAL_PATIENCE KIN_S(10) /* for what comes in microseconds, or never */

enum kn_stage {
    KN_STAGE_READY = 1,
    KN_STAGE_FAILED = 2,
};

/*
 * What caller, tester and subject of one row share. known is written before the tester is forked,
 * mutex, page and pipe before the subject is; word and error by the subject before stage (release),
 * and read after it (acquire); row by the tester, and read by the caller when the tester is gone.
 */
struct kn_trial {
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

typedef void kn_trial_part(struct kn_trial *t);

/* The row's answer; returns state. */
int kn_trial_say(struct kn_trial *t, int state, const char *format, ...) KIN_PRINTF(3, 4);

/* Sleeps until the word has one of these bits; 0: it did not get one. A wake may be lost. */
int kn_trial_wait(const _Atomic uint32_t *word, uint32_t bits);

/* Waits for the end of a child: its wait status, or -ECHILD when somebody else collected it. */
int kn_trial_collect(pid_t pid);

/* Kills it first. */
int kn_trial_end(pid_t pid);

KN_INLINE int kn_trial_was_killed(int status)
{
    return status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Is this what a bare system call answers when it fails? */
KN_INLINE int kn_trial_is_error(long answer)
{
    return answer < 0 && answer > -4096;
}

/* ---- For subjects ---- */

void kn_trial_report(struct kn_trial *t, enum kn_stage stage);

/* Reports the error and ends. */
void kn_trial_fail(struct kn_trial *t, long error);

/* Reports that it is ready, and waits to be killed. */
void kn_trial_wait_for_death(struct kn_trial *t);

/*
 * The child's list begins empty. glibc sees to that; with musl the head still leads to the parent's
 * locks until the first robust lock registers it, and linking would write into them.
 */
void kn_trial_forget_list(const struct kn_trial *t);

void kn_trial_find_list(struct kn_trial *t, struct kn_robust *robust);

/* Starts a subject and waits until it is ready. Its pid, or -errno, and then there is none. */
pid_t kn_trial_start(struct kn_trial *t, kn_trial_part *run);

/* ---- The rows: each returns the state that it said ---- */

int kn_try_memfd(struct kn_trial *t);
int kn_try_seals(struct kn_trial *t);
int kn_try_growth(struct kn_trial *t);
int kn_try_list(struct kn_trial *t);
int kn_try_layout(struct kn_trial *t);
int kn_try_mutex(struct kn_trial *t);
int kn_try_life(struct kn_trial *t);
int kn_try_life_among_mutexes(struct kn_trial *t);
int kn_try_pending(struct kn_trial *t);
int kn_try_wake(struct kn_trial *t);
int kn_try_thread_end(struct kn_trial *t);
int kn_try_tid_address(struct kn_trial *t);
int kn_try_lifeline(struct kn_trial *t);
int kn_try_wipe(struct kn_trial *t);
int kn_try_waitv(struct kn_trial *t);
int kn_try_membarrier(struct kn_trial *t);
int kn_try_pidfd(struct kn_trial *t);
int kn_try_start_time(struct kn_trial *t);
int kn_try_namespace(struct kn_trial *t);

#endif
