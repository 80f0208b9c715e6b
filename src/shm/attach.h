// SPDX-License-Identifier: MIT
/*
 * attach.h - a thread becomes a participant on its first kin call, and ends being one.
 */
#ifndef KN_SHM_ATTACH_H
#define KN_SHM_ATTACH_H

#include <shm/thread.h>

struct kn_thread *kn_thread_begin(int *error);

/* kn_thread_enter where nothing else is to be done; NULL: there is. */
KN_INLINE struct kn_thread *kn_thread_enter_ready(void)
{
    struct kn_thread *t = &kn_thread;
    if (kn_unlikely(t->inside))
        return NULL;
    /* First the mark, then the look: a handler in between may even have ended the family. */
    t->inside = t->generation;
    kn_compiler_barrier();
    if (kn_likely(kn_thread_registered(t)))
        return t;
    t->inside = 0;
    return NULL;
}

/*
 * The first line of every public call: this thread as a participant, registered if it is not yet,
 * and inside from now until kn_thread_done. NULL: *error is -EINVAL (no family), -EBUSY (a signal
 * handler that interrupted a call), -ENOMEM, -ENOSPC, -EAGAIN or -ENOTSUP, with words.
 */
KN_INLINE struct kn_thread *kn_thread_enter(int *error)
{
    struct kn_thread *t = kn_thread_enter_ready();
    return kn_likely(t) ? t : kn_thread_begin(error);
}

/* The last line of every public call. */
KN_INLINE void kn_thread_done(struct kn_thread *t)
{
    kn_compiler_barrier();
    t->inside = 0;
}

/* Ends the calling thread's participation, if it has one; nothing when it is inside a call. */
void kn_thread_leave(void);

/*
 * Makes what this process needs once before its first thread can begin: the page that tells of a
 * fork, the key that tells of a thread's end. 0 or -errno with words.
 */
int kn_process_begin(void);

/* Other threads of this process are no participants any more; see kin_fini. */
void kn_process_end(void);

#endif
