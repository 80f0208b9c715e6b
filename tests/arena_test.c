// SPDX-License-Identifier: MIT
/*
 * arena_test.c - the shared memory itself: one address for all, growth, shortage, and what others
 * (core dumps, mlockall, limits, a small or missing /dev/shm) do to it.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/system.h>
#include <fcntl.h>
#include <process/family.h>
#include <sched.h>
#include <shm/arena.h>
#include <shm/budget.h>
#include <shm/units.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MIB ((size_t)1 << 20)

static const char *own_path;
static char *given[2]; /* for the program that is executed: descriptor, pointer */

static void begin(void)
{
    CHECK(kin_init(NULL, NULL, NULL) == 0);
}

static int64_t file_bytes(void)
{
    struct stat status;
    CHECK(fstat(kn_process.fd, &status) == 0);
    return status.st_blocks * 512;
}

/* ---- The same address over exec ---- */

static void same_address_over_exec(void)
{
    begin();
    char *text = kin_strdup("from the root"), fd[20], pointer[30];
    /* Past the first area, so that the joiner sees leaves and runs made later. */
    CHECK(kin_free(kin_alloc(40 * MIB)) == 0);
    CHECK(fcntl(kn_process.fd, F_SETFD, 0) == 0);
    snprintf(fd, sizeof fd, "%d", kn_process.fd);
    snprintf(pointer, sizeof pointer, "%p", (void *)text);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            execl(own_path, own_path, "--joined", fd, pointer, (char *)NULL);
            _exit(127);
        }
        CHECK_EQUAL(reap(pid), 0);
        CHECK(strcmp(text, "from the child") == 0);
        strcpy(text, "from the root");
    }
    CHECK(kin_free(text) == 0);
    CHECK(kin_heap_check() == 0);
    CHECK_EQUAL(kin_family_size(), 1);
}

/* The executed program: joins by the descriptor, follows a pointer that it was told. */
static void joined(void)
{
    char *text = (char *)strtoull(given[1], NULL, 16);
    CHECK(kn_family_join(atoi(given[0])) == 0);
    CHECK(strcmp(text, "from the root") == 0);
    strcpy(text, "from the child");
    for (int i = 0; i < 1000; i++)
        CHECK(kin_free(kin_alloc((size_t)i * 100)) == 0);
    CHECK_EQUAL(kin_family_size(), 2);
}

/* ---- A joiner that must be refused ---- */

static void refuses_what_is_no_arena(void)
{
    int fd = memfd_create("other", 0);
    CHECK(ftruncate(fd, 1 << 20) == 0);
    CHECK_EQUAL(kn_family_join(fd), -EBADMSG);
    CHECK_EQUAL(kn_family_join(open("/dev/null", O_RDWR)), -EBADMSG);
    fd = memfd_create("empty", 0);
    CHECK_EQUAL(kn_family_join(fd), -EBADMSG);
    CHECK(strstr(kin_family_error(), "not the arena"));
}

static void refuses_other_layouts(void)
{
    begin();
    int fd = dup(kn_process.fd);
    struct kn_header *header = kn_process.header;
    uint64_t *fields[] = { &header->magic, &header->layout_hash, &header->pid_namespace,
                           &header->size };
    int errors[] = { -EBADMSG, -ENOTSUP, -ENOTSUP, -EBADMSG };
    for (int i = 0; i < 4; i++) {
        uint64_t before = *fields[i];
        *fields[i] += 1;
        CHECK_EQUAL(kn_arena_attach(dup(fd)), errors[i]);
        *fields[i] = before;
    }
    /* Already mapped: its address is taken. */
    CHECK_EQUAL(kn_arena_attach(dup(fd)), -EADDRINUSE);
    CHECK(strstr(kin_family_error(), "something else is mapped"));
}

/* ---- Growth and shortage ---- */

