// SPDX-License-Identifier: MIT
/*
 * self.h - the file that this program was executed from.
 */
#ifndef KN_PROCESS_SELF_H
#define KN_PROCESS_SELF_H

#include <base/attributes.h>

#define KN_SELF_PATH 4096

/*
 * What to give to execve, in this process or a vfork child of it, to execute the same program once
 * more. 0, or -ENOENT, -ENAMETOOLONG or another errno with words.
 */
int kn_self_path(char path[static KN_SELF_PATH]);

#endif
