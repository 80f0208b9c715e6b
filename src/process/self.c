// SPDX-License-Identifier: MIT
/*
 * self.c - finding this program's own file.
 *
 * /proc/self/exe is the file that the kernel executed, also when it was deleted or replaced since.
 * Mostly that is the program; but under valgrind, an emulator, or "ld.so ./prog" it is the tool, and
 * the program is a file that the tool mapped. So the mapping that holds the program's headers is
 * looked up in /proc/self/maps: if it is of the executed file, /proc/self/exe is right, else the
 * path that stands there is.
 *
 * Sudden death: nothing here is shared.
 */
#include <process/self.h>

#include <base/error.h>
#include <base/system.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The first object of the walk is the program. */
static int take_headers(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    *(uintptr_t *)argument = (uintptr_t)info->dlpi_phdr;
    return 1;
}

/* A mapping of a file, as a line of /proc/self/maps has it. */
struct mapping {
    unsigned long begin, end;
    unsigned int major, minor;
    unsigned long inode;
    char *path; /* in the line */
};

static int parse(char *line, struct mapping *m)
{
    int at = 0;
    if (sscanf(line, "%lx-%lx %*s %*x %x:%x %lu %n", &m->begin, &m->end, &m->major, &m->minor,
               &m->inode, &at) < 5)
        return 0;
    m->path = line + at;
    m->path[strcspn(m->path, "\n")] = '\0';
    return 1;
}

/* Finds the mapping that holds the address. Returns 1 (the line has its path), 0 or -errno. */
static int find_mapping(FILE *maps, uintptr_t address, char *line, size_t size, struct mapping *m)
{
    while (fgets(line, (int)size, maps))
        if (parse(line, m) && address >= m->begin && address < m->end)
            return 1;
    return 0;
}

static int is_executed_file(const struct mapping *m)
{
    struct stat status;
    return stat("/proc/self/exe", &status) == 0 && status.st_ino == m->inode &&
           major(status.st_dev) == m->major && minor(status.st_dev) == m->minor;
}

int kn_self_path(char path[static KN_SELF_PATH])
{
    char line[KN_SELF_PATH + 100];
    uintptr_t headers = 0;
    struct mapping m = { 0 };
    dl_iterate_phdr(take_headers, &headers);
    FILE *maps = fopen("/proc/self/maps", "re");
    int found = maps ? find_mapping(maps, headers, line, sizeof line, &m) : 0;
    if (maps)
        fclose(maps);
    /* Without /proc/self/maps the executed file is the best guess. */
    if (!found || is_executed_file(&m)) {
        memcpy(path, "/proc/self/exe", sizeof "/proc/self/exe");
        return 0;
    }
    if (m.path[0] != '/')
        return kn_fail(-ENOENT, "the program's own file cannot be found, so it cannot be executed "
                                "anew: use the start method fork");
    if (strlen(m.path) >= KN_SELF_PATH)
        return kn_fail(-ENAMETOOLONG, "the path of the program's own file is too long");
    memcpy(path, m.path, strlen(m.path) + 1);
    return 0;
}
