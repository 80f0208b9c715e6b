// SPDX-License-Identifier: MIT
/*
 * kill.h - SIGKILL after every single instruction of an operation.
 *
 * A test names an operation and what must hold afterwards. For each instruction of the operation the
 * harness makes a fresh world (a process that becomes the root of a new family), prepares it, lets a
 * child of it run the operation up to that instruction, kills the child there, and lets the world,
 * the survivor, go on and check.
 *
 * Options of a test built on it (kill_main): none runs all cases; names run those;
 * --part=K/N runs every N-th case, for N runs side by side;
 * --sample=N kills at N places at most (default: every one, over 12,000 a seeded sample of 2,000);
 * --plant=BUG plants a bug (in a build with KIN_PLANTED_BUGS) and succeeds only if some case fails.
 */
#ifndef KIN_TEST_KILL_H
#define KIN_TEST_KILL_H

#include "check.h"
#include "crew.h"

#include <stdint.h>

struct kill_case {
    const char *name;
    void (*prepare)(void);   /* in the world; may be NULL */
    void (*enter)(void);     /* in the victim, before it is stepped; may be NULL */
    void (*operate)(void);   /* in the victim, killed somewhere in here, or just behind it */
    uint64_t (*state)(void); /* in the world after the kill, before any repair: what can be seen */
    void (*verify)(void);    /* in the world: go on, and CHECK what must hold */
    int slack;               /* kills after which verify may call kill_note_leak (see there) */
};

int kill_main(const struct kill_case *cases, int argc, char **argv);

/*
 * What a returned pointer is lost with: the last instructions of a call, in which its result is the
 * victim's already but in a register only. verify reports such an end with this; more of them than
 * the case's slack are a failure.
 */
void kill_note_leak(void);

/* Memory shared by the world and its victims, zeroed for each world. */
void *kill_cell(void);
#define KILL_CELL_BYTES 4096

#endif
