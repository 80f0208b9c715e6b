// SPDX-License-Identifier: MIT
/*
 * supply.h - units for those who need them, growing the arena when it must be.
 */
#ifndef KN_SHM_SUPPLY_H
#define KN_SHM_SUPPLY_H

#include <shm/sweep.h>

/*
 * n units in a row as a LARGE run of this thread. Its intent is set to the run's address and stays
 * so: the caller clears it when the run is accounted for. Finds memory that is only held before it
 * grows the file. NULL: *error is -ENOMEM or -EBADMSG, with words.
 */
void *kn_supply(struct kn_thread *t, uint64_t n, int *error);

/* Makes the table of participants, or of members, one chunk longer. 0, -ENOMEM, -ENOSPC. */
int kn_table_extend(struct kn_thread *t, enum kn_table table);

/* Gives free runs of 64 KiB and more back to the system, at once. Returns the bytes given back. */
int64_t kn_trim(struct kn_thread *t);

/* The same for 1 MiB and more that is free for a second, if nobody looked for a tenth of one. */
void kn_trim_sometimes(struct kn_thread *t);

/* -EBADMSG with words if the heap is poisoned, else 0. */
int kn_heap_trusted(void);

#endif