static void grows_in_steps(void)
{
    begin();
    CHECK(file_bytes() <= (int64_t)KN_FIRST_COMMIT);
    char *block = kin_alloc(10 * MIB);
    CHECK(block && file_bytes() >= (int64_t)(10 * MIB) && file_bytes() < (int64_t)(15 * MIB));
    memset(block, 1, 10 * MIB);
    struct stat status;
    CHECK(fstat(kn_process.fd, &status) == 0);
    CHECK_EQUAL((uint64_t)status.st_size, atomic_load(&kn_process.header->file_end));
}

static void is_sealed(void)
{
    begin();
    CHECK(ftruncate(kn_process.fd, 0) < 0 && errno == EPERM);
    CHECK(fcntl(kn_process.fd, F_GETFD) & FD_CLOEXEC);
}

static void full_arena(void)
{
    kin_error error = { 0, "" };
    CHECK(kin_init(NULL, NULL, &(kin_options) { .error = &error, .arena_size = 64 << 20 }) == 0);
    int blocks = 0;
    errno = 0;
    while (kin_alloc(MIB))
        blocks++;
    CHECK(errno == ENOMEM && blocks > 50);
    CHECK(strstr(kin_family_error(), "arena is full"));
    CHECK(strstr(kin_family_error(), "64 MiB"));
    /* Small blocks still come from what is free. */
    CHECK(kin_alloc(100) != NULL);
    CHECK(kin_heap_check() == 0);
}

static void bad_options(void)
{
    kin_error error = { 0, "" };
    CHECK_EQUAL(kin_init(NULL, NULL, &(kin_options) { .error = &error, .arena_size = 5 }), -EINVAL);
    CHECK(error.code == -EINVAL && strstr(error.text, "size must be"));
    CHECK_EQUAL(kin_init(NULL, NULL, &(kin_options) { .reserved = { 1 } }), -EINVAL);
    static const char *const nonsense[] = { "much", "0.5",  "0",   "-1",    "nan", "inf",
                                            "64MB", "64 M", "31M", "4097G", "G",   "1e30" };
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        char quoted[40];
        snprintf(quoted, sizeof quoted, "'%s'", nonsense[i]);
        setenv("KIN_ARENA_SIZE", nonsense[i], 1);
        CHECK_EQUAL(kin_init(NULL, NULL, &(kin_options) { .error = &error }), -EINVAL);
        CHECK(strstr(error.text, quoted) || strstr(error.text, "size must be"));
    }
    setenv("KIN_ARENA_SIZE", "much", 1);
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), -EINVAL);
    CHECK(strstr(kin_family_error(), "KIN_ARENA_SIZE is 'much'"));
    setenv("KIN_ARENA_SIZE", "1.5G", 1);
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), 0);
    CHECK_EQUAL(kn_process.header->size, 1536 * MIB);
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), 0);
}

/* What a call that succeeds met on its way is nobody's business. */
static void errno_is_kept(void)
{
    static const char *const sizes[] = { "", "256M", "1.5G" };
    for (int i = 0; i < 3; i++) {
        setenv("KIN_ARENA_SIZE", sizes[i], 1);
        for (int again = 0; again < 2; again++) {
            errno = 0x1234;
            int answer = kin_init(NULL, NULL, NULL), after = errno;
            CHECK_EQUAL(answer, 0);
            CHECK_EQUAL(after, 0x1234);
        }
        CHECK_EQUAL(kin_fini(), 0);
    }
}

/* Can this process have so much address space in one piece? */
static int address_space_has(size_t bytes)
{
    void *there = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return there != MAP_FAILED && munmap(there, bytes) == 0;
}

static void use_and_check(int number)
{
    char *small = kin_alloc(100), *large = kin_alloc(20 * MIB);
    CHECK(small && large);
    memset(small, number, 100);
    memset(large, number, 20 * MIB);
    CHECK_EQUAL(kin_heap_check(), 0);
    CHECK(kin_free(small) == 0 && kin_free(large) == 0);
    CHECK_EQUAL(kin_heap_check(), 0);
}

