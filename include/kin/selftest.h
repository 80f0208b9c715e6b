// SPDX-License-Identifier: MIT
/*
 * kin/selftest.h - does this machine give what kin stands on?
 */
#ifndef KIN_SELFTEST_H
#define KIN_SELFTEST_H

#include <kin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * kin_selftest_result - one row: what was tried and how it went.
 *
 * state is 1 (works), 0 (missing, kin uses the older way that text names) or a negative errno
 * (missing, and kin cannot do without it or promises less; text says what).
 */
typedef struct kin_selftest_result {
    const char *name;
    int state;
    char text[160];
} kin_selftest_result;

/*
 * kin_selftest - try the facilities of the kernel and of the C library that kin uses: robust lists
 * and their layout, life words and their marking by SIGKILL, thread id address, the asynchronous
 * lifeline, futex_waitv, membarrier, memfd and its seals, pidfd.
 *
 * Fills up to count rows and returns how many there are (it may be more than count; call with 0 to
 * learn it), or -EINVAL. It forks a few short-lived children of its own and waits for exactly
 * those. It needs no family and changes nothing in this process.
 */
KIN_API int kin_selftest(kin_selftest_result *results, int count);

#ifdef __cplusplus
}
#endif
#endif
