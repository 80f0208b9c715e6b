// SPDX-License-Identifier: MIT
/*
 * thread.h - what only this process, and only this thread, knows of the family: the private
 * halves of the member and the participant.
 */
#ifndef KN_SHM_THREAD_H
#define KN_SHM_THREAD_H

#include <shm/participant.h>

/*
 * One for each process. Written by kin_init, or by the first kin call in a forked child, under
 * its own process-local lock; constant afterwards.
 */
struct kn_process {
    struct kn_header *header;      /* the arena; NULL: no family */
    volatile uint32_t *generation; /* counts forks; the kernel wipes it in the child of one */
    int fd;                        /* the arena's memfd */
    enum kn_robust_mode mode;
    int32_t futex_offset;
    uint32_t pid;
    _Atomic int32_t member; /* index in the member table, -1: none yet */
};

extern struct kn_process kn_process;

/* The generation of a thread that is not registered; no process has it. */
#define KN_NO_GENERATION UINT32_MAX

/* The generation of a process that has no family, or not yet the whole of one. */
#define KN_NO_FAMILY (UINT32_MAX - 1)

/*
 * One for each thread.
 *
 * generation is that of the process when the thread was registered. In the child of a fork the
 * process's own is wiped, so what a thread carries over from its parent never counts.
 * inside is the process's generation from the first to the last step of a public call, else 0. A
 * signal handler that finds it so must keep out: the call that it interrupted is half-way through
 * what belongs to this thread, and list_op_pending can name one word only.
 */
struct kn_thread {
    struct kn_participant *self;
    struct robust_list_head *robust; /* never NULL once registered */
    kn_id id;
    uint32_t tid;
    uint32_t generation;
    uint32_t inside;
};

extern KN_THREAD_LOCAL struct kn_thread kn_thread;

/* Is this thread registered, in this process, and outside the C library's robust mutexes? */
KN_INLINE int kn_thread_registered(const struct kn_thread *t)
{
    return kn_likely(t->generation == *kn_process.generation) &&
           kn_likely(t->robust->list_op_pending == NULL);
}

#endif
