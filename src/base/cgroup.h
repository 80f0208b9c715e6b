// SPDX-License-Identifier: MIT
/*
 * cgroup.h - the control groups that this process is in.
 */
#ifndef KN_BASE_CGROUP_H
#define KN_BASE_CGROUP_H

/* One group: its directory, and whether its files are those of version 1 or 2. */
typedef void kn_cgroup_look(const char *directory, int version, void *context);

/*
 * Looks at the process's group of this controller ("memory", "cpu"), and at each of its ancestors up
 * to the mount point. Returns 0, or the negative errno with which /proc/self/cgroup was not read.
 */
long kn_cgroup_walk(const char *controller, kn_cgroup_look *look, void *context);

#endif
