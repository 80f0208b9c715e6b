// SPDX-License-Identifier: MIT
/*
 * bench_heap.c - the family's heap beside the C library's malloc.
 *
 *   heap.pair.64B  64 bytes, taken and given back at once
 *   heap.mix       a seeded mix of sizes, at most 4,096 blocks at a time, one process
 *   heap.two       the same mix twice at once, on two CPUs
 *   heap.remote    64 bytes taken here and given back there, over a ring
 *   heap.large     1 MiB, each page touched
 *
 * The comparison is not even: malloc's memory belongs to one process, its owner may be killed only
 * together with it, and it checks little. So where two are at work, kin's are processes and malloc's
 * are threads, which is the only way that malloc can share.
 *
 * But for the pair, both run the same loop over a struct of two functions. In the mix and over the
 * ring each block is written when it is taken and looked at before it is given back.
 */
#include "bench.h"
#include "peers/peer_ring.h"

#include <kin/kin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAIRS         1000000
#define SLOTS         4096u
#define STEPS         65536u
#define PASSES        8u
#define REMOTE_BLOCKS 1000000u
#define LARGE         ((size_t)1 << 20)
#define LARGE_BLOCKS  1000

struct allocator {
    void *(*take)(size_t size);
    void (*give)(void *block);
    enum bench_kind kind; /* how two of its users live side by side */
    void (*leave)(void);  /* what a process among them does at its end */
};

static void *kin_take(size_t size)
{
    void *block = kin_alloc(size);
    if (!block)
        bench_die("%s", kin_family_error());
    return block;
}

static void kin_give(void *block)
{
    if (kin_free(block) < 0)
        bench_die("%s", kin_family_error());
}

static void kin_leave(void)
{
    kin_fini();
}

static void *malloc_take(size_t size)
{
    void *block = malloc(size);
    if (!block)
        bench_die("malloc has no %zu bytes", size);
    return block;
}

static struct allocator of_kin = { kin_take, kin_give, BENCH_PROCESSES, kin_leave };
static struct allocator of_malloc = { malloc_take, free, BENCH_THREADS, NULL };

/* ---- One block, taken and given back ---- */

/* Both are called as a program calls them, through no pointer: here that would count. */
static void kin_pairs(void)
{
    for (int i = 0; i < PAIRS; i++) {
        void *block = kin_alloc(64);
        bench_keep(block);
        kin_free(block);
    }
}

static void malloc_pairs(void)
{
    for (int i = 0; i < PAIRS; i++) {
        void *block = malloc(64);
        bench_keep(block);
        free(block);
    }
}

static double pair_round(void *context)
{
    void (*pairs)(void) = context == &of_kin ? kin_pairs : malloc_pairs;
    int64_t begun = bench_now();
    pairs();
    return (double)(bench_now() - begun) / PAIRS;
}

static double large_round(void *context)
{
    const struct allocator *heap = context;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int64_t begun = bench_now();
    for (int i = 0; i < LARGE_BLOCKS; i++) {
        char *block = heap->take(LARGE);
        for (size_t offset = 0; offset < LARGE; offset += page)
            block[offset] = (char)i;
        bench_keep(block);
        heap->give(block);
    }
    return (double)(bench_now() - begun) / LARGE_BLOCKS;
}

/* ---- A mix of sizes ---- */

/* What both do: at each step a slot that is empty gets a block of this size, one that is not loses
 * its block. */
static struct step {
    uint32_t slot, size;
} steps[STEPS];

static uint32_t draw(uint64_t *seed, uint32_t from, uint32_t to)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return from + (uint32_t)(*seed >> 20) % (to - from + 1);
}

/* Three of four are small, as in most programs; one of fifty is beyond any size class. */
static uint32_t draw_size(uint64_t *seed)
{
    uint32_t kind = draw(seed, 0, 99);
    if (kind < 75)
        return draw(seed, 16, 128);
    if (kind < 93)
        return draw(seed, 129, 1024);
    if (kind < 98)
        return draw(seed, 1025, 8192);
    return draw(seed, 8193, 65536);
}

