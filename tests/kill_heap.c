// SPDX-License-Identifier: MIT
/*
 * kill_heap.c - SIGKILL at every instruction of the shared heap.
 *
 * Each case says what the heap must look like when the survivor has swept: every block that the
 * victim held at work is back or was handed over whole, what others own is untouched, and the
 * invariants H1 to H6 hold (kin_heap_check, called by the harness).
 *
 * A public call hands its result over in a register: between the store that clears the intent and
 * the victim's own store of the pointer, the block is the victim's and lost with it. That is a
 * handful of instructions, the same for malloc; the cases with "handed over" show that there is no
 * other such place, by storing the pointer while the intent still stands.
 */
#include "harness/kill.h"
#include "harness/inside.h"

#include <base/error.h>
#include <shm/attach.h>
#include <shm/slab.h>
#include <signal.h>

#define SLACK           16 /* instructions from the cleared intent to the stored pointer, in any build */
#define SLACK_SANITIZED 120

#if defined(__SANITIZE_ADDRESS__)
#define LOSS SLACK_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LOSS SLACK_SANITIZED
#else
#define LOSS SLACK
#endif
#else
#define LOSS SLACK
#endif

/* Shared by world and victim. */
struct cell {
    char *_Atomic block; /* what the victim got, or the world gave it */
    char *_Atomic old;   /* what it shall free or move */
    int64_t blocks_before;
    int64_t swept_before;
};

#define MANY 2000
static char *many[MANY];

static struct cell *shared_cell(void)
{
    return kill_cell();
}

static kin_heap_statistics figures(void)
{
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    return statistics;
}

/* The world's last step of preparation: what is there now must be there afterwards. */
static void remember(void)
{
    kin_heap_statistics now = figures();
    shared_cell()->blocks_before = now.blocks;
    shared_cell()->swept_before = now.sweeps;
}

static void join(void)
{
    (void)self();
}

/* The victim has a slab of the class at hand, so that the common path is taken. */
static void join_warm(void)
{
    CHECK(kin_free(kin_alloc(100)) == 0);
}

/*
 * What can be seen: the state of the heap's lock, whether the victim's intent stands, whether the
 * pointer arrived, how many units there are and what became of the old block.
 */
static uint64_t heap_state(void)
{
    struct kn_header *header = kn_process.header;
    uint64_t seen = atomic_load(&header->heap.lock.word) != 0;
    struct kn_participant *p;
    for (uint32_t slot = 0; (p = kn_participant_at(header, slot)); slot++)
        if (kn_participant_state(header, p) == KN_LIFE_DEAD)
            seen |= 2 | (atomic_load(&p->intent) != 0) << 2;
    seen |= (uint64_t)(shared_cell()->block != NULL) << 3;
    seen |= (uint64_t)(atomic_load(&header->grow_lock.word) != 0) << 4;
    seen ^= kn_units_end() << 8 ^ atomic_load(&header->file_end) << 16;
    for (uint64_t unit = 0; unit < kn_units_end(); unit++)
        seen = (seen ^ atomic_load(kn_unit_word((uint32_t)unit))) * 0x100000001b3u;
    if (shared_cell()->old && kn_units_end() > kn_unit_of(shared_cell()->old)) {
        uint64_t word = atomic_load(kn_unit_word(kn_unit_of(shared_cell()->old)));
        struct kn_slab *slab = kn_slab_at(kn_unit_of(shared_cell()->old), word);
        if (slab)
            seen ^= (uint64_t)kn_slab_verify(slab, shared_cell()->old) << 40;
    }
    return seen;
}

/* The survivor goes on: it can allocate and free, small and large. */
static void work_on(void)
{
    char *small = kin_alloc(100), *large = kin_alloc(200000);
    CHECK(small && large);
    memset(small, 1, 100);
    memset(large, 1, 200000);
    CHECK(kin_free(small) == 0);
    CHECK(kin_free(large) == 0);
}

/* Sweeps, and tells how many blocks there are more than before. */
static int64_t blocks_more(void)
{
    kin_heap_statistics now = figures();
    CHECK(now.sweeps > shared_cell()->swept_before);
    work_on();
    return now.blocks - shared_cell()->blocks_before;
}

/* After an allocation: the block is there if the pointer arrived, else it is gone or just lost. */
static void verify_got(void)
{
    int64_t more = blocks_more();
    if (shared_cell()->block) {
        CHECK_EQUAL(more, 1);
        CHECK(kin_free(shared_cell()->block) == 0);
        return;
    }
    CHECK(more == 0 || more == 1);
    if (more)
        kill_note_leak();
}

/* The same where the pointer is stored before the intent is cleared: nothing can be lost. */
static void verify_handed_over(void)
{
    int64_t more = blocks_more();
    CHECK(more == 0 || more == 1);
    if (more)
        CHECK(kin_free(shared_cell()->block) == 0);
    CHECK_EQUAL(figures().blocks, shared_cell()->blocks_before);
}

/* ---- Allocating ---- */

