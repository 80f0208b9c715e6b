// SPDX-License-Identifier: MIT
/*
 * arena.h - the shared memory itself: a memfd at the same address in every member.
 */
#ifndef KN_SHM_ARENA_H
#define KN_SHM_ARENA_H

#include <shm/thread.h>

/*
 * Makes an arena in this process, which becomes its root: chooses a base, maps the range, commits
 * the first memory and writes the header. wanted is its size in bytes (0: the default); mode and
 * futex_offset are what the root's thread found. Fills kn_process.
 * Returns 0, or -EINVAL, -ENOMEM, -EMFILE, -ENFILE, -ENOSYS, -EPERM with words; then nothing is
 * left behind.
 */
int kn_arena_create(int64_t wanted, const struct kn_robust *robust);

/*
 * Maps the arena behind fd into this process, at the address that its header names, and fills
 * kn_process. The descriptor becomes kin's, and is closed on failure. Returns 0, or with words: -EBADMSG (not an arena, or
 * broken), -EADDRINUSE (something else is at its address here), -ENOTSUP (another build of kin, or
 * another pid namespace), -ENOMEM.
 */
int kn_arena_attach(int fd);

/* Unmaps it and closes the descriptor; for a creation or an attachment that failed half-way. */
void kn_arena_undo(void);

/* Closes the descriptor and forgets the family; the memory stays mapped. */
void kn_arena_forget(void);

/*
 * Makes the file at least so long, in steps of 2 MiB, each after a check of the budget. Calls no
 * other lock. Returns 0, or -ENOMEM with the figures.
 */
int kn_arena_grow(struct kn_thread *t, uint64_t length);

/* Commits pages of a range inside the file that were given back. 0 or -ENOMEM. */
int kn_arena_recommit(struct kn_thread *t, uint64_t offset, uint64_t length);

/* Gives the pages of a range back; the file stays as long as it is. 0 or -errno. */
int kn_arena_punch(uint64_t offset, uint64_t length);

/* What identifies this build's layout of shared structs. */
uint64_t kn_layout_hash(void);

/* Is this process in the family's namespaces? Thread ids and start times mean the same only there. */
int kn_namespaces_agree(const struct kn_header *header);

/* Is this process in the family's pid and time namespaces? Thread ids and start times mean the same
 * only there. */
int kn_namespaces_agree(const struct kn_header *header);

KN_INLINE uint64_t kn_arena_offset(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer - (uint64_t)(uintptr_t)kn_process.header;
}

KN_INLINE int kn_arena_contains(const void *pointer)
{
    return kn_arena_offset(pointer) < kn_process.header->size;
}

#endif
