// SPDX-License-Identifier: MIT
/*
 * outside.c - a user's program: it knows nothing but the installed headers and pkg-config.
 *
 * A child, made with fork(2), reads what its parent stored and stores an answer. tests/install/gdb
 * looks at the same program with a debugger while both processes are in the family.
 */
#include <kin/kin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct letter {
    char *question;
    char *answer;
};

static int answer_it(struct letter *letter)
{
    if (strcmp(letter->question, "who is there?") != 0)
        return 1;
    letter->answer = kin_strdup("a child");
    return letter->answer ? 0 : 1;
}

/* Where a debugger stops: the letter is there, and so is a member that waits on the pipe. */
static __attribute__((noinline)) void all_are_here(struct letter *letter)
{
    __asm__ volatile("" : : "r"(letter) : "memory");
}

static int talk(struct letter *letter)
{
    int go[2], status = 0;
    char byte = 0;
    if (pipe(go) != 0)
        return 1;
    pid_t pid = fork();
    if (pid < 0)
        return 1;
    if (pid == 0) {
        close(go[1]);
        int failed = answer_it(letter);
        /* Stays until the parent closes its end, or dies. */
        while (read(go[0], &byte, 1) > 0)
            ;
        _exit(failed);
    }
    close(go[0]);
    while (kin_family_size() < 2 && waitpid(pid, &status, WNOHANG) == 0)
        usleep(1000);
    all_are_here(letter);
    close(go[1]);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return 1;
    return letter->answer && strcmp(letter->answer, "a child") == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (kin_init(&argc, &argv, NULL) < 0) {
        fprintf(stderr, "outside: %s\n", kin_family_error());
        return 1;
    }
    struct letter *letter = kin_calloc(1, sizeof *letter);
    void *large = kin_alloc(300000);
    if (!letter || !large)
        return 1;
    letter->question = kin_strdup("who is there?");
    int failed = !letter->question || talk(letter);
    failed |= kin_heap_check() != 0;
    kin_free(large);
    printf("outside: %s\n", failed ? "no answer" : letter->answer);
    return failed;
}