static void take_handed_over(void)
{
    int error;
    struct kn_thread *t = self();
    shared_cell()->block = kn_slab_take(t, kn_class_of(100), &error);
    kn_intend(t, NULL);
}

static void supply_handed_over(void)
{
    int error;
    struct kn_thread *t = self();
    shared_cell()->block = kn_supply(t, 5, &error);
    kn_intend(t, NULL);
}

static void alloc_small(void)
{
    shared_cell()->block = kin_alloc(100);
}

static void alloc_large(void)
{
    shared_cell()->block = kin_alloc(100000);
}

static void alloc_growing(void)
{
    shared_cell()->block = kin_alloc(3 << 20);
}

static void calloc_small(void)
{
    shared_cell()->block = kin_calloc(10, 10);
}

static void strdup_text(void)
{
    shared_cell()->block = kin_strdup("a text of some length");
}

/* Free runs at hand so that nothing grows. */
static void prepare_room(void)
{
    CHECK(kin_free(kin_alloc(1 << 20)) == 0);
    remember();
}

/* Free memory whose pages were given back. */
static void prepare_holes(void)
{
    CHECK(kin_free(kin_alloc(1 << 20)) == 0);
    CHECK(kin_heap_trim() > 0);
    remember();
}

/* The file grew already: its new units are to be put into runs. */
static void prepare_longer_file(void)
{
    CHECK(kin_free(kin_alloc(1 << 20)) == 0);
    remember();
    uint64_t end = atomic_load(&kn_process.header->file_end);
    CHECK_EQUAL(kn_arena_grow(self(), end + KN_COMMIT_STEP), 0);
}

/* Another one's slab on the shelf. */
static void fill_and_die(int number)
{
    (void)number;
    for (int i = 0; i < 20; i++)
        CHECK(kin_alloc(100) != NULL);
}

static void prepare_shelf(void)
{
    CHECK_EQUAL(reap(fork_worker(fill_and_die, 0)), 0);
    CHECK_EQUAL(figures().slabs, 1);
    remember();
}

/* Two dead threads with blocks and slabs: what the victim does is sweep them. */
static void fill_and_be_killed(int number)
{
    fill_and_die(number);
    int error;
    (void)kn_slab_take(self(), kn_class_of(100), &error); /* its intent stands */
    raise(SIGKILL);
}

static void prepare_dead(void)
{
    (void)self();
    for (int i = 0; i < 2; i++)
        reap(fork_worker(fill_and_be_killed, i));
    shared_cell()->blocks_before = 40;
}

static void sweep(void)
{
    kn_sweep(self());
}

static void verify_swept(void)
{
    kin_heap_statistics now = figures();
    CHECK_EQUAL(now.blocks, 40);
    CHECK(now.sweeps >= 2 && now.sweeps <= 3); /* a burial that was cut short may go uncounted */
    work_on();
    CHECK_EQUAL(kin_family_size(), 1);
}

/* The victim's slab is full, and another freed blocks of it: the next allocation folds them in. */
static void free_ten(int number)
{
    (void)number;
    for (int i = 0; i < 10; i++)
        CHECK(kin_free(many[i]) == 0);
}

static void enter_full_but_freed(void)
{
    struct kn_slab_cache *cache = &self()->self->cache[kn_class_of(100)];
    int used = 0;
    do
        many[used++] = kin_alloc(100);
    while (cache->current->free > 0);
    CHECK_EQUAL(reap(fork_worker(free_ten, 0)), 0);
    remember();
    CHECK_EQUAL(shared_cell()->blocks_before, used - 10);
}

/* ---- Freeing ---- */

static void enter_with_own(void)
{
    shared_cell()->old = kin_alloc(100);
    CHECK(kin_alloc(100) != NULL);
    shared_cell()->blocks_before = 2;
}

static void enter_with_own_large(void)
{
    shared_cell()->old = kin_alloc(100000);
    shared_cell()->blocks_before = 1;
}

static void prepare_given(void)
{
    shared_cell()->old = kin_alloc(100);
    CHECK(kin_alloc(100) != NULL);
    remember();
}

/* Slabs that are full, so that nobody owns them: the first to free a block takes one over. */
static void prepare_full(void)
{
    for (int i = 0; i < MANY; i++)
        many[i] = kin_alloc(100);
    shared_cell()->old = many[0];
    remember();
}

/* So many partial slabs that the next one pushes one out. */
static void enter_with_many_partial(void)
{
    static char *held[20000];
    for (int i = 0; i < 20000; i++)
        held[i] = kin_alloc(100);
    for (int i = 0; i < 20000 && self()->self->cache[kn_class_of(100)].partials < 64; i += 144)
        CHECK(kin_free(held[i]) == 0);
    shared_cell()->old = held[19999 / 2];
    CHECK(self()->self->cache[kn_class_of(100)].partials >= 60);
    shared_cell()->blocks_before = -1;
}

static void free_old(void)
{
    CHECK(kin_free(shared_cell()->old) == 0);
}

