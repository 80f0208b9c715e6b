// SPDX-License-Identifier: MIT
/*
 * attributes.h - short words for the compiler, and the two switches that only tests turn.
 *
 * KN_PLANT(name) is 0 in the library. In the build that proves that the kill harness can fail
 * (KIN_PLANTED_BUGS), it asks whether the test planted the bug of that name.
 */
#ifndef KN_BASE_ATTRIBUTES_H
#define KN_BASE_ATTRIBUTES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define kn_likely(x)   __builtin_expect(!!(x), 1)
#define kn_unlikely(x) __builtin_expect(!!(x), 0)
#define KN_INLINE      static inline __attribute__((always_inline))
#define KN_COLD        __attribute__((cold, noinline))
#define KN_NOINLINE    __attribute__((noinline))

/*
 * The order of a thread's own stores as the thread's death shows them: only the compiler can
 * disturb it, because others look only after the kernel marked the death, on the processor where
 * the thread died, behind all its stores.
 */
#define kn_compiler_barrier() atomic_signal_fence(memory_order_seq_cst)

/*
 * Thread-local variables on the hot path. musl cannot load a shared object with initial-exec
 * variables through dlopen, glibc keeps room for a few.
 */
#if defined(__GLIBC__)
#define KN_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
#else
#define KN_THREAD_LOCAL __thread
#endif

#if defined(__SANITIZE_THREAD__)
#define KN_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KN_THREAD_SANITIZER 1
#endif
#endif

#define KN_ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define KN_ROUND_UP(n, to) (((n) + (to)-1) / (to) * (to))

/* What must hold at this place cites its number in doc/invariants.md. Debug builds stop there. */
#if defined(KIN_DEBUG_BUILD)
void kn_broken(const char *number, const char *condition, const char *file, int line)
    __attribute__((noreturn, cold));
#define kn_assert(number, condition)                                                               \
    ((condition) ? (void)0 : kn_broken(number, #condition, __FILE__, __LINE__))
#else
#define kn_assert(number, condition) ((void)sizeof(condition))
#endif

#if defined(KIN_PLANTED_BUGS)
extern const char *kn_planted;
int kn_planted_is(const char *name);
#define KN_PLANT(name) kn_unlikely(kn_planted_is(name))
#else
#define KN_PLANT(name) 0
#endif

#endif
