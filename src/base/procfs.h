/* SPDX-License-Identifier: MIT */
/*
 * procfs.h - what kin reads from /proc: who a thread is, and how much memory there is.
 */
#ifndef KN_BASE_PROCFS_H
#define KN_BASE_PROCFS_H

#include <base/attributes.h>

/*
 * The start time of a thread or process (clock ticks since boot), 0 if there is none, -1 if it is
 * there but is a zombie or dying, -2 if /proc does not answer.
 */
#define KN_START_GONE 0
#define KN_START_ZOMBIE (-1)
#define KN_START_UNKNOWN (-2)
int64_t kn_start_time(uint32_t tid);

/* The number behind `key` (such as "MemAvailable:") at the begin of a line; -1 if missing. */
int64_t kn_number_after(const char *text, const char *key);

/* The inode of the pid namespace, 0 if unknown: thread ids mean the same only inside one. */
uint64_t kn_pid_namespace(void);

#endif
