// SPDX-License-Identifier: MIT
/*
 * function.c - functions, named across an exec.
 *
 * A spawned child executes the same file, at other addresses. What stays is where in its object a
 * function lies. So a function's name is (build-id of its object, offset from the load base), which
 * needs no registration and works for static functions, stripped programs, static ones, and after
 * the file was deleted or replaced: then the id differs, and the child refuses instead of jumping
 * into the middle of something else.
 *
 * The linker writes the build-id into a note that is mapped with the program. An object without one
 * (musl's gcc, --build-id=none) is named by a hash of its program headers and its text, as mapped.
 *
 * The dynamic linker's list is walked, which takes its lock: not for signal handlers, nor between a
 * fork and an exec.
 *
 * Sudden death: nothing here is shared.
 */
#include <process/function.h>

#include <base/error.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weak, so that a static program does not get it: there is nothing to load there. */
extern void *dlopen(const char *path, int flags) __attribute__((weak));

/* What the walk over the objects looks for, and what it found. */
struct search {
    uintptr_t address;              /* by address, or 0 */
    const struct kn_function *name; /* by id */
    int program_only;               /* the id of the program itself is asked for */
    struct kn_function found;
    uintptr_t base;
};

static int has_code_at(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) && address >= begin &&
            address - begin < segment->p_memsz)
            return 1;
    }
    return 0;
}

/* The build-id in these notes. 1: found. */
static int id_in_notes(const char *notes, size_t length, size_t align, struct kn_function *found)
{
    size_t step = align > 4 ? align : 4;
    while (length >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)notes;
        size_t name = sizeof *note, id = name + KN_ROUND_UP(note->n_namesz, step);
        size_t next = id + KN_ROUND_UP(note->n_descsz, step);
        if (next > length)
            return 0;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz > 0 &&
            memcmp(notes + name, "GNU", 4) == 0) {
            found->id_length =
                note->n_descsz < KN_BUILD_ID_MOST ? note->n_descsz : KN_BUILD_ID_MOST;
            memcpy(found->id, notes + id, found->id_length);
            return 1;
        }
        notes += next;
        length -= next;
    }
    return 0;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (; length; at++, length--)
        hash = (hash ^ *at) * 0x100000001b3u;
    return hash;
}

static void hash_of_text(const struct dl_phdr_info *info, struct kn_function *found)
{
    uint64_t hash =
        mix(0xcbf29ce484222325u, info->dlpi_phdr, info->dlpi_phnum * sizeof *info->dlpi_phdr);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X))
            hash = mix(hash, (const void *)(info->dlpi_addr + segment->p_vaddr), segment->p_filesz);
    }
    found->hashed = 1;
    found->id_length = sizeof hash;
    memcpy(found->id, &hash, sizeof hash);
}

static void identify(const struct dl_phdr_info *info, struct kn_function *found)
{
    memset(found, 0, sizeof *found);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE &&
            id_in_notes((const char *)info->dlpi_addr + segment->p_vaddr, segment->p_memsz,
                        segment->p_align, found))
            return;
    }
    hash_of_text(info, found);
}

static int same_id(const struct kn_function *one, const struct kn_function *other)
{
    return one->hashed == other->hashed && one->id_length == other->id_length &&
           memcmp(one->id, other->id, one->id_length) == 0;
}

/* One object of the walk; the program comes first. Returns 1 to end it. */
static int look_at(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct search *search = argument;
    (void)size;
    if (search->address && !has_code_at(info, search->address))
        return 0;
    identify(info, &search->found);
    search->base = info->dlpi_addr;
    if (search->program_only)
        return 1;
    if (!search->address)
        return same_id(search->name, &search->found);
    const char *path = info->dlpi_name ? info->dlpi_name : "";
    int written = snprintf(search->found.object, KN_OBJECT_PATH, "%s", path);
    return written < KN_OBJECT_PATH ? 1 : -ENAMETOOLONG;
}

