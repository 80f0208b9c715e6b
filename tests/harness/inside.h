// SPDX-License-Identifier: MIT
/*
 * inside.h - what several tests ask of the library's inside.
 */
#ifndef KIN_TEST_INSIDE_H
#define KIN_TEST_INSIDE_H

#include "check.h"

#include <shm/attach.h>

/* This thread as a participant, registered by now, and outside any call. */
static inline struct kn_thread *self(void)
{
    int error;
    struct kn_thread *t = kn_thread_enter(&error);
    CHECK(t != NULL);
    kn_thread_done(t);
    return t;
}

/* Slots of the table of threads that are in this state. */
static inline int count_slots(enum kn_life_state wanted)
{
    struct kn_participant *p;
    int count = 0;
    for (uint32_t slot = 0; (p = kn_participant_at(kn_process.header, slot)); slot++)
        count += kn_participant_state(kn_process.header, p) == wanted;
    return count;
}

/* A block that says its size, and is full of the size's last byte. */
static inline void fill_block(char *block, size_t size)
{
    memcpy(block, &size, sizeof size);
    memset(block + sizeof size, (int)(size & 255), size - sizeof size);
}

/* A seeded sequence. */
static inline uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

#endif
