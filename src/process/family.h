// SPDX-License-Identifier: MIT
/*
 * family.h - membership, for the rest of the library and the tests.
 */
#ifndef KN_PROCESS_FAMILY_H
#define KN_PROCESS_FAMILY_H

#include <kin/family.h>

/*
 * Joins the family whose arena is behind this descriptor, which becomes kin's. 0, or -errno with
 * words (kn_arena_attach, kn_thread_begin); then the descriptor is closed.
 */
int kn_family_join(int fd);

#endif