/* A library may have been loaded by a relative path, and the child begins in another directory. */
static int make_absolute(struct kn_function *name)
{
    if (!strchr(name->object, '/') || name->object[0] == '/')
        return 0;
    char *absolute = realpath(name->object, NULL);
    size_t length = absolute ? strlen(absolute) : 0;
    if (absolute && length < KN_OBJECT_PATH)
        memcpy(name->object, absolute, length + 1);
    free(absolute);
    return length < KN_OBJECT_PATH ? 0 : -ENAMETOOLONG;
}

int kn_function_name(const void *function, struct kn_function *name)
{
    struct search search = { .address = (uintptr_t)function };
    int answer = function ? dl_iterate_phdr(look_at, &search) : 0;
    if (answer == 0)
        return kn_fail(-EFAULT, "%p is not a function of this program or of a library in it",
                       function);
    if (answer == 1)
        answer = make_absolute(&search.found);
    if (answer < 0)
        return kn_fail(answer, "the path of the library with the function is longer than %d bytes",
                       KN_OBJECT_PATH - 1);
    *name = search.found;
    name->offset = search.address - search.base;
    return 0;
}

char *kn_function_id_text(const struct kn_function *name, char *text)
{
    for (uint32_t i = 0; i < name->id_length && i < KN_BUILD_ID_MOST; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", name->id[i]);
    return text;
}

/* What is here instead: the program itself, or the library that was loaded from that path. */
static int refuse(const struct kn_function *name, const struct kn_function *here)
{
    char wanted[2 * KN_BUILD_ID_MOST + 1], found[2 * KN_BUILD_ID_MOST + 1];
    return kn_fail(-ENOEXEC, "%s is another build: the function is of build %s, here is %s",
                   name->object[0] ? name->object : "the program",
                   kn_function_id_text(name, wanted), kn_function_id_text(here, found));
}

/* The object that the path leads to now, with its id; loaded for good. */
static int load(const struct kn_function *name, struct search *search)
{
    void *handle = dlopen ? dlopen(name->object, RTLD_NOW) : NULL;
    struct link_map *map = NULL;
    if (!dlopen)
        return kn_fail(-ENOENT, "the function is in %s, which this static program cannot load",
                       name->object);
    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        return kn_fail(-ENOENT, "cannot load %s: %s", name->object, dlerror());
    search->address = (uintptr_t)map->l_ld;
    return 0;
}

/* The object whose dynamic section this is, for the words of a refusal. */
static int look_for_dynamic(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct search *search = argument;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC &&
            info->dlpi_addr + info->dlpi_phdr[i].p_vaddr == search->address) {
            identify(info, &search->found);
            search->base = info->dlpi_addr;
            return 1;
        }
    return 0;
}

static int check_place(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    return has_code_at(info, *(uintptr_t *)argument);
}

int kn_function_find(const struct kn_function *name, const void **function)
{
    struct search search = { .name = name };
    if (name->id_length == 0 || name->id_length > KN_BUILD_ID_MOST ||
        !memchr(name->object, '\0', KN_OBJECT_PATH))
        return kn_fail(-EFAULT, "the name of the function is damaged");
    if (!dl_iterate_phdr(look_at, &search)) {
        if (name->object[0] == '\0') {
            search.program_only = 1;
            dl_iterate_phdr(look_at, &search);
            return refuse(name, &search.found);
        }
        int error = load(name, &search);
        if (error)
            return error;
        if (!dl_iterate_phdr(look_for_dynamic, &search) || !same_id(name, &search.found))
            return refuse(name, &search.found);
    }
    uintptr_t address = search.base + name->offset;
    if (!dl_iterate_phdr(check_place, &address))
        return kn_fail(-EFAULT, "there is no code at offset 0x%llx of %s",
                       (unsigned long long)name->offset,
                       name->object[0] ? name->object : "the program");
    *function = (const void *)address;
    return 0;
}
