// SPDX-License-Identifier: MIT
/*
 * arena.c - making, mapping and growing the shared memory of a family.
 *
 * The arena is a memfd, sealed against shrinking, and mapped whole at birth: address space is
 * reserved for 64 GiB or so, and the file behind it is only as long as what is committed. A memfd
 * mapping counts as shared memory, in which a core dump, mlockall and a stray read fill every
 * hole; behind the end of the file there is nothing to fill. fallocate(fd, 0, end, n) allocates
 * and moves the end in one call, and all mappings see it. Memory that is committed is there: no
 * touch of it can raise SIGBUS.
 *
 * The base is one of a few addresses that nothing else uses, tried in order; what stands in the
 * header then holds for every member. The sanitizers keep most of the address space for
 * themselves, each another part; valgrind ignores MAP_FIXED_NOREPLACE, so the answer is compared.
 *
 * The range is left out of core dumps but for the header, which tells a debugger the rest
 * (scripts/kin-gdb.py).
 *
 * Sudden death: the file has no name, so nothing is left when the last member is gone. A member
 * killed while it grows the file: the length in the header follows the file, never leads it (A2);
 * the next one allocates the same range again, which changes nothing.
 */
#include <shm/arena.h>

#include <base/error.h>
#include <base/procfs.h>
#include <base/system.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <shm/budget.h>
#include <shm/lock.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS   1033
#define F_GET_SEALS   1034
#define F_SEAL_SEAL   0x0001
#define F_SEAL_SHRINK 0x0002
#endif

#define GIB             ((uint64_t)1 << 30)
#define DEFAULT_SIZE    (64 * GIB)
#define SMALLEST_SIZE   GIB           /* how far a root halves what it did not get */
#define SMALLEST_WANTED (2 * KN_AREA) /* how little one may ask for */
#define LARGEST_WANTED  (4096 * GIB)

static volatile uint32_t no_family = KN_NO_FAMILY;

struct kn_process kn_process = { .fd = -1, .member = -1, .generation = &no_family };
KN_THREAD_LOCAL struct kn_thread kn_thread = { .generation = KN_NO_GENERATION };

/* The sanitizers' own entry points: there when their runtime is in this process. */
void __asan_init(void) __attribute__((weak));
void __msan_init(void) __attribute__((weak));

static const uint64_t plain_bases[] = { 0x2000000000,
                                        0x3000000000,
                                        0x4000000000,
                                        0x5000000000,
                                        0x6000000000,
                                        0x7000000000,
#if defined(__aarch64__)
                                        0x1000000000,
#endif
                                        0 };
#if defined(__aarch64__)
static const uint64_t sanitized_bases[] = { 0x400000000000, 0x3000000000, 0 };
#else
static const uint64_t sanitized_bases[] = { 0x510000000000, 0x570000000000, 0x520000000000,
                                            0x530000000000, 0x540000000000, 0 };
#endif

static const uint64_t *bases(void)
{
    return __asan_init || __msan_init ? sanitized_bases : plain_bases;
}

uint64_t kn_layout_hash(void)
{
    static const uint64_t facts[] = {
        KN_LAYOUT_VERSION,
        KN_UNIT_SHIFT,
        KN_CLASSES,
        sizeof(struct kn_header),
        sizeof(struct kn_participant),
        sizeof(struct kn_leaf),
        KN_SLAB_BYTES,
        KN_MEMBER_BYTES,
        KN_PARTICIPANTS_IN_CHUNK,
        KN_MEMBERS_IN_CHUNK,
        sizeof(pthread_mutex_t),
        offsetof(struct kn_header, heap),
        offsetof(struct kn_header, participants),
        offsetof(struct kn_participant, intent),
    };
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < KN_ARRAY_LENGTH(facts); i++)
        hash = (hash ^ facts[i]) * 0x100000001b3u;
    return hash;
}