static void draw_steps(void)
{
    uint64_t seed = 0x6b696e;
    for (uint32_t i = 0; i < STEPS; i++)
        steps[i] = (struct step) { draw(&seed, 0, SLOTS - 1), draw_size(&seed) };
}

static void give_slot(const struct allocator *heap, uint32_t **slots, uint32_t slot)
{
    if (*slots[slot] != slot)
        bench_die("the block in slot %u has another's bytes", slot);
    heap->give(slots[slot]);
    slots[slot] = NULL;
}

static void mix(const struct allocator *heap, uint32_t **slots, uint32_t passes)
{
    for (uint32_t pass = 0; pass < passes; pass++)
        for (uint32_t i = 0; i < STEPS; i++) {
            uint32_t slot = steps[i].slot;
            if (slots[slot]) {
                give_slot(heap, slots, slot);
            } else {
                slots[slot] = heap->take(steps[i].size);
                *slots[slot] = slot;
            }
        }
}

static double mix_round(void *context)
{
    static uint32_t *of_all[2][SLOTS];
    uint32_t **slots = of_all[context == &of_kin];
    int64_t begun = bench_now();
    mix(context, slots, PASSES);
    return (double)(bench_now() - begun) / (STEPS * PASSES);
}

/* ---- Two at once ---- */

static void mix_worker(int which, struct bench_gate *gate, void *context)
{
    static uint32_t *of_all[2][SLOTS];
    uint32_t **slots = of_all[which];
    mix(context, slots, 2);
    bench_pass(gate);
    mix(context, slots, PASSES);
    bench_done(gate);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (slots[slot])
            give_slot(context, slots, slot);
}

static double two_round(void *context)
{
    struct allocator *heap = context;
    double elapsed = bench_pair(&(struct bench_pair) { heap->kind, mix_worker, heap->leave, heap });
    return 2.0 * STEPS * PASSES / (elapsed / 1e9);
}

static struct peer_ring *ring;

static void produce(const struct allocator *heap, uint32_t blocks)
{
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t *block = heap->take(64);
        *block = i;
        peer_ring_put(ring, block);
    }
}

static void consume(const struct allocator *heap, uint32_t blocks)
{
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t *block = peer_ring_get(ring);
        if (*block != i)
            bench_die("block %u came with the bytes of %u", i, *block);
        heap->give(block);
    }
}

static void remote_worker(int which, struct bench_gate *gate, void *context)
{
    void (*work)(const struct allocator *, uint32_t) = which ? consume : produce;
    work(context, REMOTE_BLOCKS / 8);
    bench_pass(gate);
    work(context, REMOTE_BLOCKS);
    bench_done(gate);
}

static double remote_round(void *context)
{
    struct allocator *heap = context;
    memset(ring, 0, sizeof *ring);
    double elapsed =
        bench_pair(&(struct bench_pair) { heap->kind, remote_worker, heap->leave, heap });
    return REMOTE_BLOCKS / (elapsed / 1e9);
}

/* ---- All of them ---- */

static void measure(const char *name, const char *unit, enum bench_better better,
                    double (*round)(void *))
{
    const struct bench_side sides[] = {
        { "kin", round, &of_kin },
        { "malloc", round, &of_malloc },
        { 0 },
    };
    bench_measure(&(struct bench) { name, unit, better, sides });
}

int main(int argc, char **argv)
{
    if (kin_init(&argc, &argv, NULL) < 0)
        bench_die("%s", kin_family_error());
    draw_steps();
    ring = bench_shared(sizeof *ring);
    bench_pin(0);
    measure("heap.pair.64B", "ns", BENCH_LESS_IS_BETTER, pair_round);
    measure("heap.mix", "ns", BENCH_LESS_IS_BETTER, mix_round);
    measure("heap.two", "operations/s", BENCH_MORE_IS_BETTER, two_round);
    measure("heap.remote", "blocks/s", BENCH_MORE_IS_BETTER, remote_round);
    measure("heap.large", "ns", BENCH_LESS_IS_BETTER, large_round);
    if (kin_heap_check() < 0)
        bench_die("the heap is damaged: %s", kin_family_error());
    return 0;
}
