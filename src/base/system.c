// SPDX-License-Identifier: MIT
/*
 * system.c - the table of system calls.
 *
 * Why a table: what can fail must be made to fail in a test, and a library that lives with SIGKILL
 * must not be left by a cancellation point in the middle of a section. So every call is a row here,
 * made with the bare syscall(2), and a test arms kn_fault to let the n-th call of a row answer an
 * error that the kernel could have answered. When nothing is armed this costs one load.
 *
 * Who may call it: everybody. Nothing here is shared between processes.
 */
#include <base/system.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

const struct kn_system_row kn_system_table[KN_CALLS] = {
    [KN_MEMFD_CREATE] = { "memfd_create",
                          SYS_memfd_create,
                          { ENOSYS, EPERM, EMFILE, ENFILE, ENOMEM } },
    [KN_FCNTL] = { "fcntl", SYS_fcntl, { EPERM, EINVAL, EBUSY } },
    [KN_MMAP] = { "mmap", SYS_mmap, { ENOMEM, EEXIST, EPERM, EAGAIN } },
    [KN_MUNMAP] = { "munmap", SYS_munmap, { ENOMEM } },
    [KN_MADVISE] = { "madvise", SYS_madvise, { EINVAL, ENOMEM, EAGAIN } },
    [KN_FALLOCATE] = { "fallocate", SYS_fallocate, { ENOSPC, ENOMEM, EFBIG, EINTR, EPERM } },
    [KN_FSTAT] = { "fstat", SYS_fstat, { ENOMEM } },
    [KN_OPENAT] = { "openat", SYS_openat, { ENOENT, EACCES, EMFILE, ENFILE, ENOMEM } },
    [KN_READ] = { "read", SYS_read, { EIO, EINTR } },
    [KN_READLINKAT] = { "readlinkat", SYS_readlinkat, { ENOENT, EACCES } },
    [KN_CLOSE] = { "close", SYS_close, { EINTR } },
    [KN_PRLIMIT] = { "prlimit64", SYS_prlimit64, { EPERM } },
    [KN_SIGPROCMASK] = { "rt_sigprocmask", SYS_rt_sigprocmask, { EINVAL } },
    [KN_SIGTIMEDWAIT] = { "rt_sigtimedwait", SYS_rt_sigtimedwait, { EAGAIN } },
    [KN_GET_ROBUST_LIST] = { "get_robust_list", SYS_get_robust_list, { ENOSYS, EPERM } },
    [KN_SET_ROBUST_LIST] = { "set_robust_list", SYS_set_robust_list, { ENOSYS, EPERM } },
    [KN_FUTEX] = { "futex", SYS_futex, { EINTR, EAGAIN, ETIMEDOUT } },
    [KN_MEMBARRIER] = { "membarrier", SYS_membarrier, { ENOSYS, EPERM } },
    [KN_PIDFD_OPEN] = { "pidfd_open", SYS_pidfd_open, { ENOSYS, EPERM, EMFILE } },
    [KN_FUTEX_WAITV] = { "futex_waitv", SYS_futex_waitv, { ENOSYS, EPERM } },
    [KN_PRCTL] = { "prctl", SYS_prctl, { EINVAL, EPERM } },
    [KN_KILL] = { "kill", SYS_kill, { EPERM } },
    [KN_SCHED_GETAFFINITY] = { "sched_getaffinity", SYS_sched_getaffinity, { EPERM, EINVAL } },
    [KN_PIPE2] = { "pipe2", SYS_pipe2, { EMFILE, ENFILE } },
    [KN_PPOLL] = { "ppoll", SYS_ppoll, { EINTR, ENOMEM } },
    [KN_TAKE_UNITS] = { "(memory of the arena)", -1, { ENOMEM } },
};

struct kn_fault kn_fault;

/* Counts the call and tells whether the armed fault falls on it. */
static KN_COLD int fault_falls_on(enum kn_call call)
{
    kn_fault.seen[call]++;
    if (kn_fault.nth == 0 || kn_fault.call != call)
        return 0;
    if (kn_fault.nth > 1) {
        kn_fault.nth--;
        return 0;
    }
    if (--kn_fault.times <= 0)
        kn_fault.nth = 0;
    return 1;
}

long kn_fault_here(enum kn_call call)
{
    return kn_unlikely(kn_fault.counting) && fault_falls_on(call) ? -kn_fault.error : 0;
}

long kn_system(enum kn_call call, long a, long b, long c, long d, long e, long f)
{
    if (kn_unlikely(kn_fault.counting) && fault_falls_on(call))
        return -kn_fault.error;
    int saved = errno;
    long result = syscall(kn_system_table[call].number, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}

long kn_read_file(const char *path, char *buffer, size_t size)
{
    long fd = KN_SYSTEM_3(KN_OPENAT, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    size_t length = 0;
    long n = 0;
    while (length < size - 1) {
        n = KN_SYSTEM_3(KN_READ, fd, buffer + length, size - 1 - length);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        length += (size_t)n;
    }
    KN_SYSTEM_1(KN_CLOSE, fd);
    buffer[length] = '\0';
    return n < 0 ? n : (long)length;
}

long kn_futex_wait(const _Atomic uint32_t *word, uint32_t seen, const struct timespec *deadline)
{
    return KN_SYSTEM_6(KN_FUTEX, word, FUTEX_WAIT_BITSET, seen, deadline, 0,
                       FUTEX_BITSET_MATCH_ANY);
}

long kn_futex_wake(const _Atomic uint32_t *word, int count)
{
    return KN_SYSTEM_3(KN_FUTEX, word, FUTEX_WAKE, count);
}

uint32_t kn_gettid(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

uint32_t kn_getpid(void)
{
    return (uint32_t)syscall(SYS_getpid);
}
