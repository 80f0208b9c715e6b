// SPDX-License-Identifier: MIT
/*
 * participant.h - the threads of a family: who is one, and who is alive.
 *
 * The participant is the thread. It is named by an id of slot and generation, which never comes
 * back, and what it holds inside the library bears that id.
 */
#ifndef KN_SHM_PARTICIPANT_H
#define KN_SHM_PARTICIPANT_H

#include <shm/layout.h>
#include <shm/robust.h>

/* A participant's name: slot in the low 16 bits, generation (never 0) above. 0 is nobody. */
typedef uint64_t kn_id;

#define KN_SLOTS (KN_PARTICIPANT_CHUNKS * KN_PARTICIPANTS_IN_CHUNK)

/* Slot 0 is the vestibule: who finds no free slot takes it to make the table longer. */
#define KN_VESTIBULE 0u

_Static_assert(KN_SLOTS <= 65535, "a slot has 16 bits in ids, words and record headers");

KN_INLINE kn_id kn_id_make(uint32_t slot, uint32_t generation)
{
    return (kn_id)generation << 16 | slot;
}

KN_INLINE uint32_t kn_id_slot(kn_id id)
{
    return (uint32_t)(id & 0xffff);
}

KN_INLINE uint32_t kn_id_generation(kn_id id)
{
    return (uint32_t)(id >> 16);
}

/*
 * The slabs that a thread allocates from, by class: one in use, and a list of others with room.
 * Private to the thread; nobody reads it after the thread's death (the slabs' owner words say what
 * was its own).
 */
struct kn_slab_cache {
    struct kn_slab *current;
    struct kn_slab *partial, *oldest;
    uint64_t partials;
};

/*
 * A slot of the table of threads.
 *
 * life: see robust.h. A slot is free while its word is 0; it is claimed by storing the thread's
 * TID there, with list_op_pending naming it, so that a claim is never without its claimant.
 * generation: writer is who frees the slot (before the word becomes 0); never 0.
 * tid, member, start_time: writer is the thread, before it does anything else. Read by those who
 * are stuck, as a hint: the word decides.
 * intent: writer is the thread; read by who sweeps it. The block that the thread is just handing
 * out or moving: between its commit and its return to the caller it belongs to nobody else.
 * condemned: found dead and its intent settled; under heap.lock.
 * taken: KN_ROBUST_MUTEX only: enum kn_taken, as the mutex alone cannot say. Writers: who holds the
 * mutex; who frees the slot of a dead one (under heap.lock).
 */
struct kn_participant {
    _Alignas(KN_PARTICIPANT_BYTES) union kn_life life;
    _Alignas(KN_LINE) _Atomic uint32_t generation;
    _Atomic uint32_t taken;
    uint32_t slot;
    _Atomic uint32_t tid;
    _Atomic uint32_t member;
    _Atomic int64_t start_time;
    uint32_t condemned;
    _Alignas(KN_LINE) _Atomic uint64_t intent;
    struct kn_slab_cache cache[KN_CLASSES];
};

_Static_assert(sizeof(struct kn_participant) <= KN_PARTICIPANT_BYTES, "slots are of one size");

enum kn_taken {
    KN_TAKEN_NO,
    KN_TAKEN_YES,
    KN_TAKEN_DEAD, /* somebody saw EOWNERDEAD; the mutex is free again, the slot is not */
};

enum kn_life_state {
    KN_LIFE_FREE,
    KN_LIFE_ALIVE,
    KN_LIFE_DEAD,
};

/* The slot's participant, NULL where the table does not reach. */
struct kn_participant *kn_participant_at(const struct kn_header *header, uint32_t slot);

/* What the life word says, one load (KN_ROBUST_MUTEX: one try). */
enum kn_life_state kn_participant_state(const struct kn_header *header,
                                        struct kn_participant *participant);

/* Is the thread of this id alive? One that ended, in whatever way, is not, also when its slot is
 * used again. */
int kn_id_alive(const struct kn_header *header, kn_id id);

/*
 * The second source of truth: looks a thread that still counts as alive up in /proc, and marks its
 * word as the kernel would if it is gone. Returns 1 when it is dead now.
 */
int kn_participant_verify(struct kn_header *header, struct kn_participant *participant);

/* The same for whoever is behind this TID in a lock word; 1: nobody alive has it. */
int kn_tid_gone(struct kn_header *header, uint32_t tid);

/*
 * Claims a free slot for the calling thread; the life word is linked into its robust list.
 * Returns it, or NULL when the table is full. Sets *dead when it passed slots of dead threads.
 */
struct kn_participant *kn_participant_claim(struct kn_header *header,
                                            const struct kn_robust *robust, uint32_t tid,
                                            int *dead);

/*
 * Claims the vestibule, waiting for it if need be; it may come with an intent of a dead one.
 * Returns NULL when a live thread keeps it beyond any reason (ten seconds).
 */
struct kn_participant *kn_participant_claim_vestibule(struct kn_header *header,
                                                      const struct kn_robust *robust, uint32_t tid);

/* Frees the calling thread's own slot: unlinks the word, then the slot is anyone's. */
void kn_participant_leave(struct kn_header *header, const struct kn_robust *robust,
                          struct kn_participant *participant);

/* Frees the slot of a dead thread whose remains are swept; the caller holds heap.lock. */
void kn_participant_bury(struct kn_header *header, struct kn_participant *participant);

/* The same for the vestibule, which somebody may take over from the dead at this very moment. */
void kn_participant_reopen(struct kn_header *header, struct kn_participant *vestibule);

/* Makes a chunk of zeroed slots usable; before it is stored in the table. */
void kn_participants_prepare(struct kn_header *header, struct kn_participant *chunk,
                             uint32_t first_slot);

#endif
