// SPDX-License-Identifier: MIT
/*
 * member.h - the processes of a family.
 */
#ifndef KN_SHM_MEMBER_H
#define KN_SHM_MEMBER_H

#include <shm/participant.h>

enum kn_member_state {
    KN_MEMBER_FREE,
    KN_MEMBER_JOINING,
    KN_MEMBER_ALIVE,
};

/*
 * A slot of the table of processes. A process is (slot, generation), never a pid.
 *
 * claim: 0, or the id of the thread that takes the slot for its process: the claim and its
 * attribution in one store. state goes to ALIVE when pid and start_time stand. Writer: the
 * claiming thread; who frees the slot of a dead process (under heap.lock) wipes claim last.
 */
struct kn_member {
    _Alignas(KN_LINE) _Atomic uint64_t claim;
    _Atomic uint32_t state;
    _Atomic uint32_t generation;
    _Atomic uint32_t pid;
    _Atomic uint32_t image; /* tells of an exec (procfs.h) */
    _Atomic int64_t start_time;
    char name[32];
    char more[64];
};

_Static_assert(sizeof(struct kn_member) == KN_MEMBER_BYTES, "slots are of one size");

/* The slot, NULL where the table does not reach. */
struct kn_member *kn_member_at(const struct kn_header *header, uint32_t index);

/* A free slot for this process, claimed in the name of the thread. Its index, or -1: full. */
int32_t kn_member_claim(struct kn_header *header, kn_id claimant);

/* This process ends its membership; under heap.lock. */
void kn_member_leave(struct kn_header *header, int32_t index);

/*
 * Is the process of this slot gone? Asked when none of its threads is in the table any more; a
 * process whose registered threads are dead may still run others.
 */
int kn_member_gone(struct kn_member *member);

/* Frees the slots of processes that are gone; under heap.lock. */
void kn_members_bury(struct kn_header *header);

#endif
