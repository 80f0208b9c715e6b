// SPDX-License-Identifier: MIT
/*
 * family.c - beginning a family, joining one, leaving it.
 *
 * kin_init makes this process the root: it finds out what its C library and kernel can do, makes the
 * arena after it, and registers the calling thread. Everything that can fail fails here, with words,
 * and leaves nothing behind.
 *
 * Sudden death: an arena without members has no name and is gone; a member that vanished is swept.
 */
#include <process/family.h>

#include <base/error.h>
#include <base/local.h>
#include <errno.h>
#include <shm/attach.h>
#include <shm/member.h>
#include <shm/supply.h>
#include <stdlib.h>
#include <string.h>

/* KIN_ROBUST chooses how deaths become known; for tests and for doubtful machines. */
static int wanted_mode(enum kn_robust_mode *mode)
{
    static const char *const names[] = { "default", "native", "mutex", "none" };
    const char *text = getenv("KIN_ROBUST");
    *mode = KN_ROBUST_DEFAULT;
    if (!text || !*text)
        return 0;
    for (size_t i = 0; i < KN_ARRAY_LENGTH(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *mode = (enum kn_robust_mode)i;
            return 0;
        }
    }
    return kn_fail(-EINVAL, "KIN_ROBUST is '%.20s': it can be native, mutex, none or default",
                   text);
}

static int check_options(const kin_options *options)
{
    for (size_t i = 0; options && i < KN_ARRAY_LENGTH(options->reserved); i++)
        if (options->reserved[i] != 0)
            return kn_fail(-EINVAL, "kin_options has words that this version does not know: they "
                                    "must be zero");
    return 0;
}

/* Registers the first thread of a process whose arena is there; without it, the arena goes. */
static int begin_process(void)
{
    int error = kn_process_begin();
    struct kn_thread *t = error ? NULL : kn_thread_begin(&error);
    if (t)
        kn_thread_done(t);
    else
        kn_arena_undo();
    return error;
}

static int begin_family(const kin_options *options)
{
    static struct robust_list_head unused;
    struct kn_robust robust;
    enum kn_robust_mode mode;
    int error = check_options(options);
    if (!error)
        error = wanted_mode(&mode);
    if (!error)
        error = kn_robust_find(&robust, mode, NULL, &unused);
    if (!error)
        error = kn_arena_create(options ? options->arena_size : 0, &robust);
    if (error)
        return error;
    kn_units_begin();
    error = begin_process();
    if (!error)
        kn_process.header->magic = KN_MAGIC; /* last: now it is an arena */
    return error;
}

/* There is a family: all that is left to do is to be a participant. */
static int take_part(void)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (t)
        kn_thread_done(t);
    return t || error == -EBUSY ? 0 : error;
}

/* Held while the process's family comes or goes. */
static struct kn_local_lock family_lock;

static int busy(void)
{
    return kn_fail(-EBUSY, "called in a signal handler that interrupted kin_init or kin_fini: do "
                           "it after the handler");
}

int kin_init(int *argc, char ***argv, const kin_options *options)
{
    (void)argc;
    (void)argv;
    kin_error *error = options ? options->error : NULL;
    if (kn_local_acquire(&family_lock) < 0)
        return kn_error_give(error, busy());
    int code = kn_process.header ? take_part() : begin_family(options);
    kn_local_release(&family_lock);
    return code < 0 ? kn_error_give(error, code) : 0;
}

int kn_family_join(int fd)
{
    if (kn_local_acquire(&family_lock) < 0)
        return busy();
    int error = kn_arena_attach(fd);
    if (!error)
        error = begin_process();
    kn_local_release(&family_lock);
    return error;
}

static int end_family(void)
{
    int error = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (!t)
        return error;
    kn_heap_lock(t);
    kn_member_leave(kn_process.header, kn_process.member);
    kn_heap_unlock(t);
    kn_thread_done(t);
    kn_thread_leave();
    kn_process_end();
    kn_arena_forget();
    return 0;
}

int kin_fini(void)
{
    if (kn_local_acquire(&family_lock) < 0)
        return busy();
    int error = kn_process.header ? end_family() : 0;
    kn_local_release(&family_lock);
    return error;
}

/*
 * At exit only this thread leaves: others may be inside a kin call until the very end. The kernel
 * marks their life words, and the next member sweeps.
 */
static __attribute__((destructor)) void leave_at_exit(void)
{
    kn_thread_leave();
}

const char *kin_family_error(void)
{
    return kn_error_text();
}

int kin_family_size(void)
{
    int error, count = 0;
    struct kn_thread *t = kn_thread_enter(&error);
    if (!t)
        return error;
    if (kn_sweep_needed(1))
        kn_sweep(t);
    struct kn_member *member;
    for (uint32_t i = 0; (member = kn_member_at(kn_process.header, i)); i++)
        if (atomic_load(&member->state) == KN_MEMBER_ALIVE && !kn_member_gone(member))
            count++;
    kn_thread_done(t);
    return count;
}
