// SPDX-License-Identifier: MIT
/*
 * error.h - an errno and one line of words.
 */
#ifndef KN_BASE_ERROR_H
#define KN_BASE_ERROR_H

#include <kin/base.h>

/* Keeps the words for this thread and returns code (a negative errno), so: return kn_fail(...). */
int kn_fail(int code, const char *format, ...) KIN_PRINTF(2, 3);

/* The words that kn_fail kept last in this thread. */
const char *kn_error_text(void);

/* Copies code and this thread's words to the caller's error, if there is one; returns code. */
int kn_error_give(kin_error *error, int code);

#endif
