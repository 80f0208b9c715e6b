// SPDX-License-Identifier: MIT
/*
 * error.c - words for errors that have no handle to belong to.
 *
 * Every call answers with a negative errno; the words are for people. Most objects keep their own.
 * What happens before there is an object (starting a family, taking memory) leaves its words here,
 * per thread, so that two threads that fail at once do not mix them.
 *
 * Sudden death: nothing here is shared.
 */
#include <base/error.h>

#include <base/attributes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __thread char words[sizeof(((kin_error *)0)->text)];

int kn_fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return code;
}

const char *kn_error_text(void)
{
    return words;
}

#if defined(KIN_DEBUG_BUILD)
void kn_broken(const char *number, const char *condition, const char *file, int line)
{
    char text[400];
    int n = snprintf(text, sizeof text, "kin: %s:%d: %s does not hold: %s\n", file, line, number,
                     condition);
    (void)!write(STDERR_FILENO, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    abort();
}
#endif

int kn_error_give(kin_error *error, int code)
{
    if (error) {
        error->code = code;
        memcpy(error->text, words, sizeof error->text);
    }
    return code;
}
