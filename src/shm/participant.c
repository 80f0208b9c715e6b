// SPDX-License-Identifier: MIT
/*
 * participant.c - the table of threads, and life and death in it.
 *
 * Each thread that uses kin holds a slot, and in it a life word: a robust futex that it never
 * lets go. While the thread lives, the word is its TID. When it ends, by return, exec, SIGKILL or
 * anything else, the kernel marks the word within about 100 us, before the memory of the process
 * is torn down. So "is he alive" is one load, cannot be fooled by a pid that came back, and needs
 * no helper and no polling.
 *
 * What the kernel did not mark (a list longer than it walks, a C library's handler that cleared
 * list_op_pending, a kernel without robust lists) is found by those who are stuck for about a
 * second: they ask /proc and mark the word themselves. Both ways lead through one compare-and-swap
 * of the same word, so a death happens once.
 *
 * Sudden death: a claim is the life word itself, named in list_op_pending, so a slot is never
 * half taken (P1). Leaving bumps the generation first; a thread that dies in between leaves a dead
 * slot that owns nothing, which a sweep frees (P2).
 */
#include <shm/participant.h>

#include <base/clock.h>
#include <base/procfs.h>
#include <base/system.h>
#include <errno.h>

struct kn_participant *kn_participant_at(const struct kn_header *header, uint32_t slot)
{
    if (slot >= KN_SLOTS)
        return NULL;
    struct kn_participant *chunk = atomic_load_explicit(
        &header->participants[slot / KN_PARTICIPANTS_IN_CHUNK], memory_order_acquire);
    return chunk ? &chunk[slot % KN_PARTICIPANTS_IN_CHUNK] : NULL;
}

static _Atomic uint32_t *word_of(const struct kn_header *header, struct kn_participant *p)
{
    return kn_life_word(&p->life, header->futex_offset);
}

static int word_is_dead(uint32_t word)
{
    return (word & FUTEX_OWNER_DIED) != 0;
}

/*
 * One try at the slot's mutex. Who finds that its owner died writes that down and makes the mutex
 * whole again: a mutex left "not recoverable" answers so only once, and EBUSY afterwards.
 */
static int try_mutex(struct kn_participant *p)
{
    int answer = pthread_mutex_trylock(&p->life.mutex);
    if (answer != EOWNERDEAD)
        return answer;
    pthread_mutex_consistent(&p->life.mutex);
    atomic_store(&p->taken, KN_TAKEN_DEAD);
    pthread_mutex_unlock(&p->life.mutex);
    return EOWNERDEAD;
}

/* Who died while it took a slot left its mutex locked: the next one to claim it finds out. */
static enum kn_life_state state_by_mutex(struct kn_participant *p)
{
    if (atomic_load(&p->taken) == KN_TAKEN_YES && try_mutex(p) == 0)
        pthread_mutex_unlock(&p->life.mutex); /* it was left this very moment */
    switch (atomic_load(&p->taken)) {
    case KN_TAKEN_YES:
        return KN_LIFE_ALIVE;
    case KN_TAKEN_DEAD:
        return KN_LIFE_DEAD;
    default:
        return KN_LIFE_FREE;
    }
}

enum kn_life_state kn_participant_state(const struct kn_header *header, struct kn_participant *p)
{
    if (kn_unlikely(header->robust_mode == KN_ROBUST_MUTEX))
        return state_by_mutex(p);
    uint32_t word = atomic_load_explicit(word_of(header, p), memory_order_acquire);
    if (word_is_dead(word))
        return KN_LIFE_DEAD;
    return (word & FUTEX_TID_MASK) != 0 ? KN_LIFE_ALIVE : KN_LIFE_FREE;
}

int kn_id_alive(const struct kn_header *header, kn_id id)
{
    struct kn_participant *p = kn_participant_at(header, kn_id_slot(id));
    if (!p || id == 0)
        return 0;
    uint32_t generation = kn_id_generation(id);
    /* The generation is read again behind the word: the slot may change hands in between. */
    return atomic_load_explicit(&p->generation, memory_order_acquire) == generation &&
           kn_participant_state(header, p) == KN_LIFE_ALIVE &&
           atomic_load_explicit(&p->generation, memory_order_acquire) == generation;
}

/* Does /proc say that the thread of this word is gone? Only a clear answer counts. */
static int gone_from_proc(struct kn_participant *p, uint32_t tid)
{
    int64_t recorded = atomic_load(&p->start_time);
    int64_t now = kn_thread_start(tid);
    if (now == KN_START_UNKNOWN)
        return 0;
    if (now == KN_START_GONE || now == KN_START_ZOMBIE)
        return 1;
    /* A start time is recorded a moment after the claim; without one nothing can be said. */
    return atomic_load(&p->tid) == tid && recorded > 0 && recorded != now;
}

