// SPDX-License-Identifier: MIT
/*
 * sweep.c - what the dead leave behind in the heap, put right by who comes by.
 *
 * There is no helper process: whoever starts, needs memory that is not at hand, or asks for
 * figures, sweeps. A sweep is made of steps that can each be done twice:
 *
 *   1. Intents. A dead thread's intent names the block that it was just handing out or moving.
 *      Nobody else saw it, so it is freed, if it was taken at all.
 *   2. Slabs. Each whose owner is dead is freed, shelved or, when full, left to its blocks. So is
 *      one of nobody's with blocks that were freed: who should have seen that died.
 *   3. Slots. The generation counts up, then the life word becomes 0: the slot is free.
 *   4. Processes whose claimant is dead, and which /proc does not show any more, leave the table.
 *
 * The vestibule (participant.h) is taken over from the dead without this lock, so it is reopened at
 * once, by compare-and-swap; its holder owns no slab.
 *
 * The order matters: a slab may change hands only after the intent inside it is settled. So those
 * found dead at the first step are condemned, and the others, who may die meanwhile, are not looked
 * at by the later ones.
 *
 * Sudden death: all of it is under heap.lock, so a sweeper that dies leaves it to the next, and
 * what it did not finish is still marked dead. What must hold: S1 to S3 in doc/invariants.md.
 */
#include <shm/sweep.h>

#include <shm/member.h>
#include <stdlib.h>
#include <unistd.h>

static void repair(void)
{
    struct kn_heap *heap = &kn_process.header->heap;
    atomic_fetch_add_explicit(&heap->repairs, 1, memory_order_relaxed);
    if (KN_PLANT("heap-no-repair"))
        return;
    if (kn_runs_repair() < 0)
        atomic_store_explicit(&heap->poisoned, 1, memory_order_release);
    else
        kn_shelves_repair();
}

/* The child of a fork goes on in a call of its parent's: what it holds is not its own. */
static KN_COLD void refuse_to_go_on(void)
{
    static const char words[] = "kin: a signal handler that interrupted a kin call forked, and its "
                                "child returned into that call; it must exec or _exit\n";
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
    abort();
}

void kn_heap_lock(struct kn_thread *t)
{
    if (kn_unlikely(*kn_process.generation == 0))
        refuse_to_go_on();
    if (kn_unlikely(kn_lock_acquire(t, &kn_process.header->heap.lock)))
        repair();
}

void kn_heap_unlock(struct kn_thread *t)
{
    kn_lock_release(t, &kn_process.header->heap.lock);
}

int kn_sweep_needed(int thorough)
{
    struct kn_header *header = kn_process.header;
    struct kn_participant *p;
    int ask = thorough || header->robust_mode == KN_ROBUST_NONE;
    int needed = 0;
    for (uint32_t slot = 0; (p = kn_participant_at(header, slot)); slot++)
        needed |= ask ? kn_participant_verify(header, p)
                      : kn_participant_state(header, p) == KN_LIFE_DEAD;
    return needed;
}

/*
 * The block of the intent, if the dead thread had taken it: a run that bears its slot, or a block
 * of a slab that is its own. Anything else means that it died before the commit.
 */
void kn_settle_intent(struct kn_participant *p)
{
    uint64_t address = atomic_load_explicit(&p->intent, memory_order_acquire);
    const void *block = (const void *)(uintptr_t)address;
    kn_assert("L4", kn_heap_is_locked());
    if (!address)
        return;
    uint32_t unit = kn_arena_contains(block) ? kn_unit_of(block) : 0;
    if (unit && unit < kn_units_end()) {
        uint64_t word = atomic_load_explicit(kn_unit_word(unit), memory_order_acquire);
        if (kn_word_kind(word) == KN_UNIT_CONTINUED) {
            unit -= kn_word_length(word);
            word = atomic_load_explicit(kn_unit_word(unit), memory_order_acquire);
        }
        struct kn_slab *slab = kn_slab_at(unit, word);
        if (kn_word_kind(word) == KN_UNIT_LARGE && kn_word_slot(word) == p->slot &&
            kn_unit_address(unit) == block) {
            kn_run_give(unit);
        } else if (slab && kn_id_slot(slab->owner) == p->slot && slab->owner != KN_SHELVED) {
            uint32_t index = kn_slab_index(slab, block);
            if (index < slab->count)
                kn_slab_alloc(slab)[index / 64] &= ~((uint64_t)1 << index % 64);
        }
    }
    atomic_store_explicit(&p->intent, 0, memory_order_release);
}

/* Is the owner of a slab no more, and its intent settled? */
static int owner_is_over(uint64_t owner)
{
    if (owner == 0 || owner == KN_SHELVED)
        return 0;
    struct kn_participant *p = kn_participant_at(kn_process.header, kn_id_slot(owner));
    if (!p || atomic_load_explicit(&p->generation, memory_order_acquire) != kn_id_generation(owner))
        return 1;
    return p->condemned != 0;
}

void kn_adopt_strays(struct kn_thread *t, int of_the_dead)
{
    uint64_t end = kn_units_end();
    for (uint64_t unit = 0, length; unit < end && (length = kn_run_length(unit)); unit += length) {
        uint64_t word = atomic_load_explicit(kn_unit_word((uint32_t)unit), memory_order_acquire);
        struct kn_slab *slab = kn_slab_at((uint32_t)unit, word);
        uint64_t owner = slab ? atomic_load_explicit(&slab->owner, memory_order_acquire) : 0;
        if (!slab)
            continue;
        if ((of_the_dead && owner_is_over(owner)) ||
            (owner == 0 && kn_slab_take_stray(slab, t->id)))
            unit = kn_slab_settle(slab);
        length = kn_run_length(unit);
        if (!length)
            return;
    }
}

void kn_sweep(struct kn_thread *t)
{
    struct kn_header *header = kn_process.header;
    struct kn_participant *p;
    kn_heap_lock(t);
    if (atomic_load_explicit(&header->heap.poisoned, memory_order_relaxed)) {
        kn_heap_unlock(t);
        return;
    }
    kn_units_extend();
    for (uint32_t slot = 0; (p = kn_participant_at(header, slot)); slot++) {
        if (kn_participant_state(header, p) != KN_LIFE_DEAD)
            continue;
        if (!KN_PLANT("sweep-no-intent"))
            kn_settle_intent(p);
        if (slot == KN_VESTIBULE)
            kn_participant_reopen(header, p);
        else
            p->condemned = 1;
    }
    kn_adopt_strays(t, !KN_PLANT("sweep-no-slabs"));
    for (uint32_t slot = 0; (p = kn_participant_at(header, slot)); slot++) {
        if (!p->condemned)
            continue;
        kn_participant_bury(header, p);
        atomic_fetch_add_explicit(&header->heap.sweeps, 1, memory_order_relaxed);
    }
    kn_members_bury(header);
    kn_heap_unlock(t);
}
