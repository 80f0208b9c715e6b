// SPDX-License-Identifier: MIT
/*
 * heap.c - the public calls of the shared heap.
 *
 * Up to 32 KiB a block is a part of a slab (slab.c); above, it is a run of units of its own
 * (supply.c). In between there is only this: which is which, and the words when it fails.
 *
 * Sudden death: a block is named in the thread's intent from before it is taken until the last
 * instruction before it is returned, so that it is either the caller's or nobody's.
 */
#include <kin/heap.h>

#include <base/error.h>
#include <errno.h>
#include <shm/attach.h>
#include <shm/inspect.h>
#include <shm/slab.h>
#include <string.h>

/* A block, found by its pointer. */
struct place {
    struct kn_slab *slab; /* NULL: a run of its own */
    uint32_t unit;
    uint64_t word;
};

/* The end of a call that hands a pointer out: the block is the caller's, or NULL and errno. */
KN_INLINE void *finish(struct kn_thread *t, void *block, int error)
{
    kn_assert("L4", !t || t->robust->list_op_pending == NULL);
    if (kn_likely(block))
        kn_intend(t, NULL);
    if (kn_likely(t))
        kn_thread_done(t);
    if (kn_unlikely(!block))
        errno = -error;
    return block;
}

/* Takes a block and leaves it as the thread's intent. */
static void *take(struct kn_thread *t, size_t size, int *error)
{
    if (kn_likely(size <= KN_LARGEST_SMALL))
        return kn_slab_take(t, kn_class_of(size), error);
    if (size > kn_process.header->size) {
        *error = kn_fail(-ENOMEM, "a block of %zu bytes does not fit into an arena of %llu MiB",
                         size, (unsigned long long)(kn_process.header->size >> 20));
        return NULL;
    }
    return kn_supply(t, (size + KN_UNIT - 1) >> KN_UNIT_SHIFT, error);
}

static KN_COLD int find_failed(const void *block, enum kn_unit_kind kind)
{
    if (kind == KN_UNIT_FREE || kind == KN_UNIT_INSIDE || kind == KN_UNIT_TAIL)
        return kn_fail(-EALREADY, "the block at %p is free already: it was freed twice", block);
    return kn_fail(-EINVAL, "%p is not the begin of a block of the family's heap", block);
}

/* Which block the pointer is. 0, or -EINVAL or -EALREADY with words. */
static int find(const void *block, struct place *place)
{
    uint64_t offset = kn_arena_offset(block);
    uint32_t unit = (uint32_t)(offset >> KN_UNIT_SHIFT);
    if (kn_unlikely(offset >> KN_UNIT_SHIFT >= kn_units_end()))
        return find_failed(block, KN_UNIT_TABLE);
    uint64_t word = atomic_load_explicit(kn_unit_word(unit), memory_order_acquire);
    if (kn_word_kind(word) == KN_UNIT_CONTINUED) {
        if (kn_unlikely(kn_word_length(word) > unit))
            return find_failed(block, KN_UNIT_TABLE);
        unit -= kn_word_length(word);
        word = atomic_load_explicit(kn_unit_word(unit), memory_order_acquire);
    }
    place->unit = unit;
    place->word = word;
    place->slab = NULL;
    if (kn_likely(kn_word_kind(word) == KN_UNIT_SLAB)) {
        place->slab = kn_slab_at(unit, word);
        return place->slab ? 0 : find_failed(block, KN_UNIT_TABLE);
    }
    if (kn_word_kind(word) != KN_UNIT_LARGE || kn_unit_address(unit) != block)
        return find_failed(block, kn_word_kind(word));
    /* A run on its way to or from the system is nobody's block. */
    return word & KN_PAGES ? find_failed(block, KN_UNIT_FREE) : 0;
}

/* Frees a run, if it still is the one that was found. */
static int give_run(struct kn_thread *t, const struct place *place)
{
    kn_heap_lock(t);
    uint64_t now = atomic_load_explicit(kn_unit_word(place->unit), memory_order_relaxed);
    int same = now == place->word;
    if (same)
        kn_run_give(place->unit);
    kn_heap_unlock(t);
    return same ? 0 : -EALREADY;
}

static int give(struct kn_thread *t, void *block, struct place *place)
{
    int error = find(block, place);
    if (error)
        return error;
    error = place->slab ? kn_slab_give(t, place->slab, block) : give_run(t, place);
    if (kn_unlikely(error))
        return find_failed(block, error == -EALREADY ? KN_UNIT_FREE : KN_UNIT_TABLE);
    return 0;
}

static int64_t usable(const struct place *place)
{
    return place->slab ? place->slab->size : (int64_t)kn_word_length(place->word) << KN_UNIT_SHIFT;
}

/* The block's place, if it is one that is allocated. */
static int verify(const void *block, struct place *place)
{
    int error = find(block, place);
    if (error || !place->slab)
        return error;
    error = kn_slab_verify(place->slab, block);
    return error ? find_failed(block, error == -EALREADY ? KN_UNIT_FREE : KN_UNIT_TABLE) : 0;
}