static void large_arena(int gib)
{
    char text[20];
    uint64_t size = (uint64_t)gib << 30;
    snprintf(text, sizeof text, "%dG", gib);
    setenv("KIN_ARENA_SIZE", text, 1);
    int there = address_space_has(size), answer = kin_init(NULL, NULL, NULL);
    if (answer == -ENOMEM && (!there || KIN_TEST_ASAN)) {
        CHECK(strstr(kin_family_error(), "the arena"));
        not_shown("the address space is too short for %s", text);
        return;
    }
    CHECK_EQUAL(answer, 0);
    CHECK_EQUAL(kn_process.header->size, size);
    use_and_check(1);
    CHECK_EQUAL(reap(fork_worker(use_and_check, 2)), 0);
    CHECK(file_bytes() < (int64_t)(256 * MIB));
}

/* The tables of so large an arena are larger than all that a small one begins with. */
static void largest_arena(void)
{
    CHECK_EQUAL(reap(fork_worker(large_arena, 800)), 0);
    CHECK_EQUAL(reap(fork_worker(large_arena, 4096)), 0);
}

static void set_limit(int what, rlim_t bytes)
{
    struct rlimit limit = { bytes, bytes };
    CHECK(setrlimit(what, &limit) == 0);
}

static void file_size_limit(void)
{
    begin();
    set_limit(RLIMIT_FSIZE, 20 * MIB);
    int blocks = 0;
    while (kin_alloc(MIB))
        blocks++;
    CHECK(blocks > 10 && blocks < 20);
    CHECK(strstr(kin_family_error(), "RLIMIT_FSIZE"));
    CHECK(kin_heap_check() == 0);
}

/*
 * Free memory that was given back cannot be had again, and other free memory is there: it is taken.
 * What was given back is filled again below the file's end, which no limit of the file concerns.
 */
static void what_is_there_is_used(void)
{
    begin();
    char *given_back = kin_alloc(3 * MIB), *between = kin_alloc(100000);
    char *there = kin_alloc(64 * MIB), *behind = kin_alloc(100000);
    CHECK(given_back && between && there && behind);
    CHECK(kin_free(given_back) == 0);
    CHECK(kin_heap_trim() > 0);
    CHECK(kin_free(there) == 0);
    set_limit(RLIMIT_FSIZE, MIB);
    CHECK(kin_alloc(3 * MIB) != NULL);
    kn_fault = (struct kn_fault) {
        .call = KN_FALLOCATE, .error = ENOSPC, .nth = 1, .times = INT32_MAX, .counting = 1
    };
    CHECK(kin_alloc(3 * MIB) != NULL);
    CHECK(kin_alloc(40 * MIB) != NULL);
    kn_fault.counting = 0;
    CHECK(kin_heap_check() == 0);
}

/* The one run that is long enough stands behind many that are a little too short. */
static void the_whole_bin_is_searched(void)
{
    enum { UNIT = 16384, SHORT_ONES = 70 };
    kin_options options = { .arena_size = 64 * MIB };
    CHECK_EQUAL(kin_init(NULL, NULL, &options), 0);
    char *longest = kin_alloc(19 * UNIT), *shorter[SHORT_ONES];
    CHECK(longest && kin_alloc(3 * UNIT));
    for (int i = 0; i < SHORT_ONES; i++)
        CHECK((shorter[i] = kin_alloc(16 * UNIT)) && kin_alloc(3 * UNIT));
    for (size_t size = 8 * MIB; size >= 3 * UNIT; size /= 2)
        while (kin_alloc(size)) {
        }
    CHECK(kin_free(longest) == 0);
    for (int i = 0; i < SHORT_ONES; i++)
        CHECK(kin_free(shorter[i]) == 0);
    CHECK(kin_alloc(19 * UNIT) == longest);
}

