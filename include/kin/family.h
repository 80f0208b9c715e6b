// SPDX-License-Identifier: MIT
/*
 * kin/family.h - becoming a member of a family of processes, and leaving it.
 *
 * A family is a root process and all that it starts. It shares one arena: memory that is mapped at
 * the same address in every member, so that a pointer into it means the same everywhere.
 */
#ifndef KIN_FAMILY_H
#define KIN_FAMILY_H

#include <kin/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * kin_options - how a family begins. All zero is the default; NULL is all zero.
 */
typedef struct kin_options {
    kin_error *error;   /* where the words of a failure go; may be NULL */
    int64_t arena_size; /* bytes of address space to reserve, at least 32 MiB,
                         * rounded up to 16 MiB; 0: the
                         * variable KIN_ARENA_SIZE, else the smaller of 64 GiB and twice RAM and
                         * swap. Memory is taken only as it is used. */
    int64_t reserved[6];
} kin_options;

/*
 * kin_init - make this process the root of a new family; the first line of main.
 *
 * argc and argv are main's, by address; both may be NULL. Arguments that are kin's own are taken
 * out of them (there are none yet). A second call in the same process answers 0 and changes
 * nothing. A process made with fork(2) by a member is a member itself from its first kin call on;
 * it need not call kin_init.
 *
 * Returns 0, or
 *   -EINVAL  an option or KIN_ARENA_SIZE makes no sense
 *   -ENOMEM  the address space or the first memory is not to be had (RLIMIT_AS, cgroup, RAM)
 *   -ENOSYS, -EPERM   the kernel has no memfd_create, or a seccomp profile forbids it
 *   -EMFILE, -ENFILE  no descriptor left
 *   -EAGAIN           no thread-specific key left
 *   -EBUSY            called in a signal handler that interrupted kin_init or kin_fini
 * The words are in options->error and in kin_family_error().
 *
 * Sudden death: nothing is left behind; the arena has no name and goes with its last member.
 */
KIN_API int kin_init(int *argc, char ***argv, const kin_options *options);

/*
 * kin_fini - leave the family.
 *
 * What the calling thread holds inside the library goes back to the family, and this process is no
 * member any more. Memory of the arena stays mapped, so pointers into it stay readable until the
 * process ends. At exit the main thread's part happens by itself; call it only to leave earlier.
 * Other threads must not be inside a kin call. Returns 0; -EBUSY from a signal handler that
 * interrupted a kin call. Calling it when not a member is no error.
 *
 * Sudden death: what was not given back is swept by the next member that needs it.
 */
KIN_API int kin_fini(void);

/*
 * kin_family_error - the words of the last call without a handle that failed in this thread.
 *
 * One line, in English, without a newline; empty if nothing failed yet. Valid until the next kin
 * call of the same thread that fails.
 */
KIN_API const char *kin_family_error(void);

/*
 * kin_family_size - how many processes are in the family and alive, this one included.
 *
 * Returns the count, or -EINVAL where kin_init was not called, -EBUSY as in kin_fini.
 */
KIN_API int kin_family_size(void);

#ifdef __cplusplus
}
#endif
#endif
