// SPDX-License-Identifier: MIT
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

/* Field n of a stat line, counted from 1; the name in parentheses may contain anything. */
static const char *field_of(const char *line, int n)
{
    const char *field = strrchr(line, ')');
    for (int i = 2; i < n && field; i++) {
        field = strchr(field, ' ');
        field += field != NULL;
    }
    return field;
}

/* "Not in /proc" alone is not enough to call somebody dead: /proc may be missing, or hide things. */
static int nobody_has(uint32_t id)
{
    return KN_SYSTEM_2(KN_KILL, id, 0) == -ESRCH;
}

/* Two figures that change with an exec, hashed: where the program's code and its stack begin. */
static uint32_t image_of(const char *line)
{
    const char *code = field_of(line, 26), *stack = field_of(line, 28);
    if (!code || !stack)
        return 0;
    uint64_t begin = strtoull(code, NULL, 10), top = strtoull(stack, NULL, 10);
    /* Who may not look is shown 0 or 1. */
    return begin > 1 && top > 1 ? (uint32_t)((begin ^ top * 0x9e3779b97f4a7c15u) >> 20) | 1 : 0;
}

static int64_t start_of(uint32_t id, int most_threads_of_a_zombie, uint32_t *image)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", id);
    long n = kn_read_file(path, text, sizeof text);
    if (n == -ENOENT || n == -ESRCH)
        return nobody_has(id) ? KN_START_GONE : KN_START_UNKNOWN;
    const char *state = n > 0 ? field_of(text, 3) : NULL;
    const char *threads = n > 0 ? field_of(text, 20) : NULL;
    const char *start = n > 0 ? field_of(text, 22) : NULL;
    if (!state || !threads || !start)
        return KN_START_UNKNOWN;
    if (strchr("ZXx", *state) && strtol(threads, NULL, 10) <= most_threads_of_a_zombie)
        return KN_START_ZOMBIE;
    if (image)
        *image = image_of(text);
    return strtoll(start, NULL, 10);
}

int64_t kn_thread_start(uint32_t tid)
{
    return start_of(tid, INT32_MAX, NULL);
}

int64_t kn_process_start(uint32_t pid, uint32_t *image)
{
    if (image)
        *image = 0;
    return start_of(pid, 1, image);
}

int64_t kn_number_after(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, key, length) == 0)
            return strtoll(line + length, NULL, 10);
    return -1;
}

uint64_t kn_namespace(const char *kind)
{
    char path[40], target[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    long n = KN_SYSTEM_4(KN_READLINKAT, AT_FDCWD, path, target, sizeof target - 1);
    if (n <= 0)
        return 0;
    target[n] = '\0';
    const char *bracket = strchr(target, '[');
    return bracket ? strtoull(bracket + 1, NULL, 10) : 0;
}
