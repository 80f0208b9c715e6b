// SPDX-License-Identifier: MIT
/*
 * slab.c - small blocks: the common path, without a lock.
 *
 *   allocate:  intent = block; set its alloc bit (commit); ... hand it out: intent = 0
 *   free own:  clear its alloc bit (commit)
 *   free of another's slab: set its remote bit (commit), one fetch-or
 *
 * The thread's cache has, for each class, the slab it allocates from and a list of others with
 * room. A slab that is full is let go (owner 0). Who frees a block of such a slab takes it over
 * before it frees, while its own block keeps the slab from vanishing; so where one thread allocates
 * and another frees, whole slabs travel and most frees are local.
 *
 * Letting a slab go and freeing a block of it may cross. The owner stores 0 and then looks at the
 * remote bits; who frees sets the bit and then looks at the owner: one of them sees the other, and
 * takes the slab. Both look at memory that may have become another's by then, with the last block of
 * the slab. So the owner looks under heap.lock, under which no slab vanishes. Who freed only reads
 * (what is committed stays mapped), and if it reads 0 looks again under the lock, at the unit's word
 * first.
 *
 * Sudden death: the intent is set before the alloc bit, so a block that was not handed out is freed
 * by the sweep; the slab's owner word says whose it was.
 */
#include <shm/slab.h>

#include <base/error.h>
#include <errno.h>

/* Units in the list of one class, 1 MiB: what a thread may keep from the others. */
#define MOST_HELD 64

/* ---- The thread's list of slabs with room ---- */

static void list_add(struct kn_slab_cache *cache, struct kn_slab *slab)
{
    slab->previous = NULL;
    slab->next = cache->partial;
    if (slab->next)
        slab->next->previous = slab;
    else
        cache->oldest = slab;
    cache->partial = slab;
    cache->partials++;
    slab->place = KN_PLACE_LIST;
}

static void list_remove(struct kn_slab_cache *cache, struct kn_slab *slab)
{
    kn_assert("H4", slab->place == KN_PLACE_LIST && cache->partials > 0);
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        cache->partial = slab->next;
    if (slab->next)
        slab->next->previous = slab->previous;
    else
        cache->oldest = slab->previous;
    cache->partials--;
    slab->place = KN_PLACE_NONE;
}

static void settle(struct kn_thread *t, struct kn_slab *slab)
{
    kn_heap_lock(t);
    kn_slab_settle(slab);
    kn_heap_unlock(t);
}

/* ---- Allocating ---- */

/* Lets a full slab go. 1: it got room at the last moment and is still ours. */
static int let_go(struct kn_thread *t, struct kn_slab *slab)
{
    kn_assert("H4", slab->owner == t->id && slab->place == KN_PLACE_CURRENT);
    if (kn_slab_fold(slab) > 0)
        return 1;
    kn_heap_lock(t);
    slab->place = KN_PLACE_NONE;
    /* seq_cst: pairs with the fetch-or of those who read the owner before this store */
    atomic_exchange_explicit(&slab->owner, 0, memory_order_seq_cst);
    int kept = kn_slab_take_stray(slab, t->id);
    kn_heap_unlock(t);
    if (!kept)
        return 0;
    slab->place = KN_PLACE_CURRENT;
    return kn_slab_fold(slab) > 0;
}

/* A slab of nobody's, or a new one, for this thread. */
static struct kn_slab *fresh_slab(struct kn_thread *t, uint32_t class, int *error)
{
    kn_trim_sometimes(t);
    kn_heap_lock(t);
    struct kn_slab *slab = kn_shelf_take(class, t->id);
    kn_heap_unlock(t);
    if (slab)
        return slab;
    kn_assert("H6", t->self->intent == 0);
    uint32_t units = kn_class_units(class);
    slab = kn_supply(t, units, error);
    if (!slab)
        return NULL;
    kn_slab_format(slab, class, t->id);
    kn_heap_lock(t);
    kn_run_mark(kn_unit_of(slab), kn_word_make(KN_UNIT_SLAB, class, units, 0));
    kn_heap_unlock(t);
    kn_intend(t, NULL);
    return slab;
}

/* The class's current slab has no room: another that has, or NULL. */
static KN_COLD struct kn_slab *refill(struct kn_thread *t, uint32_t class, int *error)
{
    struct kn_slab_cache *cache = &t->self->cache[class];
    struct kn_slab *slab = cache->current;
    *error = kn_heap_trusted();
    if (*error)
        return NULL;
    if (slab && let_go(t, slab))
        return slab;
    cache->current = NULL;
    slab = cache->partial;
    if (slab)
        list_remove(cache, slab);
    else
        slab = fresh_slab(t, class, error);
    cache->current = slab;
    if (slab)
        slab->place = KN_PLACE_CURRENT;
    return slab;
}

