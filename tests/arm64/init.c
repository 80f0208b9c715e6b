/*
 * The first process of the virtual arm64 machine that scripts/test-arm64 starts.
 *
 * The machine has a kernel, this program and the library's test programs, all in one initramfs,
 * and nothing else: no shell, no disk, no shared libraries. This program mounts what a test may
 * expect of a Linux system, runs the tests of the list in /tests one after the other, and turns
 * the machine off.
 *
 * The list has one item a line. "test NAME" begins a test; "limit SECONDS", "dir PATH",
 * "env NAME=VALUE" and "arg WORD" belong to the test that was begun last. The first arg is the
 * program's path.
 *
 * All that the host learns it reads from the console, a line at a time:
 *
 *     @boot RELEASE            the kernel's release: the machine is up
 *     @note TEXT               something that could not be set up
 *     @run NUMBER NAME         a test begins; tests are counted from 0
 *     | TEXT                   a line that the test printed
 *     @end NUMBER exit STATUS SECONDS
 *     @end NUMBER signal SIGNAL SECONDS
 *     @end NUMBER limit 0 SECONDS
 *     @done COUNT              all were run
 *
 * A line of a test always has the bar before it, so that no test can speak for this program.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LIST      "/tests"
#define MAX_WORDS 256

struct test {
    const char *name;
    const char *dir;
    double limit;
    size_t args;
    size_t envs;
    char *arg[MAX_WORDS + 1];
    char *env[MAX_WORDS + 1];
};

/* What every test has in its environment, before its own. */
static char *const base_env[] = { "PATH=/bin", "HOME=/tmp", "LC_ALL=C" };

static sigset_t all_signals_open;

