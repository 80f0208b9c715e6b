// SPDX-License-Identifier: MIT
/*
 * cgroup.c - walking over control groups.
 *
 * A limit may be set for the process's own group or for any above it, so each is looked at.
 * /proc/self/cgroup has a line "4:cpu,cpuacct:/group" for each hierarchy of version 1, and "0::/group"
 * for version 2. Where they are mounted is what every distribution does: version 2 at /sys/fs/cgroup,
 * a controller of version 1 below it under its name. Inside a container the path may be one of the
 * host's, which is not there: then only the mount point is found, and that is the container's own.
 *
 * Sudden death: nothing here is shared.
 */
#include <base/cgroup.h>

#include <base/system.h>
#include <stdio.h>
#include <string.h>

static void walk_up(const char *mount, const char *group, int version, kn_cgroup_look *look,
                    void *context)
{
    char directory[512];
    int length = snprintf(directory, sizeof directory, "%s%s", mount, group);
    if (length < 0 || length >= (int)sizeof directory)
        return;
    size_t root = strlen(mount);
    for (;;) {
        look(directory, version, context);
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < root)
            return;
        *slash = '\0';
    }
}

/* Is the controller one of "cpu,cpuacct", which ends at a colon? */
static int is_listed(const char *list, const char *controller)
{
    size_t length = strlen(controller);
    for (;;) {
        size_t word = strcspn(list, ",:");
        if (word == length && strncmp(list, controller, length) == 0)
            return 1;
        if (list[word] != ',')
            return 0;
        list += word + 1;
    }
}

long kn_cgroup_walk(const char *controller, kn_cgroup_look *look, void *context)
{
    char text[4096], mount[64];
    long n = kn_read_file("/proc/self/cgroup", text, sizeof text);
    char *rest = NULL;
    for (char *line = n > 0 ? strtok_r(text, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *controllers = strchr(line, ':');
        const char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        const char *path = strcmp(group, ":/") == 0 ? "" : group + 1;
        snprintf(mount, sizeof mount, "/sys/fs/cgroup/%s", controller);
        if (group == controllers + 1)
            walk_up("/sys/fs/cgroup", path, 2, look, context);
        else if (is_listed(controllers + 1, controller))
            walk_up(mount, path, 1, look, context);
    }
    return n < 0 ? n : 0;
}
