// SPDX-License-Identifier: MIT
/*
 * clock.h - the monotonic clock in nanoseconds, and deadlines on it.
 */
#ifndef KN_BASE_CLOCK_H
#define KN_BASE_CLOCK_H

#include <base/attributes.h>
#include <kin/base.h>
#include <time.h>

/* Nanoseconds of the monotonic clock. */
int64_t kn_now(void);

/* The same as of the last tick, up to 10 ms ago, for a seventh of the price. */
int64_t kn_now_coarse(void);

/* The moment `timeout` from now; KIN_FOREVER stays KIN_FOREVER, a negative one is now. */
int64_t kn_deadline(int64_t timeout);

struct timespec kn_timespec(int64_t moment);

/* A second, give or take an eighth: sleepers that check on their own must not do it in step. */
int64_t kn_jittered_second(void);

/* Tells the processor that this is a spin. */
KN_INLINE void kn_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
