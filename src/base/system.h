// SPDX-License-Identifier: MIT
/*
 * system.h - every system call that kin makes, in one table.
 *
 * All calls go through kn_system(): they return -errno instead of setting errno, none of them is a
 * cancellation point, and a test can make the n-th of them fail.
 */
#ifndef KN_BASE_SYSTEM_H
#define KN_BASE_SYSTEM_H

#include <base/attributes.h>
#include <linux/futex.h>
#include <time.h>

enum kn_call {
    KN_MEMFD_CREATE,
    KN_FCNTL,
    KN_MMAP,
    KN_MUNMAP,
    KN_MADVISE,
    KN_FALLOCATE,
    KN_FSTAT,
    KN_OPENAT,
    KN_READ,
    KN_READLINKAT,
    KN_CLOSE,
    KN_PRLIMIT,
    KN_SIGPROCMASK,
    KN_SIGTIMEDWAIT,
    KN_GET_ROBUST_LIST,
    KN_SET_ROBUST_LIST,
    KN_FUTEX,
    KN_MEMBARRIER,
    KN_PIDFD_OPEN,
    KN_FUTEX_WAITV,
    KN_PRCTL,
    KN_KILL,
    KN_SCHED_GETAFFINITY,
    KN_PIPE2,
    KN_PPOLL,
    KN_TAKE_UNITS, /* no system call: the n-th time that memory is taken out of the arena */
    KN_CALLS
};

/* One row: the call's name, its number, and the errors that a test lets it fail with. */
struct kn_system_row {
    const char *name;
    long number;
    int errors[6]; /* plausible errnos, 0 ends */
};

extern const struct kn_system_row kn_system_table[KN_CALLS];

/*
 * The fault that a test armed in this process: the nth call of this row from now on (1 is the
 * next) answers -error, `times` calls long. nth 0: none. seen counts the calls of every row.
 */
struct kn_fault {
    enum kn_call call;
    long nth;
    int error;
    long times;
    long seen[KN_CALLS];
    int counting;
};

extern struct kn_fault kn_fault;

long kn_system(enum kn_call call, long a, long b, long c, long d, long e, long f);

/* For rows that are no system calls: -error if the armed fault falls on this one, else 0. */
long kn_fault_here(enum kn_call call);

#define KN_SYSTEM_1(call, a)       kn_system(call, (long)(a), 0, 0, 0, 0, 0)
#define KN_SYSTEM_2(call, a, b)    kn_system(call, (long)(a), (long)(b), 0, 0, 0, 0)
#define KN_SYSTEM_3(call, a, b, c) kn_system(call, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define KN_SYSTEM_4(call, a, b, c, d)                                                              \
    kn_system(call, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define KN_SYSTEM_6(call, a, b, c, d, e, f)                                                        \
    kn_system(call, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Reads a small file whole, adds a NUL. Returns its bytes (cut at size - 1) or -errno. */
long kn_read_file(const char *path, char *buffer, size_t size);

/*
 * A shared futex. Wait until the word is woken, differs from `seen`, or the monotonic clock reaches
 * the absolute deadline (NULL: for ever). Returns 0, -EAGAIN, -EINTR or -ETIMEDOUT.
 */
long kn_futex_wait(const _Atomic uint32_t *word, uint32_t seen, const struct timespec *deadline);

/* Wakes up to count sleepers of the word; returns how many. */
long kn_futex_wake(const _Atomic uint32_t *word, int count);

uint32_t kn_gettid(void);
uint32_t kn_getpid(void);

#endif
