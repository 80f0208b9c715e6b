// SPDX-License-Identifier: MIT
/*
 * lifeline.h - a child that ends when its parent ends, however that comes about.
 */
#ifndef KN_PROCESS_LIFELINE_H
#define KN_PROCESS_LIFELINE_H

#include <base/attributes.h>

/* Both ends close at an exec. The parent keeps `keep` for as long as the child may live. */
struct kn_lifeline {
    int keep, hold;
};

/* Makes one. 0, or a negative errno with words (-EMFILE, -ENFILE). */
int kn_lifeline_open(struct kn_lifeline *line);

/*
 * In the child, or in a vfork child of the parent before it execs: from now on this process is
 * killed when the last copy of `keep` is closed. The descriptor hold stays open over an exec, and
 * must. Returns 0; 1, the parent is gone already and the caller must exit; or a negative errno.
 */
int kn_lifeline_arm(int hold);

#endif
