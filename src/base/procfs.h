// SPDX-License-Identifier: MIT
/*
 * procfs.h - what kin reads from /proc: who a thread is, and how much memory there is.
 */
#ifndef KN_BASE_PROCFS_H
#define KN_BASE_PROCFS_H

#include <base/attributes.h>

/*
 * The start time (clock ticks since boot) of a thread, or of a process as a whole, or: GONE, there
 * is none; ZOMBIE, it is there but dead (a process whose first thread ended is not while others
 * run); UNKNOWN, /proc does not answer. *image tells one program from another that the process
 * executes later;
 * 0 if it may not be known. image may be NULL.
 */
#define KN_START_GONE    0
#define KN_START_ZOMBIE  (-1)
#define KN_START_UNKNOWN (-2)
int64_t kn_thread_start(uint32_t tid);
int64_t kn_process_start(uint32_t pid, uint32_t *image);

/* The number behind `key` (such as "MemAvailable:") at the begin of a line; -1 if missing. */
int64_t kn_number_after(const char *text, const char *key);

/* The inode of this process's namespace ("pid", "time"), 0 if unknown. */
uint64_t kn_namespace(const char *kind);

#endif