/* Without a descriptor nobody knows how much memory there is: no growth, and words. */
static void no_descriptor_to_look(void)
{
    begin();
    CHECK(kin_alloc(10) != NULL);
    struct rlimit many, few = { 3, 3 };
    CHECK(getrlimit(RLIMIT_NOFILE, &many) == 0);
    few.rlim_max = many.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    int64_t more = 0;
    while (more < 200 && kin_alloc(MIB))
        more++;
    CHECK(more < 200); /* what was looked at before may last a while */
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(strstr(kin_family_error(), "descriptors"));
    CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
    CHECK(kin_alloc(MIB) != NULL);
}

/* Signals that come faster than memory can be taken do not keep it from being taken. */
static void count_signal(int number)
{
    (void)number;
}

static void signals_all_the_time(void)
{
    begin();
    CHECK(kin_alloc(10) != NULL);
    signal(SIGUSR1, count_signal);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    struct itimerspec often = { { 0, 50000 }, { 0, 50000 } };
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    CHECK(kin_alloc(100 * MIB) != NULL);
    CHECK(timer_delete(timer) == 0);
}

static void file_size_limit_at_start(void)
{
    set_limit(RLIMIT_FSIZE, 1000);
    int before = open_descriptors();
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), -ENOMEM);
    CHECK(strstr(kin_family_error(), "RLIMIT_FSIZE"));
    CHECK_EQUAL(open_descriptors(), before);
}

static int asan_in_the_way(void)
{
    if (KIN_TEST_ASAN)
        not_shown("AddressSanitizer takes terabytes of address space, and writes no core");
    return KIN_TEST_ASAN;
}

static void address_space_limit(void)
{
    if (asan_in_the_way())
        return;
    /* The last of the arena's places is taken: that is not the reason why the others are refused. */
    (void)mmap((void *)(uintptr_t)0x7000000000, 4096, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    set_limit(RLIMIT_AS, 5 * (rlim_t)1024 * MIB);
    begin(); /* by default a smaller reservation does */
    CHECK(kn_process.header->size >= 1024 * MIB && kn_process.header->size < 5 * 1024 * MIB);
}

static void address_space_too_small(void)
{
    if (asan_in_the_way())
        return;
    set_limit(RLIMIT_AS, 500 * MIB);
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), -ENOMEM);
    CHECK(strstr(kin_family_error(), "RLIMIT_AS is 500 MiB"));
}

static void asked_size_is_not_halved(void)
{
    if (asan_in_the_way())
        return;
    set_limit(RLIMIT_AS, 5 * (rlim_t)1024 * MIB);
    CHECK_EQUAL(kin_init(NULL, NULL, &(kin_options) { .arena_size = 8 * (int64_t)1024 << 20 }),
                -ENOMEM);
    CHECK(strstr(kin_family_error(), "RLIMIT_AS"));
}

static void no_descriptor_left(void)
{
    set_limit(RLIMIT_NOFILE, 3);
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), -EMFILE);
    CHECK(strstr(kin_family_error(), "no file descriptor left"));
}

/* ---- A memory cgroup: refused with figures, not killed ---- */

static const char *const group_roots[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup" };

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    long n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        close(fd);
    return n > 0 ? 0 : -1;
}

/* A group with 64 MiB for this process, as its own child. 0, or -1: not to be had here. */
static int enter_group(void)
{
    char path[160], text[30];
    for (int version = 1; version <= 2; version++) {
        const char *root = group_roots[version - 1];
        snprintf(path, sizeof path, "%s/kin-test-%d", root, getpid());
        if (mkdir(path, 0755) < 0)
            continue;
        char *end = path + strlen(path);
        strcpy(end, version == 1 ? "/memory.limit_in_bytes" : "/memory.max");
        if (write_text(path, "67108864") == 0) {
            strcpy(end, "/cgroup.procs");
            snprintf(text, sizeof text, "%d", getpid());
            if (write_text(path, text) == 0)
                return 0;
        }
        *end = '\0';
        rmdir(path);
    }
    return -1;
}

static void leave_group(pid_t pid)
{
    char path[160];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/kin-test-%d", group_roots[i], pid);
        rmdir(path);
    }
}

