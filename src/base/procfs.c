/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - reading /proc, with bare system calls.
 *
 * A pid comes back, a pid with its start time does not. This is the second source of truth about
 * who is alive, behind the kernel's marks on life words: it is asked only by those who have been
 * stuck for about a second, and by those who start.
 */
#include <base/procfs.h>
#include <base/system.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t kn_start_time(uint32_t tid)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", tid);
    long n = kn_read_file(path, text, sizeof text);
    if (n == -ENOENT || n == -ESRCH)
        return KN_START_GONE;
    if (n <= 0)
        return KN_START_UNKNOWN;
    /* The name in parentheses may contain anything, so count fields from the last one on. */
    const char *field = strrchr(text, ')');
    if (!field || field[1] != ' ')
        return KN_START_UNKNOWN;
    char state = field[2];
    if (state == 'Z' || state == 'X' || state == 'x')
        return KN_START_ZOMBIE;
    field += 2;
    for (int skip = 3; skip < 22 && field; skip++)
        field = strchr(field + 1, ' ');
    return field ? strtoll(field, NULL, 10) : KN_START_UNKNOWN;
}

int64_t kn_number_after(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, key, length) == 0)
            return strtoll(line + length, NULL, 10);
    return -1;
}

uint64_t kn_pid_namespace(void)
{
    char target[64];
    long n = KN_SYSTEM_4(KN_READLINKAT, AT_FDCWD, "/proc/self/ns/pid", target, sizeof target - 1);
    if (n <= 0)
        return 0;
    target[n] = '\0';
    const char *bracket = strchr(target, '[');
    return bracket ? strtoull(bracket + 1, NULL, 10) : 0;
}
