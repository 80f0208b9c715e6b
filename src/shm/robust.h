// SPDX-License-Identifier: MIT
/*
 * robust.h - the thread's robust list, and life words linked into it.
 */
#ifndef KN_SHM_ROBUST_H
#define KN_SHM_ROBUST_H

#include <base/attributes.h>
#include <linux/futex.h>
#include <pthread.h>
#include <shm/layout.h>

/*
 * A life word with its list node, laid out so that the kernel and both C libraries take it for a
 * robust mutex that the thread holds for life: the node's `next` at 32, its `previous` at 24, the
 * word at 0 (glibc) or 4 (musl).
 *
 * The word: writer is its thread (0 -> TID when it begins, TID -> 0 when it ends in order), the
 * kernel (TID -> OWNER_DIED), watchers (they OR in FUTEX_WAITERS) and who frees the slot of a dead
 * one (-> 0, release). Read by anyone (acquire): what the dead thread stored before is visible.
 * previous and next belong to the thread.
 */
union kn_life {
    pthread_mutex_t mutex; /* KN_ROBUST_MUTEX: a real one */
    struct {
        _Atomic uint32_t word[6];
        struct robust_list *previous;
        struct robust_list next;
    };
};

/* Where the thread's list head is and what its layout is; filled by kn_robust_find. */
struct kn_robust {
    struct robust_list_head *head; /* never NULL: where there is none, one that nobody walks */
    int32_t futex_offset;
    enum kn_robust_mode mode;
};

/*
 * Finds the calling thread's robust list. wanted is KN_ROBUST_DEFAULT for a root, which takes the
 * best that is there, or the family's mode. known is the head that this thread had before a fork,
 * or NULL; own is one that lives as long as the thread. They serve the child of a bare fork system
 * call, which has no list.
 * Returns 0, or -ENOTSUP with words when the wanted mode is not to be had.
 */
int kn_robust_find(struct kn_robust *robust, enum kn_robust_mode wanted,
                   struct robust_list_head *known, struct robust_list_head *own);

/* Makes a robust mutex that processes share. 0 or -errno. */
int kn_robust_mutex(pthread_mutex_t *mutex);

/* The address that the kernel computes a word from: what list_op_pending must hold for it. */
KN_INLINE struct robust_list *kn_robust_node(const void *word, int32_t futex_offset)
{
    return (struct robust_list *)((uintptr_t)word - (uintptr_t)(intptr_t)futex_offset);
}

/* The life word, wherever this C library's layout has it. */
KN_INLINE _Atomic uint32_t *kn_life_word(union kn_life *life, int32_t futex_offset)
{
    return (_Atomic uint32_t *)((uintptr_t)&life->next + (uintptr_t)(intptr_t)futex_offset);
}

/* Links a life word that is claimed already as the newest node; the caller set pending. */
void kn_robust_link(struct robust_list_head *head, union kn_life *life);

/* Takes it out again; the caller set pending. */
void kn_robust_unlink(struct robust_list_head *head, union kn_life *life);

#endif
