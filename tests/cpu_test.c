// SPDX-License-Identifier: MIT
/*
 * cpu_test.c - the count of processors follows affinity and the quotas of control groups.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/system.h>
#include <fcntl.h>
#include <kin/process.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void affinity(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    int count = kin_cpu_count();
    CHECK(count >= 1 && count <= CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK_EQUAL(kin_cpu_count(), 1);
}

static int write_text(const char *directory, const char *file, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    long n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        close(fd);
    return n > 0 ? 0 : -1;
}

/* In a group with a quota of half a processor, and then of no less than there are. */
static int count_in_group(const char *group, int version)
{
    char pid[20];
    snprintf(pid, sizeof pid, "%d", getpid());
    int quota = version == 2 ? write_text(group, "cpu.max", "50000 100000")
                             : write_text(group, "cpu.cfs_quota_us", "50000");
    if (quota < 0 || write_text(group, "cgroup.procs", pid) < 0)
        return SKIPPED;
    CHECK_EQUAL(kin_cpu_count(), 1);
    CHECK(version == 2 ? write_text(group, "cpu.max", "max 100000") == 0
                       : write_text(group, "cpu.cfs_quota_us", "-1") == 0);
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CHECK_EQUAL(kin_cpu_count(), CPU_COUNT(&all));
    return 0;
}

static void quota(void)
{
    static const char *const roots[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup" };
    for (int version = 1; version <= 2; version++) {
        char group[100];
        snprintf(group, sizeof group, "%s/kin-test-%d", roots[version - 1], getpid());
        if (mkdir(group, 0755) < 0)
            continue;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0)
            _exit(count_in_group(group, version));
        int status = reap(pid);
        CHECK(rmdir(group) == 0);
        if (status == 0)
            return;
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED);
    }
    not_shown("no control group with a quota of processor time can be made here");
}

/* What cannot be asked sets no limit, and there is always one. */
static void nothing_answers(void)
{
    static const enum kn_call calls[] = { KN_OPENAT, KN_READ, KN_SCHED_GETAFFINITY };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        kn_fault = (struct kn_fault) { 0 };
        kn_fault.call = calls[i];
        kn_fault.error = EPERM;
        kn_fault.nth = 1;
        kn_fault.times = INT32_MAX;
        kn_fault.counting = 1;
        CHECK(kin_cpu_count() >= 1);
    }
    kn_fault.counting = 0;
}

static const struct test_case cases[] = {
    { "affinity", affinity },
    { "quota", quota },
    { "nothing answers", nothing_answers },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    run_apart(cases, argc, argv);
    return 0;
}