/* kin_alloc, whatever the size is and whoever calls. */
static KN_NOINLINE void *alloc_slowly(size_t size)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    void *block = kn_likely(t) ? take(t, size, &error) : NULL;
    return finish(t, block, error);
}

/* The common case first, without a call: a thread that is known, a slab of its own with room. */
void *kin_alloc(size_t size)
{
    struct kn_thread *t = size <= KN_LARGEST_COMPUTED ? kn_thread_enter_ready() : NULL;
    if (kn_likely(t)) {
        struct kn_slab *slab = t->self->cache[kn_class_computed(size)].current;
        if (kn_likely(slab && slab->free)) {
            void *block = kn_slab_take_own(t, slab);
            kn_intend(t, NULL);
            kn_thread_done(t);
            return block;
        }
        kn_thread_done(t);
    }
    return alloc_slowly(size);
}

void *kin_calloc(size_t count, size_t size)
{
    int error = 0;
    size_t bytes;
    void *block = NULL;
    struct kn_thread *t = kn_thread_enter(&error);
    if (t && __builtin_mul_overflow(count, size, &bytes))
        error =
            kn_fail(-ENOMEM, "%zu elements of %zu bytes are more than there can be", count, size);
    else if (t)
        block = take(t, bytes, &error);
    if (KN_PLANT("calloc-intent-early") && block)
        kn_intend(t, NULL);
    if (block)
        memset(block, 0, bytes);
    return finish(t, block, error);
}

char *kin_strdup(const char *text)
{
    int error = 0;
    size_t bytes = text ? strlen(text) + 1 : 0;
    struct kn_thread *t = kn_thread_enter(&error);
    char *block = t && text ? take(t, bytes, &error) : NULL;
    if (t && !text)
        error = kn_fail(-EINVAL, "kin_strdup needs a text");
    if (block)
        memcpy(block, text, bytes);
    return finish(t, block, error);
}

/* Does a block of this size serve as well, without wasting more than half? */
static int fits(int64_t have, size_t size)
{
    return (uint64_t)have >= size && (size > (uint64_t)have / 2 || have <= 64);
}

/* The block moved to a new one, which stays the intent; or the old one; or NULL. */
static void *move(struct kn_thread *t, void *old, size_t size, int *error)
{
    struct place place;
    *error = verify(old, &place);
    if (*error)
        return NULL;
    size_t have = (size_t)usable(&place);
    if (fits((int64_t)have, size))
        return old;
    void *block = take(t, size, error);
    if (!block)
        return NULL;
    memcpy(block, old, have < size ? have : size);
    if (KN_PLANT("realloc-intent-early"))
        kn_intend(t, NULL);
    *error = give(t, old, &place); /* commit */
    if (*error == 0)
        return block;
    give(t, block, &place);
    kn_intend(t, NULL);
    return NULL;
}

void *kin_realloc(void *old, size_t size)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    void *block = NULL;
    if (t)
        block = old ? move(t, old, size, &error) : take(t, size, &error);
    return finish(t, block, error);
}

/* kin_free, whatever it is and whosever. */
static KN_NOINLINE int free_slowly(void *block)
{
    int error = 0;
    struct place place;
    if (!block)
        return 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (kn_unlikely(!t))
        return error;
    error = give(t, block, &place);
    if (error == 0 && kn_unlikely(!place.slab))
        kn_trim_sometimes(t);
    kn_thread_done(t);
    return error;
}

/*
 * The common case first, without a call: a block of a slab of the thread's own. Nothing is changed
 * before all is found right, so the other way begins anew, and has the words for what is wrong.
 */
int kin_free(void *block)
{
    struct kn_thread *t = kn_thread_enter_ready();
    if (kn_likely(t)) {
        struct kn_slab *slab = kn_slab_own_around(t->id, block);
        uint32_t index = kn_likely(slab) ? kn_slab_index(slab, block) : 0;
        int given = kn_likely(slab && index < slab->count) && kn_slab_give_own(t, slab, index) == 0;
        kn_thread_done(t);
        if (kn_likely(given))
            return 0;
    }
    return free_slowly(block);
}

int64_t kin_usable_size(const void *block)
{
    int error = 0;
    struct place place;
    struct kn_thread *t = kn_thread_enter(&error);
    if (!t)
        return error;
    error = verify(block, &place);
    kn_thread_done(t);
    return error ? error : usable(&place);
}

int kin_heap_stats(kin_heap_statistics *statistics)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (!t)
        return error;
    if (!statistics) {
        error = kn_fail(-EINVAL, "kin_heap_stats needs a place for the figures");
    } else {
        if (kn_sweep_needed(1))
            kn_sweep(t);
        error = kn_heap_count(t, statistics);
    }
    kn_thread_done(t);
    return error;
}

int kin_heap_check(void)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (!t)
        return error;
    error = kn_heap_verify(t);
    kn_thread_done(t);
    return error;
}

int64_t kin_heap_trim(void)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (!t)
        return error;
    int64_t bytes = kn_heap_trusted();
    if (bytes == 0) {
        kn_heap_lock(t);
        kn_slabs_trim(t);
        kn_heap_unlock(t);
        bytes = kn_trim(t);
    }
    kn_thread_done(t);
    return bytes;
}