/* The mutex stays locked for ever: the slot is swept, but never claimed again. */
static int verify_by_mutex(struct kn_header *header, struct kn_participant *p)
{
    uint32_t taken = KN_TAKEN_YES, tid = atomic_load(&p->tid);
    if (!tid || !gone_from_proc(p, tid) ||
        !atomic_compare_exchange_strong(&p->taken, &taken, KN_TAKEN_DEAD))
        return taken == KN_TAKEN_DEAD;
    atomic_fetch_add_explicit(&header->rescues, 1, memory_order_relaxed);
    return 1;
}

int kn_participant_verify(struct kn_header *header, struct kn_participant *p)
{
    enum kn_life_state state = kn_participant_state(header, p);
    if (state != KN_LIFE_ALIVE)
        return state == KN_LIFE_DEAD;
    if (header->robust_mode == KN_ROBUST_MUTEX)
        return verify_by_mutex(header, p);
    _Atomic uint32_t *word = word_of(header, p);
    uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
    uint32_t tid = seen & FUTEX_TID_MASK;
    if (tid == 0 || !gone_from_proc(p, tid))
        return 0;
    while ((seen & FUTEX_TID_MASK) == tid) {
        uint32_t dead = (seen & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (atomic_compare_exchange_strong_explicit(word, &seen, dead, memory_order_acq_rel,
                                                    memory_order_acquire)) {
            atomic_fetch_add_explicit(&header->rescues, 1, memory_order_relaxed);
            kn_futex_wake(word, INT32_MAX);
            return 1;
        }
    }
    return word_is_dead(seen);
}

int kn_tid_gone(struct kn_header *header, uint32_t tid)
{
    for (uint32_t slot = 0;; slot++) {
        struct kn_participant *p = kn_participant_at(header, slot);
        if (!p)
            break;
        uint32_t word = atomic_load_explicit(word_of(header, p), memory_order_acquire);
        /* A slot that nobody marked may bear the id of one that is alive under another slot. */
        if ((word & FUTEX_TID_MASK) == tid && !word_is_dead(word) &&
            !kn_participant_verify(header, p))
            return 0;
    }
    /* Every holder of a lock has a slot, so one that has none any more is dead. */
    return 1;
}

static int claim_by_mutex(struct kn_participant *p)
{
    if (atomic_load(&p->taken) != KN_TAKEN_NO || try_mutex(p) != 0)
        return 0;
    if (atomic_load(&p->taken) != KN_TAKEN_NO) {
        pthread_mutex_unlock(&p->life.mutex);
        return 0;
    }
    atomic_store(&p->taken, KN_TAKEN_YES);
    return 1;
}

static int claim_by_word(struct kn_header *header, const struct kn_robust *robust,
                         struct kn_participant *p, uint32_t tid, uint32_t expected)
{
    _Atomic uint32_t *word = word_of(header, p);
    kn_assert("L4", robust->head->list_op_pending == NULL);
    kn_assert("P1", (expected & FUTEX_TID_MASK) == 0);
    robust->head->list_op_pending = kn_robust_node(word, robust->futex_offset);
    if (KN_PLANT("claim-unnamed"))
        robust->head->list_op_pending = NULL;
    kn_compiler_barrier();
    int claimed = atomic_compare_exchange_strong_explicit(
        word, &expected, tid, memory_order_acq_rel, memory_order_relaxed);
    if (claimed)
        kn_robust_link(robust->head, &p->life);
    kn_compiler_barrier();
    robust->head->list_op_pending = NULL;
    return claimed;
}

static void introduce(struct kn_participant *p, uint32_t tid)
{
    atomic_store(&p->tid, tid);
    atomic_store(&p->start_time, kn_thread_start(tid));
}

struct kn_participant *kn_participant_claim(struct kn_header *header,
                                            const struct kn_robust *robust, uint32_t tid, int *dead)
{
    *dead = 0;
    for (uint32_t slot = KN_VESTIBULE + 1;; slot++) {
        struct kn_participant *p = kn_participant_at(header, slot);
        if (!p)
            return NULL;
        enum kn_life_state state = kn_participant_state(header, p);
        /* Where nobody marks the dead, any may be one. */
        if (state == KN_LIFE_DEAD || (state == KN_LIFE_ALIVE && robust->mode == KN_ROBUST_NONE))
            *dead = 1;
        if (state != KN_LIFE_FREE)
            continue;
        int claimed = header->robust_mode == KN_ROBUST_MUTEX
                          ? claim_by_mutex(p)
                          : claim_by_word(header, robust, p, tid, 0);
        if (claimed) {
            introduce(p, tid);
            return p;
        }
    }
}

/* One try at the vestibule, which is taken over from a dead one with what that one left. */
static int claim_vestibule_once(struct kn_header *header, const struct kn_robust *robust,
                                struct kn_participant *p, uint32_t tid)
{
    if (header->robust_mode == KN_ROBUST_MUTEX) {
        int answer = pthread_mutex_trylock(&p->life.mutex);
        if (answer == EOWNERDEAD)
            pthread_mutex_consistent(&p->life.mutex);
        if (answer != 0 && answer != EOWNERDEAD)
            return 0;
        atomic_store(&p->taken, KN_TAKEN_YES);
        return 1;
    }
    uint32_t seen = atomic_load_explicit(word_of(header, p), memory_order_acquire);
    if (seen != 0 && !word_is_dead(seen))
        return 0;
    return claim_by_word(header, robust, p, tid, seen);
}

struct kn_participant *kn_participant_claim_vestibule(struct kn_header *header,
                                                      const struct kn_robust *robust, uint32_t tid)
{
    struct kn_participant *p = kn_participant_at(header, KN_VESTIBULE);
    int64_t started = kn_now();
    int64_t looked = started;
    while (!claim_vestibule_once(header, robust, p, tid)) {
        int64_t now = kn_now();
        if (now - started > KIN_S(10))
            return NULL;
        if (now - looked > KIN_S(1)) {
            kn_participant_verify(header, p);
            looked = now;
        }
        /* Its holder is at work for some microseconds; the word changes when it leaves. */
        struct timespec deadline = kn_timespec(now + KIN_MS(1));
        _Atomic uint32_t *word = word_of(header, p);
        kn_futex_wait(word, atomic_load(word), &deadline);
    }
    introduce(p, tid);
    return p;
}

static void next_generation(struct kn_participant *p)
{
    uint32_t next = atomic_load_explicit(&p->generation, memory_order_relaxed) + 1;
    kn_assert("P2", next != 1);
    atomic_store_explicit(&p->generation, next ? next : 1, memory_order_release);
}

/* Nothing that the last one said of itself may be taken for the next one's. */
static void forget(struct kn_participant *p)
{
    atomic_store(&p->tid, 0);
    atomic_store(&p->start_time, 0);
}

void kn_participant_leave(struct kn_header *header, const struct kn_robust *robust,
                          struct kn_participant *p)
{
    if (header->robust_mode == KN_ROBUST_MUTEX) {
        next_generation(p);
        forget(p);
        atomic_store(&p->taken, KN_TAKEN_NO);
        pthread_mutex_unlock(&p->life.mutex);
        return;
    }
    _Atomic uint32_t *word = word_of(header, p);
    kn_assert("L4", robust->head->list_op_pending == NULL);
    kn_assert("P1", (atomic_load(word) & FUTEX_TID_MASK) == atomic_load(&p->tid));
    robust->head->list_op_pending = kn_robust_node(word, robust->futex_offset);
    kn_compiler_barrier();
    kn_robust_unlink(robust->head, &p->life);
    if (KN_PLANT("leave-unnamed"))
        robust->head->list_op_pending = NULL;
    next_generation(p);
    forget(p);
    uint32_t last = atomic_exchange_explicit(word, 0, memory_order_release);
    if (last & FUTEX_WAITERS)
        kn_futex_wake(word, INT32_MAX);
    kn_compiler_barrier();
    robust->head->list_op_pending = NULL;
}

void kn_participant_bury(struct kn_header *header, struct kn_participant *p)
{
    kn_assert("S2", p->condemned);
    kn_assert("S1", atomic_load(&p->intent) == 0 || KN_PLANT("sweep-no-intent"));
    /* A burial that was cut short begins again; nothing bears the generation that it counts past. */
    next_generation(p);
    p->condemned = 0;
    forget(p);
    if (header->robust_mode == KN_ROBUST_MUTEX) {
        atomic_store(&p->taken, KN_TAKEN_NO);
        return;
    }
    _Atomic uint32_t *word = word_of(header, p);
    uint32_t last = atomic_exchange_explicit(word, 0, memory_order_release);
    if (last & FUTEX_WAITERS)
        kn_futex_wake(word, INT32_MAX);
}

void kn_participant_reopen(struct kn_header *header, struct kn_participant *vestibule)
{
    if (header->robust_mode == KN_ROBUST_MUTEX) {
        uint32_t dead = KN_TAKEN_DEAD;
        atomic_compare_exchange_strong(&vestibule->taken, &dead, KN_TAKEN_NO);
        return;
    }
    _Atomic uint32_t *word = word_of(header, vestibule);
    uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
    if (word_is_dead(seen))
        atomic_compare_exchange_strong_explicit(word, &seen, 0, memory_order_acq_rel,
                                                memory_order_relaxed);
}

void kn_participants_prepare(struct kn_header *header, struct kn_participant *chunk,
                             uint32_t first_slot)
{
    for (uint32_t i = 0; i < KN_PARTICIPANTS_IN_CHUNK; i++) {
        chunk[i].slot = first_slot + i;
        if (header->robust_mode == KN_ROBUST_MUTEX)
            (void)kn_robust_mutex(&chunk[i].life.mutex);
        atomic_store_explicit(&chunk[i].generation, 1, memory_order_release);
    }
}
