// SPDX-License-Identifier: MIT
/*
 * function_test.c - functions named in one process and found in another that executed the same file.
 *
 * Arguments: two builds of tests/plug/plug.c. With "--find FILE" this program is the other process:
 * it reads a name from the file, finds the function, calls it and exits with its answer.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/error.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <process/function.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *first_plug, *second_plug;

static int answer_of_program(void *argument)
{
    (void)argument;
    return 41;
}

static struct kn_function name_of(const void *function)
{
    struct kn_function name;
    memset(&name, 0xee, sizeof name);
    CHECK_EQUAL(kn_function_name(function, &name), 0);
    return name;
}

static void *symbol_of(const char *path, const char *symbol)
{
    void *handle = dlopen(path, RTLD_NOW);
    CHECK(handle != NULL);
    void *address = dlsym(handle, symbol);
    CHECK(address != NULL);
    return address;
}

/* The other process's part. */
static int find_and_call(const char *path)
{
    struct kn_function name;
    const void *function = NULL;
    int fd = open(path, O_RDONLY);
    CHECK(read(fd, &name, sizeof name) == sizeof name);
    close(fd);
    int error = kn_function_find(&name, &function);
    if (error) {
        fprintf(stderr, "%s\n", kn_error_text());
        return -error;
    }
    return ((int (*)(void *))(uintptr_t)function)(NULL);
}

/* The exit code of another process that looks for this name and calls the function. */
static int answer_elsewhere(const struct kn_function *name)
{
    char path[] = "/tmp/kin-function-XXXXXX";
    int fd = mkstemp(path);
    CHECK(write(fd, name, sizeof *name) == sizeof *name);
    close(fd);
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "function_test", "--find", path, (char *)NULL);
        _exit(99);
    }
    int status = reap(pid);
    unlink(path);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void of_the_program(void)
{
    struct kn_function name = name_of((const void *)(uintptr_t)answer_of_program);
    const void *function = NULL;
    CHECK_EQUAL(kn_function_find(&name, &function), 0);
    CHECK(function == (const void *)(uintptr_t)answer_of_program);
    CHECK_EQUAL(answer_elsewhere(&name), 41);
}

static void of_a_loaded_library(void)
{
    struct kn_function name = name_of(symbol_of(first_plug, "plug_answer"));
    CHECK_EQUAL(name.object[0], '/');
    CHECK_EQUAL(answer_elsewhere(&name), 7);
    void *(*hidden)(void) = (void *(*)(void))(uintptr_t)symbol_of(first_plug, "plug_static");
    name = name_of(hidden());
    CHECK_EQUAL(answer_elsewhere(&name), 8);
}

/* Another build under the same path is refused, with both build-ids. */
static void of_another_build(void)
{
    struct kn_function name = name_of(symbol_of(first_plug, "plug_answer"));
    char one[2 * KN_BUILD_ID_MOST + 1], other[2 * KN_BUILD_ID_MOST + 1];
    struct kn_function wrong = name_of(symbol_of(second_plug, "plug_answer"));
    CHECK(strcmp(kn_function_id_text(&name, one), kn_function_id_text(&wrong, other)) != 0);
    snprintf(name.object, sizeof name.object, "%s", wrong.object);
    CHECK_EQUAL(answer_elsewhere(&name), ENOEXEC);

    /* The words, in this process: an id that nobody has. */
    struct kn_function mine = name_of((const void *)(uintptr_t)answer_of_program);
    const void *function;
    mine.object[0] = '\0';
    mine.id[0] ^= 1;
    CHECK_EQUAL(kn_function_find(&mine, &function), -ENOEXEC);
    CHECK(strstr(kn_error_text(), kn_function_id_text(&mine, one)));
    mine.id[0] ^= 1;
    CHECK(strstr(kn_error_text(), kn_function_id_text(&mine, one)));
}

static void of_nothing(void)
{
    struct kn_function name;
    const void *function;
    static int data;
    CHECK_EQUAL(kn_function_name(NULL, &name), -EFAULT);
    CHECK_EQUAL(kn_function_name(&data, &name), -EFAULT);
    CHECK_EQUAL(kn_function_name(&name, &name), -EFAULT);

    name = name_of((const void *)(uintptr_t)answer_of_program);
    struct kn_function bad = name;
    bad.offset = (uint64_t)1 << 40;
    CHECK_EQUAL(kn_function_find(&bad, &function), -EFAULT);
    bad = name;
    bad.id_length = 0;
    CHECK_EQUAL(kn_function_find(&bad, &function), -EFAULT);
    bad.id_length = KN_BUILD_ID_MOST + 1;
    CHECK_EQUAL(kn_function_find(&bad, &function), -EFAULT);
    bad = name;
    memset(bad.object, 'x', sizeof bad.object);
    CHECK_EQUAL(kn_function_find(&bad, &function), -EFAULT);
    bad = name;
    bad.id[0] ^= 1;
    snprintf(bad.object, sizeof bad.object, "/no/such/library.so");
    CHECK_EQUAL(kn_function_find(&bad, &function), -ENOENT);
    CHECK(strstr(kn_error_text(), "/no/such/library.so"));
}

static const struct test_case cases[] = {
    { "of the program", of_the_program },
    { "of a loaded library", of_a_loaded_library },
    { "of another build", of_another_build },
    { "of nothing", of_nothing },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    if (strcmp(argv[1], "--find") == 0)
        return find_and_call(argv[2]);
    first_plug = argv[1];
    second_plug = argv[2];
    run_apart(cases, argc - 2, argv + 2);
    return 0;
}
