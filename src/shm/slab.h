// SPDX-License-Identifier: MIT
/*
 * slab.h - allocating and freeing small blocks, from the slabs of the calling thread.
 */
#ifndef KN_SHM_SLAB_H
#define KN_SHM_SLAB_H

#include <shm/supply.h>

/*
 * A free block of the class, which becomes the thread's intent; the caller clears the intent when
 * it hands the block out. NULL: *error as kn_supply.
 */
void *kn_slab_take(struct kn_thread *t, uint32_t class, int *error);

/* Frees a block of this slab. 0, -EINVAL (not the begin of a block) or -EALREADY (free). */
int kn_slab_give(struct kn_thread *t, struct kn_slab *slab, const void *block);

/* 0 if the block is allocated, else as kn_slab_give. */
int kn_slab_verify(struct kn_slab *slab, const void *block);

/* Frees this thread's slabs that are empty; under heap.lock. */
void kn_slabs_trim(struct kn_thread *t);

/* The thread ends; under heap.lock: its slabs are anyone's. */
void kn_slabs_leave(struct kn_thread *t);

#endif
