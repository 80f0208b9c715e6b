// SPDX-License-Identifier: MIT
/*
 * function.h - what a function is called across an exec.
 */
#ifndef KN_PROCESS_FUNCTION_H
#define KN_PROCESS_FUNCTION_H

#include <base/attributes.h>

#define KN_BUILD_ID_MOST 32
#define KN_OBJECT_PATH   512

/*
 * A function, named so that another process that executes the same file finds it: the object it is
 * in, by its build-id, and how far behind the object's load base it begins. Plain bytes.
 */
struct kn_function {
    uint64_t offset;
    uint32_t id_length;           /* bytes of id; never 0 */
    uint32_t hashed;              /* the object has no build-id: id is a hash of its text */
    uint8_t id[KN_BUILD_ID_MOST]; /* of a longer one, the first bytes */
    char object[KN_OBJECT_PATH];  /* its path, for one that must be loaded first; "": the program */
};

/*
 * Names the function at this address, which may be static, of the program or of any shared library
 * in it. 0, or -EFAULT (no function's address) or -ENAMETOOLONG, with words.
 */
int kn_function_name(const void *function, struct kn_function *name);

/*
 * Finds the function of this name here, loading its object if it is none that is there. 0, or with
 * words: -ENOEXEC where the object is another build (both build-ids are told), -ENOENT where it
 * cannot be loaded, -EFAULT where no code is at that place.
 */
int kn_function_find(const struct kn_function *name, const void **function);

/* The id in hexadecimal digits; at most 2 * KN_BUILD_ID_MOST + 1 bytes. Returns text. */
char *kn_function_id_text(const struct kn_function *name, char *text);

#endif
