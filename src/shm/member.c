// SPDX-License-Identifier: MIT
/*
 * member.c - the table of processes.
 *
 * What the library holds for a moment belongs to a thread (participant.c). What was handed to user
 * code belongs to the process: its bytes may be used again only when the process is gone, because
 * a thread of it may still write after another one's life word was marked. An exec ends it as well:
 * the same pid and start time, but another program and another memory.
 *
 * Sudden death: a slot is claimed by storing the claiming thread's id, so one that was claimed and
 * never got its pid is free again when that thread is dead (M1). The sweep asks /proc before it
 * frees a slot of a process (M2).
 */
#include <shm/member.h>

#include <base/procfs.h>
#include <base/system.h>
#include <string.h>

struct kn_member *kn_member_at(const struct kn_header *header, uint32_t index)
{
    if (index >= KN_MEMBER_CHUNKS * KN_MEMBERS_IN_CHUNK)
        return NULL;
    struct kn_member *chunk =
        atomic_load_explicit(&header->members[index / KN_MEMBERS_IN_CHUNK], memory_order_acquire);
    return chunk ? &chunk[index % KN_MEMBERS_IN_CHUNK] : NULL;
}

int32_t kn_member_claim(struct kn_header *header, kn_id claimant)
{
    kn_assert("M1", claimant != 0);
    for (uint32_t index = 0;; index++) {
        struct kn_member *member = kn_member_at(header, index);
        if (!member)
            return -1;
        uint64_t nobody = 0;
        if (atomic_load_explicit(&member->claim, memory_order_relaxed) != 0 ||
            !atomic_compare_exchange_strong_explicit(&member->claim, &nobody, claimant,
                                                     memory_order_acq_rel, memory_order_relaxed))
            continue;
        uint32_t pid = kn_getpid();
        atomic_store(&member->state, KN_MEMBER_JOINING);
        atomic_store(&member->pid, pid);
        uint32_t image;
        atomic_store(&member->start_time, kn_process_start(pid, &image));
        atomic_store(&member->image, image);
        atomic_fetch_add(&member->generation, 1);
        atomic_store_explicit(&member->state, KN_MEMBER_ALIVE, memory_order_release);
        return (int32_t)index;
    }
}

/* State first, claim last: who dies in between leaves a slot that a sweep frees. */
static void release(struct kn_member *member)
{
    atomic_store_explicit(&member->state, KN_MEMBER_FREE, memory_order_release);
    atomic_store(&member->pid, 0);
    atomic_store(&member->start_time, 0);
    atomic_store(&member->image, 0);
    memset(member->name, 0, sizeof member->name);
    atomic_store_explicit(&member->claim, 0, memory_order_release);
}

void kn_member_leave(struct kn_header *header, int32_t index)
{
    struct kn_member *member = index < 0 ? NULL : kn_member_at(header, (uint32_t)index);
    kn_assert("M2", !member || atomic_load(&member->pid) == kn_getpid());
    if (member)
        release(member);
}

int kn_member_gone(struct kn_member *member)
{
    int64_t recorded = atomic_load(&member->start_time);
    uint32_t image, before = atomic_load(&member->image);
    int64_t now = kn_process_start(atomic_load(&member->pid), &image);
    if (now == KN_START_UNKNOWN)
        return 0;
    int executed = image && before && image != before;
    return now == KN_START_GONE || now == KN_START_ZOMBIE || executed ||
           (recorded > 0 && now != recorded);
}

void kn_members_bury(struct kn_header *header)
{
    for (uint32_t index = 0;; index++) {
        struct kn_member *member = kn_member_at(header, index);
        if (!member)
            return;
        uint64_t claim = atomic_load_explicit(&member->claim, memory_order_acquire);
        if (claim == 0 || kn_id_alive(header, claim))
            continue;
        uint32_t state = atomic_load_explicit(&member->state, memory_order_acquire);
        if (state != KN_MEMBER_ALIVE || kn_member_gone(member))
            release(member);
    }
}