/* Maps size bytes at base exactly. 0; -EEXIST: not to be had there; another -errno: not at all. */
static int map_at(int fd, uint64_t base, uint64_t size)
{
    long answer = KN_SYSTEM_6(KN_MMAP, base, size, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
    if ((uint64_t)answer == base)
        return 0;
    if (answer < 0 && answer > -4096)
        return (int)answer;
    KN_SYSTEM_2(KN_MUNMAP, answer, size);
    return -EEXIST;
}

/* 0; -EEXIST if every place is taken; else what was wrong otherwise at one of them. */
static int map_somewhere(int fd, uint64_t size, uint64_t *base)
{
    int worst = -EEXIST;
    for (const uint64_t *candidate = bases(); *candidate; candidate++) {
        int error = map_at(fd, *candidate, size);
        *base = *candidate;
        if (error == 0)
            return 0;
        if (error != -EEXIST)
            worst = error;
    }
    return worst;
}

/* Maps the range, halving it where the address space is short. Returns 0 or a failure in words. */
static int map_range(int fd, uint64_t *size, uint64_t *base)
{
    uint64_t wanted = *size;
    for (;;) {
        int error = map_somewhere(fd, *size, base);
        if (error == 0)
            return 0;
        if (error == -ENOMEM && *size / 2 >= SMALLEST_SIZE) {
            *size = *size / 2 / KN_AREA * KN_AREA;
            continue;
        }
        struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
        KN_SYSTEM_4(KN_PRLIMIT, 0, RLIMIT_AS, NULL, &limit);
        if (error == -ENOMEM && limit.rlim_cur != RLIM_INFINITY)
            return kn_fail(-ENOMEM,
                           "cannot reserve %llu MiB of address space for the arena: RLIMIT_AS is "
                           "%llu MiB; raise it (ulimit -v) or set KIN_ARENA_SIZE",
                           (unsigned long long)(*size >> 20),
                           (unsigned long long)(limit.rlim_cur >> 20));
        if (error == -EEXIST)
            return kn_fail(-ENOMEM,
                           "cannot map the arena (%llu MiB): something else is at each of its "
                           "addresses, from 0x%llx on; set a smaller KIN_ARENA_SIZE",
                           (unsigned long long)(wanted >> 20), (unsigned long long)bases()[0]);
        return kn_fail(error, "cannot map the arena (%llu MiB): %s",
                       (unsigned long long)(*size >> 20), strerror(-error));
    }
}

/*
 * Allocates [offset, offset + length) of the file, moving its end if need be. Too long a file would
 * raise SIGXFSZ beside the error: the budget checked the limit, but it may change meanwhile, so
 * the signal is held and swallowed. All others are held as well: any that is pending makes the
 * kernel undo what it did so far, and a fast timer would never let it come to an end.
 */
static int allocate(int fd, uint64_t offset, uint64_t length)
{
    uint64_t size_signal = (uint64_t)1 << (SIGXFSZ - 1), all = UINT64_MAX, before = 0;
    KN_SYSTEM_4(KN_SIGPROCMASK, SIG_SETMASK, &all, &before, sizeof all);
    long answer;
    do
        answer = KN_SYSTEM_4(KN_FALLOCATE, fd, 0, offset, length);
    while (answer == -EINTR);
    if (answer == -EFBIG && !(before & size_signal)) {
        static const struct timespec now = { 0, 0 };
        KN_SYSTEM_4(KN_SIGTIMEDWAIT, &size_signal, NULL, &now, sizeof size_signal);
    }
    KN_SYSTEM_4(KN_SIGPROCMASK, SIG_SETMASK, &before, NULL, sizeof before);
    if (answer < 0)
        return kn_fail(-ENOMEM,
                       "the system refused %llu KiB more for the arena, which has %llu MiB (%s): "
                       "free some memory, or raise the limit",
                       (unsigned long long)(length / 1024), (unsigned long long)(offset >> 20),
                       strerror((int)-answer));
    return 0;
}

/* The figure that the caller, or the environment, wants; 0 and -EINVAL with words. */
static int wanted_size(int64_t wanted, uint64_t *size, int *firm)
{
    const char *text = getenv("KIN_ARENA_SIZE");
    *firm = 1;
    if (wanted == 0 && text && *text) {
        char *end;
        int saved = errno;
        double number = strtod(text, &end);
        double unit = *end == '\0'                 ? 1
                      : *end == 'K' || *end == 'k' ? 1024.0
                      : *end == 'M' || *end == 'm' ? 1024.0 * 1024
                      : *end == 'G' || *end == 'g' ? 1024.0 * 1024 * 1024
                                                   : 0;
        errno = saved;
        if (end == text || unit == 0 || (*end && end[1]) ||
            !(number * unit >= 1 && number * unit < 1e18))
            return kn_fail(-EINVAL,
                           "KIN_ARENA_SIZE is '%.40s': write a number of bytes, or one with K, M "
                           "or G behind it",
                           text);
        wanted = (int64_t)(number * unit);
    }
    if (wanted == 0) {
        uint64_t memory = 2 * kn_machine_memory();
        *size = memory && memory < DEFAULT_SIZE ? memory : DEFAULT_SIZE;
        *size = KN_ROUND_UP(*size, KN_AREA);
        *firm = 0;
        return 0;
    }
    if (wanted < (int64_t)SMALLEST_WANTED || wanted > (int64_t)LARGEST_WANTED)
        return kn_fail(-EINVAL,
                       "an arena of %lld bytes: the size must be from %llu MiB to %llu GiB",
                       (long long)wanted, (unsigned long long)(SMALLEST_WANTED >> 20),
                       (unsigned long long)(LARGEST_WANTED / GIB));
    *size = KN_ROUND_UP((uint64_t)wanted, KN_AREA);
    return 0;
}

static int open_memfd(void)
{
    long fd = KN_SYSTEM_2(KN_MEMFD_CREATE, "kin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0)
        return (int)fd;
    if (fd == -EMFILE || fd == -ENFILE)
        return kn_fail((int)fd,
                       "no file descriptor left for the arena: raise the limit (ulimit -n)");
    return kn_fail((int)fd,
                   "memfd_create for the arena: %s; kin needs Linux 5.10 or later, and a "
                   "seccomp profile that allows it",
                   strerror((int)-fd));
}

/* Left out of core dumps, but for the header: small, and where a debugger begins. */
static void trim_dumps(uint64_t base, uint64_t size, uint64_t header_bytes)
{
    KN_SYSTEM_3(KN_MADVISE, base, size, MADV_DONTDUMP);
    KN_SYSTEM_3(KN_MADVISE, base, header_bytes, MADV_DODUMP);
}

static void adopt(uint64_t base, int fd)
{
    struct kn_header *header = (struct kn_header *)(uintptr_t)base;
    kn_process.header = header;
    kn_process.fd = fd;
    kn_process.mode = (enum kn_robust_mode)header->robust_mode;
    kn_process.futex_offset = header->futex_offset;
}

/* What an arena has at birth: its header and the first parts of the tables, whole 512 KiB. */
static uint64_t first_commit(uint64_t size)
{
    uint64_t tables = (1 + KN_PARTICIPANT_UNITS + KN_MEMBER_UNITS) * KN_UNIT;
    return KN_ROUND_UP(kn_header_bytes(size) + tables, KN_FIRST_COMMIT);
}

static void write_header(struct kn_header *header, uint64_t size, const struct kn_robust *robust)
{
    header->layout_version = KN_LAYOUT_VERSION;
    header->header_bytes = (uint32_t)kn_header_bytes(size);
    header->base = (uint64_t)(uintptr_t)header;
    header->size = size;
    header->layout_hash = kn_layout_hash();
    header->pid_namespace = kn_namespace("pid");
    header->time_namespace = kn_namespace("time");
    header->futex_offset = robust->futex_offset;
    header->robust_mode = robust->mode;
    header->root_pid = kn_getpid();
    header->root_start = kn_process_start(header->root_pid, NULL);
    header->areas = (uint32_t)(size / KN_AREA);
    atomic_store_explicit(&header->file_end, first_commit(size), memory_order_release);
    for (int i = 0; robust->mode == KN_ROBUST_MUTEX && i < KN_STRIPES; i++)
        (void)kn_robust_mutex(&header->stripe[i]);
}

int kn_arena_create(int64_t wanted, const struct kn_robust *robust)
{
    uint64_t size = 0, base = 0;
    int firm = 0;
    int error = wanted_size(wanted, &size, &firm);
    if (error)
        return error;
    int fd = open_memfd();
    if (fd < 0)
        return fd;
    uint64_t asked = size;
    error = map_range(fd, &size, &base);
    if (error == 0 && firm && size != asked) {
        KN_SYSTEM_2(KN_MUNMAP, base, size);
        error =
            kn_fail(-ENOMEM,
                    "cannot reserve the %llu MiB of address space that were asked for (%llu MiB "
                    "would do): raise RLIMIT_AS (ulimit -v), or ask for less",
                    (unsigned long long)(asked >> 20), (unsigned long long)(size >> 20));
    }
    if (error) {
        KN_SYSTEM_1(KN_CLOSE, fd);
        return error;
    }
    kn_budget_forget();
    error = kn_budget_allows(0, first_commit(size));
    if (error == 0)
        error = allocate(fd, 0, first_commit(size));
    if (error == 0) {
        long sealed = KN_SYSTEM_3(KN_FCNTL, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
        if (sealed < 0)
            error = kn_fail((int)sealed, "cannot seal the arena: %s", strerror((int)-sealed));
    }
    if (error) {
        KN_SYSTEM_2(KN_MUNMAP, base, size);
        KN_SYSTEM_1(KN_CLOSE, fd);
        return error;
    }
    trim_dumps(base, size, kn_header_bytes(size));
    write_header((struct kn_header *)(uintptr_t)base, size, robust);
    adopt(base, fd);
    return 0;
}

/* What one of the two could not find out cannot be held against this process. */
static int agree(uint64_t family, uint64_t here)
{
    return family == here || family == 0 || here == 0;
}

int kn_namespaces_agree(const struct kn_header *header)
{
    return agree(header->pid_namespace, kn_namespace("pid")) &&
           agree(header->time_namespace, kn_namespace("time"));
}

/* What a header must say for this process to trust the rest. */
static int check_header(const struct kn_header *header)
{
    if (header->magic != KN_MAGIC)
        return kn_fail(-EBADMSG, "this descriptor is not the arena of a kin family");
    if (header->layout_hash != kn_layout_hash())
        return kn_fail(-ENOTSUP,
                       "the family uses another build of kin (layout %016llx, here %016llx): link "
                       "all its programs with the same one",
                       (unsigned long long)header->layout_hash,
                       (unsigned long long)kn_layout_hash());
    if (!kn_namespaces_agree(header))
        return kn_fail(-ENOTSUP, "the family lives in another pid or time namespace: join it from "
                                 "inside");
    if (header->size % KN_AREA != 0 || header->header_bytes != kn_header_bytes(header->size))
        return kn_fail(-EBADMSG, "the arena's header is damaged");
    return 0;
}

/* Where a family's arena must be. */
struct whereabouts {
    uint64_t base, size, header_bytes;
};

/* Reads and checks the header through a small mapping of its own, anywhere. */
static int read_header(int fd, struct whereabouts *where)
{
    struct stat status;
    uint64_t bytes = sizeof(struct kn_header);
    long seals = KN_SYSTEM_2(KN_FCNTL, fd, F_GET_SEALS);
    if (KN_SYSTEM_2(KN_FSTAT, fd, &status) < 0 || status.st_size < (off_t)bytes || seals < 0 ||
        !(seals & F_SEAL_SHRINK))
        return kn_fail(-EBADMSG, "this descriptor is not the arena of a kin family");
    long answer = KN_SYSTEM_6(KN_MMAP, 0, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (answer < 0 && answer > -4096)
        return kn_fail((int)answer, "cannot map the arena's header: %s", strerror((int)-answer));
    const struct kn_header *header = (const struct kn_header *)answer;
    int error = check_header(header);
    *where = (struct whereabouts) { header->base, header->size, header->header_bytes };
    KN_SYSTEM_2(KN_MUNMAP, answer, bytes);
    return error;
}

static int attach(int fd)
{
    struct whereabouts where = { 0, 0, 0 };
    int error = read_header(fd, &where);
    if (error)
        return error;
    error = map_at(fd, where.base, where.size);
    if (error == -EEXIST)
        return kn_fail(-EADDRINUSE,
                       "something else is mapped at 0x%llx, where the family's arena must be",
                       (unsigned long long)where.base);
    if (error)
        return kn_fail(error, "cannot map the family's arena of %llu MiB at 0x%llx: %s",
                       (unsigned long long)(where.size >> 20), (unsigned long long)where.base,
                       strerror(-error));
    trim_dumps(where.base, where.size, where.header_bytes);
    adopt(where.base, fd);
    return 0;
}

int kn_arena_attach(int fd)
{
    int error = attach(fd);
    if (error)
        KN_SYSTEM_1(KN_CLOSE, fd);
    return error;
}

void kn_arena_undo(void)
{
    KN_SYSTEM_2(KN_MUNMAP, kn_process.header, kn_process.header->size);
    kn_arena_forget();
}

void kn_arena_forget(void)
{
    KN_SYSTEM_1(KN_CLOSE, kn_process.fd);
    kn_process.header = NULL;
    kn_process.fd = -1;
    kn_process.member = -1;
    kn_process.generation = &no_family;
}

int kn_arena_grow(struct kn_thread *t, uint64_t length)
{
    struct kn_header *header = kn_process.header;
    if (length > header->size)
        return kn_fail(-ENOMEM,
                       "the arena is full: %llu MiB were reserved and %llu MiB are needed; set "
                       "KIN_ARENA_SIZE to more",
                       (unsigned long long)(header->size >> 20),
                       (unsigned long long)(length >> 20));
    length = KN_ROUND_UP(length, KN_COMMIT_STEP);
    if (length > header->size)
        length = header->size;

    /* A holder that died left file_end behind the file at most (A2): nothing to repair. */
    int error = 0;
    for (;;) {
        (void)kn_lock_acquire(t, &header->grow_lock);
        uint64_t end = atomic_load_explicit(&header->file_end, memory_order_relaxed);
        if (end >= length)
            break;
        error = kn_budget_allows(end, length - end);
        uint64_t step = length - end < KN_COMMIT_STEP ? length - end : KN_COMMIT_STEP;
        if (error == 0 && !KN_PLANT("grow-length-first"))
            error = allocate(kn_process.fd, end, step);
        if (error)
            break;
        kn_assert("A2", atomic_load(&header->file_end) == end);
        kn_budget_spent(step);
        atomic_store_explicit(&header->file_end, end + step, memory_order_release);
        if (KN_PLANT("grow-length-first"))
            allocate(kn_process.fd, end, step);
        kn_lock_release(t, &header->grow_lock);
    }
    kn_lock_release(t, &header->grow_lock);
    return error;
}

int kn_arena_recommit(struct kn_thread *t, uint64_t offset, uint64_t length)
{
    int error = 0;
    kn_assert("A2", offset + length <= atomic_load(&kn_process.header->file_end));
    for (uint64_t done = 0; error == 0 && done < length; done += KN_COMMIT_STEP) {
        uint64_t step = length - done < KN_COMMIT_STEP ? length - done : KN_COMMIT_STEP;
        (void)kn_lock_acquire(t, &kn_process.header->grow_lock);
        error = kn_budget_allows(0, length - done);
        if (error == 0)
            error = allocate(kn_process.fd, offset + done, step);
        kn_budget_spent(step);
        kn_lock_release(t, &kn_process.header->grow_lock);
    }
    return error;
}

int kn_arena_punch(uint64_t offset, uint64_t length)
{
    kn_assert("A2", offset + length <= atomic_load(&kn_process.header->file_end));
    return (int)KN_SYSTEM_4(KN_FALLOCATE, kn_process.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            offset, length);
}
