// SPDX-License-Identifier: MIT
/*
 * trial_memory.c - rows of the self-test: the memory file, and the newer calls that kin can do without.
 *
 * What the arena stands on: a file without a name that can be sealed, and grows under mappings that
 * are there already.
 *
 * Sudden death: a tester that dies leaves a file without a name, which goes with it.
 */
#include <process/trial.h>

#include <base/clock.h>
#include <base/system.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS   1033
#define F_SEAL_SEAL   0x0001
#define F_SEAL_SHRINK 0x0002
#endif

#define FUTEX_U32 2 /* FUTEX_32, which older kernel headers do not name */

/* ---- The memory file ---- */

static int open_memfd(struct kn_trial *t)
{
    long fd = KN_SYSTEM_2(KN_MEMFD_CREATE, "kin-selftest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate((int)fd, KN_TRIAL_STEP) < 0)
        fd = -errno;
    if (fd < 0)
        kn_trial_say(t, (int)fd, "no memory file (memfd_create, error %d): kin_init fails",
                     (int)-fd);
    return (int)fd;
}

int kn_try_memfd(struct kn_trial *t)
{
    int fd = open_memfd(t);
    return fd < 0 ? fd : kn_trial_say(t, 1, "memory files can be made");
}

int kn_try_seals(struct kn_trial *t)
{
    int fd = open_memfd(t);
    if (fd < 0)
        return fd;
    long answer = KN_SYSTEM_3(KN_FCNTL, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
    if (answer < 0)
        return kn_trial_say(t, (int)answer,
                            "a memory file cannot be sealed (error %d): kin_init fails",
                            (int)-answer);
    if (ftruncate(fd, 0) == 0)
        return kn_trial_say(t, -ENOTSUP,
                            "the seal against shrinking does not hold: another process can "
                            "take the arena away");
    return kn_trial_say(t, 1, "a sealed memory file does not shrink");
}

int kn_try_growth(struct kn_trial *t)
{
    int fd = open_memfd(t);
    if (fd < 0)
        return fd;
    long base =
        KN_SYSTEM_6(KN_MMAP, 0, 2 * KN_TRIAL_STEP, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (kn_trial_is_error(base))
        return kn_trial_say(t, (int)base,
                            "a memory file cannot be mapped beyond its end: kin_init fails");
    long answer = KN_SYSTEM_4(KN_FALLOCATE, fd, 0, KN_TRIAL_STEP, KN_TRIAL_STEP);
    if (answer < 0)
        return kn_trial_say(t, (int)answer,
                            "fallocate cannot lengthen a memory file (error %d): the arena "
                            "cannot grow",
                            (int)-answer);
    /* Where the mapping does not follow, this is SIGBUS, and the caller says so. */
    volatile char *beyond = (volatile char *)base + KN_TRIAL_STEP;
    char seen = 0;
    *beyond = 'k';
    if (pread(fd, &seen, 1, KN_TRIAL_STEP) != 1 || seen != 'k')
        return kn_trial_say(t, -ENOTSUP,
                            "a mapping does not follow its file's growth: kin_init fails");
    return kn_trial_say(t, 1, "fallocate lengthens a memory file, and old mappings follow");
}

/* ---- Newer calls ---- */

/* struct futex_waitv, which older kernel headers do not have. */
struct waiter {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static void wake_second_bell(struct kn_trial *t)
{
    kn_trial_report(t, KN_STAGE_READY);
    while (kn_futex_wake(&t->bell[1], 1) != 1)
        sched_yield();
}

int kn_try_waitv(struct kn_trial *t)
{
    pid_t pid = kn_trial_start(t, wake_second_bell);
    if (pid < 0)
        return kn_trial_say(t, pid, "no child process to try it with");
    const struct waiter waiters[] = {
        { 0, (uint64_t)(uintptr_t)&t->bell[0], FUTEX_U32, 0 },
        { 0, (uint64_t)(uintptr_t)&t->bell[1], FUTEX_U32, 0 },
    };
    struct timespec deadline = kn_timespec(kn_now() + KN_TRIAL_PATIENCE);
    long answer = KN_SYSTEM_6(KN_FUTEX_WAITV, waiters, 2, 0, &deadline, CLOCK_MONOTONIC, 0);
    kn_trial_end(pid);
    if (answer != 1)
        return kn_trial_say(
            t, 0,
            "nobody sleeps on several words at once (error %d; Linux 5.16): who waits "
            "for one of several looks every 1 to 100 ms",
            (int)-answer);
    return kn_trial_say(t, 1, "a thread sleeps on several words, and is told which one woke it");
}

int kn_try_membarrier(struct kn_trial *t)
{
    static const int commands[] = {
        MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
        MEMBARRIER_CMD_GLOBAL_EXPEDITED,
    };
    long answer = KN_SYSTEM_3(KN_MEMBARRIER, MEMBARRIER_CMD_QUERY, 0, 0);
    if (answer >= 0 && (answer & commands[0]) == 0)
        answer = -ENOSYS;
    for (size_t i = 0; i < KN_ARRAY_LENGTH(commands) && answer >= 0; i++)
        answer = KN_SYSTEM_3(KN_MEMBARRIER, commands[i], 0, 0);
    if (answer < 0)
        return kn_trial_say(t, 0, "no expedited global barrier (error %d): kin uses full fences",
                            (int)-answer);
    return kn_trial_say(t, 1, "a process can register, and others can make it pass a barrier");
}
