// SPDX-License-Identifier: MIT
/*
 * budget.c - how much memory may still be committed.
 *
 * fallocate(2) on a memfd does not fail in a memory cgroup: the kernel kills the caller instead. So
 * kin asks first, and refuses with figures where the kernel would shoot. The least of: what the
 * process's memory cgroup and each of its ancestors have left (current use without the file cache
 * that can be dropped), MemAvailable, and RLIMIT_FSIZE; less a reserve. Beside other consumers in
 * the same group this is best effort: they may take between the question and the act what was
 * free at the question.
 *
 * Reading the files takes some 100 us, so the answer is kept, counted down, and read again at most
 * every 64 MiB or 100 ms.
 *
 * Who may call it: the holder of the arena's grow lock, or a process that is alone. The kept answer
 * is private to the process.
 */
#include <shm/budget.h>

#include <base/cgroup.h>
#include <base/clock.h>
#include <base/error.h>
#include <base/procfs.h>
#include <base/system.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB              ((uint64_t)1 << 20)
#define UNLIMITED        INT64_MAX
#define READ_AGAIN_BYTES (64 * MIB)
#define READ_AGAIN_TIME  KIN_MS(100)

/* What was read last; written by the holder of the grow lock only. */
static struct {
    int64_t left; /* bytes that may still be committed */
    int64_t used; /* bytes committed since it was read */
    int64_t read_at;
    int unread;     /* why the last reading is not the whole of it, or 0 */
    char limit[96]; /* whose limit it was: a control group's directory, or the machine */
} known;

static void tighten(int64_t left, const char *name)
{
    if (left >= known.left)
        return;
    known.left = left < 0 ? 0 : left;
    snprintf(known.limit, sizeof known.limit, "%.90s", name);
}

/*
 * What is not there sets no limit. But where it may be there and cannot be opened, for want of
 * descriptors or memory, nothing may be concluded.
 */
static void note_unread(long n)
{
    if (n == -EMFILE || n == -ENFILE || n == -ENOMEM)
        known.unread = (int)n;
}

static long ask(const char *path, char *text, size_t size)
{
    long n = kn_read_file(path, text, size);
    note_unread(n);
    return n;
}

static int64_t read_number(const char *directory, const char *file)
{
    char path[640], text[64];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    if (ask(path, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return -1;
    return strtoll(text, NULL, 10);
}

static int64_t read_statistic(const char *directory, const char *key)
{
    char path[640], text[4096];
    snprintf(path, sizeof path, "%s/memory.stat", directory);
    if (ask(path, text, sizeof text) <= 0)
        return 0;
    int64_t value = kn_number_after(text, key);
    return value < 0 ? 0 : value;
}

/* One group: what it has left. Version 1 and 2 name their files differently. */
static void ask_group(const char *directory, int version, void *unused)
{
    (void)unused;
    int64_t limit = read_number(directory, version == 2 ? "memory.max" : "memory.limit_in_bytes");
    int64_t current =
        read_number(directory, version == 2 ? "memory.current" : "memory.usage_in_bytes");
    if (limit < 0 || current < 0 || limit > (int64_t)1 << 60)
        return;
    int64_t cache =
        read_statistic(directory, version == 2 ? "inactive_file " : "total_inactive_file ");
    tighten(limit - current + cache, directory);
}

static void ask_machine(void)
{
    char text[2048];
    if (ask("/proc/meminfo", text, sizeof text) <= 0)
        return;
    int64_t available = kn_number_after(text, "MemAvailable:");
    int64_t swap = kn_number_after(text, "SwapFree:");
    if (available >= 0)
        tighten((available + (swap > 0 ? swap : 0)) * 1024, "the machine");
}

static void read_again(void)
{
    known.left = UNLIMITED;
    known.used = 0;
    known.read_at = kn_now();
    known.unread = 0;
    known.limit[0] = '\0';
    note_unread(kn_cgroup_walk("memory", ask_group, NULL));
    ask_machine();
}

/* What must stay free, so that others are not shot for our sake. */
static int64_t reserve_of(int64_t left)
{
    int64_t share = left / 50;
    return share > 16 * (int64_t)MIB ? share : 16 * (int64_t)MIB;
}

static int file_limit_allows(uint64_t length, uint64_t more)
{
    struct rlimit limit;
    if (KN_SYSTEM_4(KN_PRLIMIT, 0, RLIMIT_FSIZE, NULL, &limit) < 0)
        return 0;
    if (limit.rlim_cur == RLIM_INFINITY || length + more <= limit.rlim_cur)
        return 0;
    return kn_fail(-ENOMEM,
                   "the arena has %llu MiB and needs %llu KiB more, but RLIMIT_FSIZE is %llu KiB: "
                   "raise it (ulimit -f)",
                   (unsigned long long)(length / MIB), (unsigned long long)(more / 1024),
                   (unsigned long long)(limit.rlim_cur / 1024));
}

int kn_budget_allows(uint64_t length, uint64_t more)
{
    int error = file_limit_allows(length, more);
    if (error)
        return error;
    int64_t wanted = (int64_t)more;
    int stale =
        known.used > (int64_t)READ_AGAIN_BYTES || kn_now() - known.read_at > READ_AGAIN_TIME;
    if (known.read_at == 0 || stale || known.left - known.used - reserve_of(known.left) < wanted)
        read_again();
    if (known.unread) {
        known.read_at = 0;
        return kn_fail(-ENOMEM,
                       "the arena needs %llu KiB more, and how much memory there is cannot be read "
                       "(%s): free some descriptors, or raise the limit (ulimit -n)",
                       (unsigned long long)(more / 1024), strerror(-known.unread));
    }
    int64_t spendable = known.left - known.used - reserve_of(known.left);
    if (known.left != UNLIMITED && spendable < wanted)
        return kn_fail(
            -ENOMEM,
            "the arena has %llu MiB and needs %llu KiB more, but %s has %lld MiB left, of "
            "which %lld MiB stay in reserve: free some, or raise that limit",
            (unsigned long long)(length / MIB), (unsigned long long)(more / 1024), known.limit,
            (long long)(known.left - known.used) / (long long)MIB,
            (long long)reserve_of(known.left) / (long long)MIB);
    return 0;
}

void kn_budget_spent(uint64_t bytes)
{
    known.used += (int64_t)bytes;
}

void kn_budget_forget(void)
{
    known.read_at = 0;
}

uint64_t kn_machine_memory(void)
{
    char text[2048];
    if (kn_read_file("/proc/meminfo", text, sizeof text) <= 0)
        return 0;
    int64_t total = kn_number_after(text, "MemTotal:");
    int64_t swap = kn_number_after(text, "SwapTotal:");
    return total > 0 ? (uint64_t)(total + (swap > 0 ? swap : 0)) * 1024 : 0;
}
