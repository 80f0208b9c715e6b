// SPDX-License-Identifier: MIT
/*
 * cpu.c - how many processors there are for this process.
 *
 * The machine's number is wrong in a container, which may run on two of 64 processors, or on all of
 * them for a fiftieth of the time. So the thread's affinity is asked, and the quota of each control
 * group above the process: so many microseconds of processor time in each period.
 *
 * Sudden death: nothing here is shared.
 */
#include <kin/process.h>

#include <base/cgroup.h>
#include <base/system.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_PROCESSORS 65536

static int allowed_by_affinity(void)
{
    unsigned long mask[MOST_PROCESSORS / 8 / sizeof(unsigned long)] = { 0 };
    long bytes = KN_SYSTEM_3(KN_SCHED_GETAFFINITY, 0, sizeof mask, mask);
    int count = 0;
    for (size_t i = 0; bytes > 0 && i < (size_t)bytes / sizeof *mask; i++)
        count += __builtin_popcountl(mask[i]);
    if (count > 0)
        return count;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < MOST_PROCESSORS ? (int)online : 1;
}

static long read_text(const char *directory, const char *file, char *text, size_t size)
{
    char path[640];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    return kn_read_file(path, text, size);
}

/* Version 2 has "quota period" in one file, version 1 a file for each. */
static void read_quota(const char *directory, int version, long long *quota, long long *period)
{
    char text[64], *end = text;
    if (version == 2) {
        if (read_text(directory, "cpu.max", text, sizeof text) <= 0)
            return;
        *quota = strtoll(text, &end, 10);
        *period = strtoll(end, NULL, 10);
        return;
    }
    if (read_text(directory, "cpu.cfs_quota_us", text, sizeof text) > 0)
        *quota = strtoll(text, NULL, 10);
    if (read_text(directory, "cpu.cfs_period_us", text, sizeof text) > 0)
        *period = strtoll(text, NULL, 10);
}

static void lower_to_quota(const char *directory, int version, void *count)
{
    int *least = count;
    long long quota = 0, period = 0;
    read_quota(directory, version, &quota, &period);
    if (quota <= 0 || period <= 0)
        return;
    long long processors = (quota - 1) / period + 1;
    if (processors < *least)
        *least = (int)processors;
}

int kin_cpu_count(void)
{
    int count = allowed_by_affinity();
    kn_cgroup_walk("cpu", lower_to_quota, &count);
    return count;
}