static void fill_group(void)
{
    if (enter_group() < 0)
        _exit(SKIPPED);
    begin();
    int blocks = 0;
    char *block;
    while ((block = kin_alloc(MIB))) {
        memset(block, 1, MIB);
        blocks++;
    }
    CHECK(blocks > 10 && blocks < 64);
    CHECK(strstr(kin_family_error(), "kin-test-"));
    CHECK(strstr(kin_family_error(), "MiB left"));
    CHECK(kin_heap_check() == 0);
}

static void memory_group(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fill_group();
        _exit(0);
    }
    int status = reap(pid);
    leave_group(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        not_shown("no memory control group can be made here");
        return;
    }
    CHECK_EQUAL(status, 0);
}

/* ---- What others do to it ---- */

static void without_dev_shm(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        not_shown("no mount namespace");
        return;
    }
    begin();
    CHECK(kin_fini() == 0);
    if (mount("none", "/dev/shm", "tmpfs", 0, "size=64k") == 0) {
        begin();
        char *block = kin_alloc(100 * MIB);
        CHECK(block != NULL);
        memset(block, 1, 100 * MIB);
        CHECK(kin_fini() == 0);
        CHECK(umount("/dev/shm") == 0);
    } else {
        not_shown("a small /dev/shm: %s", strerror(errno));
    }
    if (mount("none", "/dev", "tmpfs", 0, "size=64k") == 0) {
        begin(); /* no /dev/shm at all */
        CHECK(kin_alloc(100) != NULL);
    } else {
        not_shown("no /dev/shm: %s", strerror(errno));
    }
}

/*
 * Memory that is reserved must not count where the kernel gives out no more than there is. The
 * setting holds for the whole machine, so only a machine that is the test's own is asked.
 */
static void strict_overcommit(void)
{
    static const char setting[] = "/proc/sys/vm/overcommit_memory";
    if (!getenv("KIN_TEST_OWN_MACHINE")) {
        not_shown("it would change the whole machine");
        return;
    }
    CHECK(write_text(setting, "2") == 0);
    begin();
    char *block = kin_alloc(100 * MIB);
    CHECK(block != NULL);
    memset(block, 1, 100 * MIB);
    CHECK(kin_free(block) == 0);
    CHECK(kin_fini() == 0);
    CHECK(write_text(setting, "0") == 0);
}

