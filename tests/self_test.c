// SPDX-License-Identifier: MIT
/*
 * self_test.c - a program finds its own file: executed as usual, deleted meanwhile, by the dynamic
 * linker. With "--say" it prints what it found, executes that with "--end", and so ends with 5.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/error.h>
#include <fcntl.h>
#include <process/self.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *program; /* a path that leads to this program */

static int say(void)
{
    char path[KN_SELF_PATH];
    if (kn_self_path(path) < 0) {
        fprintf(stderr, "%s\n", kn_error_text());
        return 1;
    }
    execl(path, "self_test", "--end", (char *)NULL);
    return 2;
}

/* Runs the words and returns the exit code. */
static int run(const char *first, const char *second, const char *third)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execl(first, first, second, third, (char *)NULL);
        _exit(127);
    }
    int status = reap(pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void as_usual(void)
{
    CHECK_EQUAL(run(program, "--say", NULL), 5);
}

static void deleted(void)
{
    char path[KN_SELF_PATH];
    CHECK_EQUAL(kn_self_path(path), 0);
    CHECK(strcmp(path, "/proc/self/exe") == 0);

    char copy[] = "/tmp/kin-self-XXXXXX", buffer[65536];
    int to = mkstemp(copy), from = open(program, O_RDONLY | O_CLOEXEC);
    CHECK(to >= 0 && from >= 0);
    for (long n; (n = read(from, buffer, sizeof buffer)) > 0;)
        CHECK(write(to, buffer, (size_t)n) == n);
    CHECK(fchmod(to, 0755) == 0 && close(to) == 0);
    CHECK_EQUAL(run(copy, "--delete", copy), 5);
    CHECK(access(copy, F_OK) < 0);
}

/* "ld.so ./prog": the executed file is the dynamic linker's. */
static void by_the_dynamic_linker(void)
{
    static const char *const linkers[] = { "/lib64/ld-linux-x86-64.so.2",
                                           "/lib/ld-linux-aarch64.so.1" };
    for (size_t i = 0; i < sizeof linkers / sizeof *linkers; i++) {
        int answer = access(linkers[i], X_OK) == 0 ? run(linkers[i], program, "--say") : 127;
        if (answer == 127)
            continue;
        CHECK_EQUAL(answer, 5);
        return;
    }
    not_shown("this program has no dynamic linker");
}

static const struct test_case cases[] = {
    { "as usual", as_usual },
    { "deleted", deleted },
    { "by the dynamic linker", by_the_dynamic_linker },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    static char path[KN_SELF_PATH];
    if (argc > 1 && strcmp(argv[1], "--end") == 0)
        return 5;
    if (argc > 1 && strcmp(argv[1], "--say") == 0)
        return say();
    if (argc > 2 && strcmp(argv[1], "--delete") == 0) {
        CHECK(unlink(argv[2]) == 0);
        return say();
    }
    CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    program = path;
    run_apart(cases, argc, argv);
    return 0;
}
