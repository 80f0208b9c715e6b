// SPDX-License-Identifier: MIT
/*
 * clock.c - time as kin counts it: int64_t nanoseconds of CLOCK_MONOTONIC.
 *
 * One clock for every wait in every process, so that a deadline can be handed from one to the
 * other, and no change of the wall clock shortens or stretches a time-out. Deadlines are absolute:
 * a wait that was interrupted goes on with the same one.
 */
#include <base/clock.h>

int64_t kn_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t kn_now_coarse(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t kn_deadline(int64_t timeout)
{
    if (timeout <= 0)
        return 0;
    int64_t now = kn_now();
    return timeout > KIN_FOREVER - now ? KIN_FOREVER : now + timeout;
}

struct timespec kn_timespec(int64_t moment)
{
    return (struct timespec) { .tv_sec = moment / 1000000000, .tv_nsec = moment % 1000000000 };
}

int64_t kn_jittered_second(void)
{
    /* The clock's low bits are random enough to keep sleepers out of step. */
    uint64_t mixed = (uint64_t)kn_now() * 0x9e3779b97f4a7c15u;
    return KIN_MS(875) + (int64_t)(mixed >> 32) % KIN_MS(250);
}