/* Boards with an address space of 39 bits must find a place for the arena, too. */
static void within_39_bits(void)
{
    if (asan_in_the_way())
        return;
    begin();
    CHECK(kn_process.header->base + kn_process.header->size <= (uint64_t)1 << 39);
    /* The same with the first places taken. */
    CHECK(kin_fini() == 0);
    for (uint64_t taken = 0x2000000000; taken <= 0x6000000000; taken += 0x1000000000)
        CHECK(mmap((void *)(uintptr_t)taken, 4096, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    begin();
    CHECK(kn_process.header->base + kn_process.header->size <= (uint64_t)1 << 39);
}

static void locked_memory(void)
{
    setenv("KIN_ARENA_SIZE", "256M", 1);
    begin();
    int64_t before = file_bytes();
    if (mlockall(MCL_CURRENT) < 0) {
        not_shown("mlockall is not allowed");
        return;
    }
    CHECK_EQUAL(file_bytes(), before);
    munlockall();
}

static uint64_t touched; /* offset into the arena */

/* Whatever handler a sanitizer has for it: the plain signal is to be seen. */
static void write_there(void)
{
    signal(SIGBUS, SIG_DFL);
    set_limit(RLIMIT_CORE, 0);
    ((volatile char *)kn_process.header)[touched] = 1;
}

static void read_there(void)
{
    signal(SIGBUS, SIG_DFL);
    set_limit(RLIMIT_CORE, 0);
    (void)((volatile char *)kn_process.header)[touched];
}

/* Up to the file's end memory is there; behind it a touch fills no hole, and is a SIGBUS. */
static void touch_beyond(void)
{
    begin();
    uint64_t end = atomic_load(&kn_process.header->file_end);
    const uint64_t places[] = { end, (end + kn_process.header->size) / 2,
                                kn_process.header->size - 1 };
    int64_t before = file_bytes();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        touched = places[i];
        CHECK_EQUAL(WTERMSIG(in_child(write_there)), SIGBUS);
        CHECK_EQUAL(WTERMSIG(in_child(read_there)), SIGBUS);
    }
    touched = end - 1;
    CHECK_EQUAL(in_child(read_there), 0);
    CHECK_EQUAL(file_bytes(), before);
    CHECK(kin_free(kin_alloc(100)) == 0);
}

/* The core of a member: small, and nothing of the arena was filled by writing it. */
static void core_dump(void)
{
    char directory[] = "/tmp/kin-core-XXXXXX", pattern[128] = "";
    if (asan_in_the_way())
        return;
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "r");
    CHECK(file != NULL && fgets(pattern, sizeof pattern, file) != NULL);
    fclose(file);
    pattern[strcspn(pattern, "\n")] = '\0';
    if (pattern[0] == '|' || strchr(pattern, '/')) {
        not_shown("the core pattern is %s", pattern);
        return;
    }
    CHECK(mkdtemp(directory) != NULL && chdir(directory) == 0);
    begin();
    char *block = kin_alloc(100 * MIB);
    memset(block, 1, 100 * MIB);
    int64_t before = file_bytes();
    pid_t pid = fork();
    if (pid == 0) {
        set_limit(RLIMIT_CORE, RLIM_INFINITY);
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        CHECK(kin_alloc(100) != NULL);
        abort();
    }
    int status = reap(pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQUAL(file_bytes(), before);
    if (WCOREDUMP(status)) {
        struct stat core;
        char name[64] = "core";
        if (stat(name, &core) < 0) {
            snprintf(name, sizeof name, "core.%d", pid);
            CHECK(stat(name, &core) == 0);
        }
        printf("    a core of %lld KiB\n", (long long)core.st_size / 1024);
        CHECK((long long)core.st_blocks * 512 < 2 * (long long)MIB);
        unlink(name);
    } else {
        not_shown("the system wrote no core");
    }
    CHECK(chdir("/") == 0 && rmdir(directory) == 0);
    CHECK_EQUAL(kin_family_size(), 1);
}

static const struct test_case cases[] = {
    { "the same address over exec", same_address_over_exec },
    { "refuses what is no arena", refuses_what_is_no_arena },
    { "refuses other layouts", refuses_other_layouts },
    { "grows in steps", grows_in_steps },
    { "is sealed", is_sealed },
    { "a full arena", full_arena },
    { "bad options", bad_options },
    { "errno is kept", errno_is_kept },
    { "the largest arena", largest_arena },
    { "file size limit", file_size_limit },
    { "file size limit at start", file_size_limit_at_start },
    { "address space limit", address_space_limit },
    { "address space too small", address_space_too_small },
    { "asked size is not halved", asked_size_is_not_halved },
    { "what is there is used", what_is_there_is_used },
    { "the whole bin is searched", the_whole_bin_is_searched },
    { "no descriptor to look", no_descriptor_to_look },
    { "signals all the time", signals_all_the_time },
    { "no descriptor left", no_descriptor_left },
    { "memory group", memory_group },
    { "without /dev/shm", without_dev_shm },
    { "strict overcommit", strict_overcommit },
    { "within 39 bits", within_39_bits },
    { "locked memory", locked_memory },
    { "touch beyond the end", touch_beyond },
    { "core dump", core_dump },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    static char path[4096];
    CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    own_path = path;
    if (argc == 4 && strcmp(argv[1], "--joined") == 0) {
        given[0] = argv[2];
        given[1] = argv[3];
        joined();
        return 0;
    }
    run_apart(cases, argc, argv);
    return 0;
}
