// SPDX-License-Identifier: MIT
/*
 * kin/base.h - what every kin header stands on: time, errors, visibility.
 */
#ifndef KIN_BASE_H
#define KIN_BASE_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__linux__)
#error                                                                                             \
    "kin is for Linux 5.10 and later (x86-64 and arm64; glibc and musl). It stands on memfd, pidfd, futexes and robust lists; Windows and macOS have no equivalents, so there is no port."
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KIN_API                  __attribute__((visibility("default")))
#define KIN_PRINTF(words, first) __attribute__((format(printf, words, first)))
/* Not "malloc": other processes write into a block, which that attribute denies. */
#define KIN_MUST_USE __attribute__((warn_unused_result))
#else
#define KIN_API
#define KIN_PRINTF(words, first)
#define KIN_MUST_USE
#endif

#define KIN_VERSION_MAJOR 0
#define KIN_VERSION_MINOR 1
#define KIN_VERSION_PATCH 0

/*
 * Time is int64_t nanoseconds everywhere. As an argument 0 means "do not wait"; in an options
 * struct 0 means "no limit"; a negative time counts as 0.
 */
#define KIN_NS(n)   ((int64_t)(n))
#define KIN_US(n)   ((int64_t)(n)*1000)
#define KIN_MS(n)   ((int64_t)(n)*1000000)
#define KIN_S(n)    ((int64_t)(n)*1000000000)
#define KIN_FOREVER INT64_MAX

/*
 * kin_error - where a call that has no handle yet leaves its words.
 *
 * The first member of every options struct is a `kin_error *error`. When the call fails, code is
 * the same -errno that it returned and text is one line that says what to do. The caller owns it.
 */
typedef struct kin_error {
    int code;
    char text[252];
} kin_error;

#ifdef __cplusplus
}
#endif
#endif
