// SPDX-License-Identifier: MIT
/*
 * plug.c - a library that tests load: built twice, alike but for what it answers, so that the two
 * have the same symbols at the same places and different build-ids.
 */
#include <stdint.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int plug_answer(void *argument);
EXPORTED void *plug_static(void);

int plug_answer(void *argument)
{
    (void)argument;
    return PLUG_ANSWER;
}

static int hidden(void *argument)
{
    (void)argument;
    return PLUG_ANSWER + 1;
}

void *plug_static(void)
{
    return (void *)(uintptr_t)hidden;
}
