// SPDX-License-Identifier: MIT
/*
 * kin/process.h - processes.
 *
 * Starting and watching them is to come; what is here today tells how many are worth starting.
 */
#ifndef KIN_PROCESS_H
#define KIN_PROCESS_H

#include <kin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * kin_cpu_count - how many processors this process may use.
 *
 * The processors that the calling thread may run on (sched_setaffinity(2)), or fewer where the
 * process's control group, or one above it, has a quota of processor time: a quota of 1.5
 * processors counts as 2. It may change while the program runs; nothing is kept.
 *
 * Returns the count, at least 1. It cannot fail, and needs no family.
 *
 * Sudden death: it touches no shared memory.
 */
KIN_API int kin_cpu_count(void);

#ifdef __cplusplus
}
#endif

#endif
