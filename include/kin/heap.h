// SPDX-License-Identifier: MIT
/*
 * kin/heap.h - memory of the arena: plain blocks whose pointers are valid in every member.
 *
 * Any member and any thread may allocate, and free what another allocated. No lock is taken on the
 * common path. A block is aligned to 16 bytes and is not tied to the life of the process that
 * allocated it: data is shared on purpose, so it stays until somebody frees it.
 *
 * Sudden death, for all calls here: a member killed at any instruction costs the others nothing.
 * The block that it was just allocating or moving, and its caches, go back to the heap when the
 * next member needs memory, starts, or asks kin_heap_stats.
 */
#ifndef KIN_HEAP_H
#define KIN_HEAP_H

#include <kin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * kin_alloc - size bytes of arena memory, not initialised. Size 0 gives a block of its own.
 *
 * The caller owns the block and gives it back with kin_free, here or in any other member.
 * Returns NULL on failure with errno
 *   ENOMEM   the family's memory is used up; kin_family_error() has the figures
 *   EINVAL   kin_init was not called, or it failed
 *   EBUSY    called in a signal handler that interrupted a kin call
 *   EBADMSG  the heap is damaged: some process wrote where it must not
 * and, when this is the thread's first kin call, ENOSPC (the family has as many threads or
 * processes as it can hold), EAGAIN or ENOTSUP.
 */
KIN_API void *kin_alloc(size_t size) KIN_MUST_USE;

/*
 * kin_calloc - count elements of size bytes each, all zero. Otherwise as kin_alloc; a product that
 * overflows is ENOMEM.
 */
KIN_API void *kin_calloc(size_t count, size_t size) KIN_MUST_USE;

/*
 * kin_realloc - a block of size bytes that begins with the bytes of block.
 *
 * block NULL is kin_alloc. The block may move; the old pointer is then no longer valid, in no
 * member, so nobody else may hold it. On failure (NULL, errno as in kin_alloc, or EINVAL and
 * EALREADY as in kin_free) the old block is as it was.
 *
 * Sudden death: before the old block is freed, it is untouched; after that it is free, and the new
 * one, which nobody has seen, is freed as well.
 */
KIN_API void *kin_realloc(void *block, size_t size);

/*
 * kin_free - give a block back. NULL is no error.
 *
 * Returns 0, or
 *   -EINVAL    the pointer is not the begin of a block of this arena
 *   -EALREADY  the block is free already (a double free), or the pointer is into free memory
 *   -EBUSY     and the errors of a thread's first call, as in kin_alloc
 * On an error nothing was changed, and kin_family_error() has the words.
 */
KIN_API int kin_free(void *block);

/*
 * kin_strdup - a copy of a string in the arena; the caller owns it. Failure as in kin_alloc.
 */
KIN_API char *kin_strdup(const char *text) KIN_MUST_USE;

/*
 * kin_usable_size - bytes that fit into the block: at least what was asked for.
 *
 * Returns the size, or -EINVAL, -EALREADY, -EBUSY as kin_free.
 */
KIN_API int64_t kin_usable_size(const void *block);

/*
 * kin_heap_statistics - figures of the whole family's heap, in bytes where nothing else is said.
 */
typedef struct kin_heap_statistics {
    int64_t reserved;    /* address space of the arena */
    int64_t length;      /* how far the arena's file reaches */
    int64_t committed;   /* memory that the kernel holds for it, pages given back not counted */
    int64_t used;        /* in blocks that are allocated, rounded up to their class */
    int64_t blocks;      /* number of blocks allocated */
    int64_t slabs;       /* number of slabs of small blocks */
    int64_t free_small;  /* in free blocks of slabs */
    int64_t free_large;  /* in free runs */
    int64_t tables;      /* the library's own tables */
    int64_t largest_run; /* the largest block that fits without growing */
    int64_t sweeps;      /* dead threads whose remains were swept so far */
    int64_t repairs;     /* times a lock of the heap was taken over from a dead holder */
    int64_t reserved_words[4];
} kin_heap_statistics;

/*
 * kin_heap_stats - fill *statistics. It walks the whole heap: for people, not for a loop.
 *
 * The counts of blocks that other threads allocate and free meanwhile are approximate.
 * Returns 0, or -EINVAL (no family, or NULL), -EBUSY, -EBADMSG as in kin_alloc.
 */
KIN_API int kin_heap_stats(kin_heap_statistics *statistics);

/*
 * kin_heap_check - walk the whole heap and test what must always hold (doc/invariants.md).
 *
 * Returns 0, or -EBADMSG with the first violation in words, -EINVAL, -EBUSY as in kin_alloc. It
 * may be called at any time, also while others work.
 */
KIN_API int kin_heap_check(void);

/*
 * kin_heap_trim - give free memory back to the system now.
 *
 * By itself the heap gives a free run of 1 MiB or more back when it was free for a second and
 * somebody frees a large block or needs more memory. Returns the bytes given back (int64_t), or
 * -EINVAL, -EBUSY, -EBADMSG.
 */
KIN_API int64_t kin_heap_trim(void);

#ifdef __cplusplus
}
#endif
#endif