void *kn_slab_take(struct kn_thread *t, uint32_t class, int *error)
{
    struct kn_slab *slab = t->self->cache[class].current;
    if (kn_unlikely(!slab || slab->free == 0))
        slab = refill(t, class, error);
    return slab ? kn_slab_take_own(t, slab) : NULL;
}

/* ---- Freeing ---- */

KN_COLD void kn_slab_rearrange(struct kn_thread *t, struct kn_slab *slab)
{
    struct kn_slab_cache *cache = &t->self->cache[slab->class];
    if (slab->free == slab->count && cache->partials > 1) {
        if (slab->place == KN_PLACE_LIST)
            list_remove(cache, slab);
        settle(t, slab);
        return;
    }
    if (slab->place == KN_PLACE_LIST)
        return;
    list_add(cache, slab);
    if (cache->partials * kn_class_units(slab->class) <= MOST_HELD)
        return;
    struct kn_slab *oldest = cache->oldest;
    list_remove(cache, oldest);
    settle(t, oldest);
}

/* The slab went to nobody while a block of it was freed. It may be gone: the unit's word knows. */
static KN_COLD void look_after(struct kn_thread *t, struct kn_slab *slab)
{
    uint32_t unit = kn_unit_of(slab);
    kn_heap_lock(t);
    uint64_t word = atomic_load_explicit(kn_unit_word(unit), memory_order_acquire);
    if (kn_slab_at(unit, word) == slab && kn_slab_take_stray(slab, t->id))
        kn_slab_settle(slab);
    kn_heap_unlock(t);
}

static int give_remote(struct kn_thread *t, struct kn_slab *slab, uint32_t word, uint64_t bit)
{
    if (!(atomic_load_explicit(&kn_slab_alloc(slab)[word], memory_order_relaxed) & bit))
        return -EALREADY;
    /* release: what the freer did with the block comes before its next use (fold acquires) */
    uint64_t freed =
        atomic_fetch_or_explicit(&kn_slab_remote(slab)[word], bit, memory_order_seq_cst);
    if (kn_unlikely(freed & bit))
        return -EALREADY;
    if (kn_unlikely(atomic_load_explicit(&slab->owner, memory_order_seq_cst) == 0))
        look_after(t, slab);
    return 0;
}

int kn_slab_give(struct kn_thread *t, struct kn_slab *slab, const void *block)
{
    uint32_t index = kn_slab_index(slab, block);
    if (kn_unlikely(index == slab->count))
        return -EINVAL;
    uint64_t owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
    if (owner == 0) {
        int error = kn_slab_verify(slab, block);
        if (error)
            return error;
        if (atomic_compare_exchange_strong_explicit(&slab->owner, &owner, t->id,
                                                    memory_order_acq_rel, memory_order_acquire)) {
            slab->place = KN_PLACE_NONE;
            kn_slab_fold(slab);
            owner = t->id;
        }
    }
    return owner == t->id ? kn_slab_give_own(t, slab, index)
                          : give_remote(t, slab, index / 64, (uint64_t)1 << index % 64);
}

int kn_slab_verify(struct kn_slab *slab, const void *block)
{
    uint32_t index = kn_slab_index(slab, block);
    if (index == slab->count)
        return -EINVAL;
    uint64_t bit = (uint64_t)1 << index % 64;
    uint64_t taken = atomic_load_explicit(&kn_slab_alloc(slab)[index / 64], memory_order_relaxed);
    uint64_t freed = atomic_load_explicit(&kn_slab_remote(slab)[index / 64], memory_order_relaxed);
    return (taken & bit) && !(freed & bit) ? 0 : -EALREADY;
}

void kn_slabs_trim(struct kn_thread *t)
{
    for (uint32_t class = 0; class < KN_CLASSES; class ++) {
        struct kn_slab_cache *cache = &t->self->cache[class];
        struct kn_slab *next, *slab = cache->current;
        if (slab && kn_slab_fold(slab) == slab->count) {
            cache->current = NULL;
            kn_slab_settle(slab);
        }
        for (slab = cache->partial; slab; slab = next) {
            next = slab->next;
            if (kn_slab_fold(slab) != slab->count)
                continue;
            list_remove(cache, slab);
            kn_slab_settle(slab);
        }
    }
}

void kn_slabs_leave(struct kn_thread *t)
{
    for (uint32_t class = 0; class < KN_CLASSES; class ++) {
        struct kn_slab_cache *cache = &t->self->cache[class];
        struct kn_slab *slab;
        while ((slab = cache->partial)) {
            list_remove(cache, slab);
            kn_slab_settle(slab);
        }
        slab = cache->current;
        cache->current = NULL;
        if (slab)
            kn_slab_settle(slab);
    }
}