/* Freed or not, nothing in between; and it can be freed exactly if it is not. */
static void verify_freed(void)
{
    int64_t more = blocks_more();
    CHECK(more == 0 || more == -1);
    int answer = kin_free(shared_cell()->old);
    /* Freed twice; or the survivor's own work made something else of the place. */
    CHECK(more == 0 ? answer == 0 : answer == -EALREADY || answer == -EINVAL);
    CHECK_EQUAL(figures().blocks, shared_cell()->blocks_before - 1);
}

static void verify_freed_among_many(void)
{
    kin_heap_statistics before = figures();
    work_on();
    int answer = kin_free(shared_cell()->old);
    CHECK(answer == 0 || answer == -EALREADY);
    CHECK_EQUAL(figures().blocks, before.blocks - (answer == 0));
}

/* ---- Moving ---- */

static void prepare_to_move(void)
{
    prepare_room();
    shared_cell()->old = kin_alloc(100);
    memset(shared_cell()->old, 7, 100);
    remember();
}

static void move(void)
{
    shared_cell()->block = kin_realloc(shared_cell()->old, 3000);
}

static void move_to_large(void)
{
    shared_cell()->block = kin_realloc(shared_cell()->old, 300000);
}

/* The old block whole, or the new one, or (killed with the new one in a register) neither. */
static void verify_moved(void)
{
    int64_t more = blocks_more();
    char *block = shared_cell()->block;
    int old_is_there = kin_usable_size(shared_cell()->old) > 0;
    if (block) {
        CHECK(!old_is_there && more == 0);
        for (int i = 0; i < 100; i++)
            CHECK(block[i] == 7);
        CHECK(kin_free(block) == 0);
        return;
    }
    for (int i = 0; old_is_there && i < 100; i++)
        CHECK(shared_cell()->old[i] == 7);
    CHECK_EQUAL(more > 0, 0);
    if (!old_is_there && more == 0)
        kill_note_leak();
    else
        CHECK_EQUAL(more, old_is_there ? 0 : -1);
}

/* ---- The rest ---- */

static void prepare_to_trim(void)
{
    CHECK(kin_free(kin_alloc(1 << 20)) == 0);
    shared_cell()->old = kin_alloc(100);
    remember();
}

static void trim(void)
{
    CHECK(kin_heap_trim() >= 0);
}

static void verify_same(void)
{
    CHECK_EQUAL(blocks_more(), 0);
    char *large = kin_alloc(4 << 20);
    CHECK(large != NULL);
    memset(large, 1, 4 << 20);
    CHECK(kin_free(large) == 0);
}

static void look(void)
{
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0);
    CHECK(kin_heap_check() == 0);
}

static const struct kill_case cases[] = {
    { "take, handed over", prepare_room, join_warm, take_handed_over, heap_state,
      verify_handed_over, 0 },
    { "supply, handed over", prepare_room, join, supply_handed_over, heap_state, verify_handed_over,
      0 },
    { "supply, units are new", prepare_longer_file, join, supply_handed_over, heap_state,
      verify_handed_over, 0 },
    { "alloc 100 B", prepare_room, join_warm, alloc_small, heap_state, verify_got, LOSS },
    { "alloc 100 B, first slab", prepare_room, join, alloc_small, heap_state, verify_got, LOSS },
    { "alloc 100 B, others freed", NULL, enter_full_but_freed, alloc_small, heap_state, verify_got,
      LOSS },
    { "alloc 100 B, from the shelf", prepare_shelf, join, alloc_small, heap_state, verify_got,
      LOSS },
    { "alloc 100 KB", prepare_room, join, alloc_large, heap_state, verify_got, LOSS },
    { "alloc 100 KB, pages were gone", prepare_holes, join, alloc_large, heap_state, verify_got,
      LOSS },
    { "alloc 3 MiB, the file grows", prepare_room, join, alloc_growing, heap_state, verify_got,
      LOSS },
    { "calloc", prepare_room, join_warm, calloc_small, heap_state, verify_got, LOSS },
    { "strdup", prepare_room, join, strdup_text, heap_state, verify_got, LOSS },
    { "free of its own", NULL, enter_with_own, free_old, heap_state, verify_freed, 0 },
    { "free of another's", prepare_given, join, free_old, heap_state, verify_freed, 0 },
    { "free into a full slab", prepare_full, join, free_old, heap_state, verify_freed, 0 },
    { "free, a slab is pushed out", NULL, enter_with_many_partial, free_old, heap_state,
      verify_freed_among_many, 0 },
    { "free 100 KB", NULL, enter_with_own_large, free_old, heap_state, verify_freed, 0 },
    { "realloc", prepare_to_move, join, move, heap_state, verify_moved, LOSS },
    { "realloc to a run", prepare_to_move, join, move_to_large, heap_state, verify_moved, LOSS },
    { "trim", prepare_to_trim, join, trim, heap_state, verify_same, 0 },
    { "stats and check", prepare_to_trim, join, look, heap_state, verify_same, 0 },
    { "sweep of two dead", prepare_dead, join, sweep, heap_state, verify_swept, 0 },
    { NULL, NULL, NULL, NULL, NULL, NULL, 0 },
};

int main(int argc, char **argv)
{
    return kill_main(cases, argc, argv);
}