static void die(const char *what)
{
    printf("@note init stops: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
    reboot(RB_POWER_OFF);
    _exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        printf("@note %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void mount_all(void)
{
    static const struct {
        const char *type;
        const char *path;
        const char *options;
    } mounts[] = {
        { "devtmpfs", "/dev", NULL },
        { "devpts", "/dev/pts", "ptmxmode=0666" },
        { "tmpfs", "/dev/shm", "mode=1777" },
        { "proc", "/proc", NULL },
        { "sysfs", "/sys", NULL },
        { "cgroup2", "/sys/fs/cgroup", NULL },
        { "tmpfs", "/run", "mode=0755" },
        { "tmpfs", "/tmp", "mode=1777" },
    };

    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        mkdir(mounts[i].path, 0755);
        if (mount(mounts[i].type, mounts[i].path, mounts[i].type, 0, mounts[i].options) != 0 &&
            errno != EBUSY)
            printf("@note mount %s: %s\n", mounts[i].path, strerror(errno));
    }
}

static void set_up(void)
{
    umask(022);
    if (!(getauxval(AT_HWCAP) & HWCAP_ATOMICS))
        printf("@note this cpu has no LSE atomics: programs built for them are killed by SIGILL\n");
    mount_all();
    symlink("/proc/self/fd", "/dev/fd");
    symlink("/proc/self/fd/0", "/dev/stdin");
    symlink("/proc/self/fd/1", "/dev/stdout");
    symlink("/proc/self/fd/2", "/dev/stderr");
    sethostname("arm64", 5);
    write_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpu +memory +pids");

    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) != 0)
        printf("@note lo: %s\n", strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void on_child(int signal)
{
    /* Only there so that SIGCHLD ends ppoll. */
    (void)signal;
}

/* Prints what fd has, a bar before each line; false when there is nothing more to come. */
static bool copy_output(int fd, bool *line_open)
{
    char text[4096];
    ssize_t length = read(fd, text, sizeof text);
    if (length < 0)
        return errno == EINTR;
    for (ssize_t i = 0; i < length; i++) {
        if (!*line_open)
            fputs("| ", stdout);
        putchar(text[i]);
        *line_open = text[i] != '\n';
    }
    fflush(stdout);
    return length > 0;
}

/* Ends everything but this process. What a test left behind must not disturb the next one. */
static void kill_all(void)
{
    double end = now() + 10;
    while (waitpid(-1, NULL, WNOHANG) >= 0) {
        if (now() > end) {
            printf("@note processes are left that do not die\n");
            return;
        }
        kill(-1, SIGKILL);
        usleep(1000);
    }
}

_Noreturn static void start(struct test *test, int output)
{
    setsid();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    sigprocmask(SIG_SETMASK, &all_signals_open, NULL);
    if (chdir(test->dir) != 0)
        dprintf(STDERR_FILENO, "cannot enter %s: %s\n", test->dir, strerror(errno));
    else if (execve(test->arg[0], test->arg, test->env) != 0)
        dprintf(STDERR_FILENO, "cannot start %s: %s\n", test->arg[0], strerror(errno));
    _exit(127);
}

static void run(struct test *test, int number)
{
    printf("@run %d %s\n", number, test->name);
    fflush(stdout);

    int output[2];
    if (pipe2(output, O_CLOEXEC | O_NONBLOCK) != 0)
        die("pipe");
    /* Only this end: the test must find an ordinary, blocking output. */
    fcntl(output[1], F_SETFL, 0);

    double begin = now();
    double end = begin + test->limit;
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        start(test, output[1]);
    close(output[1]);

    struct pollfd poll = { .fd = output[0], .events = POLLIN };
    bool line_open = false;
    bool ended = false;
    int status = 0;
    for (;;) {
        int any;
        pid_t pid;
        /* Orphans come here too: their parents are gone, nobody else waits for them. */
        while ((pid = waitpid(-1, &any, WNOHANG)) > 0) {
            if (pid == child) {
                ended = true;
                status = any;
            }
        }
        double left = end - now();
        if (ended || left <= 0)
            break;
        struct timespec wait = { (time_t)left, (long)((left - (double)(time_t)left) * 1e9) };
        if (ppoll(&poll, 1, &wait, &all_signals_open) > 0 && !copy_output(output[0], &line_open))
            poll.fd = -1;
    }
    double seconds = now() - begin;

    kill_all();
    while (copy_output(output[0], &line_open))
        continue;
    close(output[0]);
    if (line_open)
        putchar('\n');

    if (!ended)
        printf("@end %d limit 0 %.3f\n", number, seconds);
    else if (WIFSIGNALED(status))
        printf("@end %d signal %d %.3f\n", number, WTERMSIG(status), seconds);
    else
        printf("@end %d exit %d %.3f\n", number, WEXITSTATUS(status), seconds);
    fflush(stdout);
}

static void add_word(char **words, size_t *count, char *word)
{
    if (*count == MAX_WORDS) {
        errno = E2BIG;
        die("a test's words");
    }
    words[(*count)++] = word;
    words[*count] = NULL;
}

/* The value of the line's item when it is of this kind, else NULL. */
static char *item(char *line, const char *kind)
{
    size_t length = strlen(kind);
    if (strncmp(line, kind, length) != 0 || line[length] != ' ')
        return NULL;
    return line + length + 1;
}

static void run_list(void)
{
    FILE *list = fopen(LIST, "re");
    if (list == NULL)
        die(LIST);

    struct test test = { 0 };
    int count = 0;
    for (;;) {
        char *line = NULL;
        size_t size = 0;
        ssize_t length = getline(&line, &size, list);
        if (length > 0 && line[length - 1] == '\n')
            line[length - 1] = '\0';

        char *value = length < 0 ? NULL : item(line, "test");
        if (test.args > 0 && (length < 0 || value != NULL))
            run(&test, count++);
        if (length < 0)
            break;
        if (value != NULL) {
            test = (struct test) { .name = value, .dir = "/", .limit = 60 };
            for (size_t i = 0; i < sizeof base_env / sizeof *base_env; i++)
                add_word(test.env, &test.envs, base_env[i]);
        } else if ((value = item(line, "limit")) != NULL) {
            test.limit = strtod(value, NULL);
        } else if ((value = item(line, "dir")) != NULL) {
            test.dir = value;
        } else if ((value = item(line, "env")) != NULL) {
            add_word(test.env, &test.envs, value);
        } else if ((value = item(line, "arg")) != NULL) {
            add_word(test.arg, &test.args, value);
        }
        /* The lines stay: the tests point into them. */
    }
    fclose(list);
    printf("@done %d\n", count);
}

int main(void)
{
    /* Anywhere else it would end every process of the system that it was started on. */
    if (getpid() != 1) {
        fputs("init: this is for the virtual machine of scripts/test-arm64 alone\n", stderr);
        return 1;
    }

    sigset_t child_signal;
    sigemptyset(&all_signals_open);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, NULL);
    struct sigaction action = { .sa_handler = on_child };
    sigaction(SIGCHLD, &action, NULL);

    struct utsname system;
    uname(&system);
    printf("@boot %s\n", system.release);
    set_up();
    fflush(stdout);
    run_list();

    fflush(stdout);
    tcdrain(STDOUT_FILENO);
    reboot(RB_POWER_OFF);
    return 1;
}
