// SPDX-License-Identifier: MIT
/*
 * check.h - the smallest thing that can be called a test framework.
 *
 * A test is a program: 0 passed, 77 skipped, anything else failed. Its cases are functions, run one
 * after the other in this process; CHECK ends the program at the first thing that does not hold.
 */
#ifndef KIN_TEST_CHECK_H
#define KIN_TEST_CHECK_H

#include <kin/kin.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED 77

/* AddressSanitizer takes terabytes of address space, and dies by its own report. */
#if defined(__SANITIZE_ADDRESS__)
#define KIN_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KIN_TEST_ASAN 1
#endif
#endif
#if !defined(KIN_TEST_ASAN)
#define KIN_TEST_ASAN 0
#endif

static inline void check_failed(const char *file, int line, const char *what, const char *words)
{
    fprintf(stderr, "%s:%d: does not hold: %s%s%s\n", file, line, what, *words ? ": " : "", words);
    fflush(NULL);
    _exit(1);
}

/* The last kin error's words are shown when it fails. */
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, kin_family_error()))

/* Two numbers that must be equal; both are shown. */
#define CHECK_EQUAL(a, b)                                                                          \
    do {                                                                                           \
        long long check_a = (long long)(a), check_b = (long long)(b);                              \
        if (check_a != check_b) {                                                                  \
            char check_text[120];                                                                  \
            snprintf(check_text, sizeof check_text, "%lld and %lld", check_a, check_b);            \
            check_failed(__FILE__, __LINE__, #a " == " #b, check_text);                            \
        }                                                                                          \
    } while (0)

/* A case, or the rest of it, cannot be shown here. The line's form is known to .ci/testlog. */
static inline KIN_PRINTF(1, 2) void not_shown(const char *reason, ...)
{
    va_list arguments;
    va_start(arguments, reason);
    printf("    not shown: ");
    vprintf(reason, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
}

struct test_case {
    const char *name;
    void (*run)(void);
};

/* Runs all cases, or those named in the arguments. */
static inline int run_cases(const struct test_case *cases, int argc, char **argv)
{
    for (const struct test_case *c = cases; c->name; c++) {
        int wanted = argc < 2;
        for (int i = 1; i < argc; i++)
            wanted |= strcmp(argv[i], c->name) == 0;
        if (!wanted)
            continue;
        printf("%s\n", c->name);
        fflush(stdout);
        c->run();
    }
    return 0;
}

#endif
