// SPDX-License-Identifier: MIT
/*
 * selftest_test.c - the self-test finds what is there, says what is not, and leaves nothing behind.
 *
 * With --print it shows the rows, for people and for reports about machines.
 */
#include "harness/check.h"
#include "harness/crew.h"

#include <base/system.h>
#include <pthread.h>
#include <shm/robust.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MOST 40

static kin_selftest_result row[MOST];
static int rows;

static void print_rows(void)
{
    for (int i = 0; i < rows; i++)
        printf("  %-24s %4d  %s\n", row[i].name, row[i].state, row[i].text);
}

static kin_selftest_result *row_of(const char *name)
{
    for (int i = 0; i < rows; i++)
        if (strcmp(row[i].name, name) == 0)
            return &row[i];
    fprintf(stderr, "no row %s\n", name);
    CHECK(!"a row of that name");
    return NULL;
}

/* Each row is said in one line, in full. */
static void check_text(const kin_selftest_result *r)
{
    size_t length = strnlen(r->text, sizeof r->text);
    CHECK(r->name && *r->name);
    CHECK(length > 0 && length < sizeof r->text - 1);
    CHECK(strchr(r->text, '\n') == NULL);
    CHECK(r->state <= 1 && r->state > -4096);
}

static void nobody_left(void)
{
    errno = 0;
    CHECK_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQUAL(errno, ECHILD);
}

static int mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    int lines = 0;
    CHECK(maps != NULL);
    for (int c; (c = fgetc(maps)) != EOF;)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

static void test_all(void)
{
    int descriptors = open_descriptors();
    memset(row, 0xee, sizeof row);
    rows = kin_selftest(row, MOST);
    CHECK(rows > 0 && rows <= MOST);
    CHECK_EQUAL(open_descriptors(), descriptors);
    for (int i = 0; i < rows; i++)
        check_text(&row[i]);
    nobody_left();
}

/* May this machine lack it, and go on in an older way? */
static int may_be_missing(const char *name)
{
    static const char *const names[] = { "futex_waitv", "membarrier", "thread id address",
                                         "wipe on fork" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return 0;
}

static void what_is_there(void)
{
    test_all();
    int bad = 0;
    for (int i = 0; i < rows; i++)
        bad += row[i].state != 1 && (row[i].state != 0 || !may_be_missing(row[i].name));
    if (bad)
        print_rows();
    CHECK_EQUAL(bad, 0);
}

static void counts(void)
{
    kin_selftest_result few[4];
    int all = kin_selftest(NULL, 0);
    CHECK(all > 15 && all <= MOST);
    CHECK_EQUAL(kin_selftest(few, 0), all);
    CHECK_EQUAL(kin_selftest(NULL, 1), -EINVAL);
    CHECK_EQUAL(kin_selftest(NULL, -1), -EINVAL);
    CHECK_EQUAL(kin_selftest(few, -1), -EINVAL);
    memset(few, 0xee, sizeof few);
    CHECK_EQUAL(kin_selftest(few, 3), all);
    check_text(&few[2]);
    CHECK_EQUAL((unsigned char)few[3].text[0], 0xee);
    memset(row, 0xee, sizeof row);
    CHECK_EQUAL(kin_selftest(row, MOST), all);
    CHECK(row[all - 1].state <= 1);
    CHECK_EQUAL((unsigned char)row[all].text[0], 0xee);
}

/* ---- What the caller keeps ---- */

static void ignore(int number)
{
    (void)number;
}

static struct robust_list_head *list_of_thread(void)
{
    struct robust_list_head *head = NULL;
    size_t length;
    CHECK(syscall(SYS_get_robust_list, 0, &head, &length) == 0);
    return head;
}

static void nothing_changes(void)
{
    sigset_t set, after;
    struct sigaction action = { .sa_handler = ignore }, found;
    struct rlimit core, core_after;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigaction(SIGALRM, &action, NULL);
    getrlimit(RLIMIT_CORE, &core);

    pthread_mutexattr_t attributes;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutex_lock(&mutex);
    struct robust_list_head *head = list_of_thread();
    struct robust_list_head before = *head;

    int lines = mappings();
    errno = 12345;
    int answer = kin_selftest(row, MOST);
    CHECK_EQUAL(errno, 12345);
    CHECK_EQUAL(answer, rows);
    CHECK(mappings() <= lines + 1); /* the C library's own heap may have begun */

    CHECK(list_of_thread() == head);
    CHECK(memcmp(head, &before, sizeof before) == 0);
    pthread_mutex_unlock(&mutex);
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number < 32; number++)
        CHECK_EQUAL(sigismember(&after, number), number == SIGUSR2);
    sigaction(SIGALRM, NULL, &found);
    CHECK(found.sa_handler == ignore);
    CHECK_EQUAL(alarm(0), 0);
    getrlimit(RLIMIT_CORE, &core_after);
    CHECK(memcmp(&core, &core_after, sizeof core) == 0);
    nobody_left();
}

/* A member's life word is in its list, in shared memory, when the children are forked. */
static void of_a_member(void)
{
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), 0);
    CHECK(kin_free(kin_alloc(100)) == 0);
    struct robust_list_head *head = list_of_thread();
    struct robust_list *first = head->list.next;
    struct robust_list *previous = ((struct robust_list **)first)[-1];
    what_is_there();
    CHECK(head->list.next == first && ((struct robust_list **)first)[-1] == previous);
    CHECK(kin_free(kin_alloc(100)) == 0);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(kin_heap_check(), 0);
    CHECK_EQUAL(kin_fini(), 0);
}

static volatile sig_atomic_t stolen;

static void collect_everything(int number)
{
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        stolen++;
}

/* The host's ways with its children change no row. */
static void impolite_hosts(void)
{
    signal(SIGCHLD, SIG_IGN);
    what_is_there();
    struct sigaction thief = { .sa_handler = collect_everything, .sa_flags = SA_RESTART };
    sigaction(SIGCHLD, &thief, NULL);
    what_is_there();
    signal(SIGCHLD, SIG_DFL);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    what_is_there();
}

static void *in_a_thread(void *unused)
{
    kin_selftest_result mine[MOST];
    (void)unused;
    CHECK_EQUAL(kin_selftest(mine, MOST), rows);
    for (int i = 0; i < rows; i++)
        CHECK(mine[i].state == 1 || (mine[i].state == 0 && may_be_missing(mine[i].name)));
    return NULL;
}

static void by_several_threads(void)
{
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, in_a_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    nobody_left();
}

/* ---- What is missing ---- */

static void arm(enum kn_call call, int error, long nth)
{
    kn_fault = (struct kn_fault) {
        .call = call, .nth = nth, .error = error, .times = 1000, .counting = 1
    };
}

static void disarm(void)
{
    memset(&kn_fault, 0, sizeof kn_fault);
}

static const struct {
    enum kn_call call;
    const char *rows[9]; /* that cannot work without it */
} needs[] = {
    { KN_MEMFD_CREATE, { "memfd", "memfd seals", "memfd growth" } },
    { KN_FCNTL, { "memfd seals", "lifeline" } },
    { KN_FALLOCATE, { "memfd growth" } },
    { KN_GET_ROBUST_LIST,
      { "robust list", "robust layout", "life word", "life word among mutexes", "pending word",
        "pending wake", "thread end" } },
    { KN_PRCTL, { "thread id address" } },
    { KN_MADVISE, { "wipe on fork" } },
    { KN_FUTEX_WAITV, { "futex_waitv" } },
    { KN_MEMBARRIER, { "membarrier" } },
    { KN_PIDFD_OPEN, { "pidfd" } },
    { KN_OPENAT, { "start time" } },
    { KN_READLINKAT, { "pid namespace" } },
    { KN_MMAP, { "memfd", "robust list", "life word", "lifeline", "pidfd", "pid namespace" } },
    { KN_MUNMAP, { NULL } },
    { KN_FUTEX, { NULL } }, /* sleeps become looks, up to the thousandth */
    { KN_SIGPROCMASK, { NULL } },
    { KN_PRLIMIT, { NULL } },
    { KN_SET_ROBUST_LIST, { NULL } },
    { KN_READ, { NULL } },
};

static int is_needed(size_t n, const char *name)
{
    for (const char *const *needed = needs[n].rows; *needed; needed++)
        if (strcmp(*needed, name) == 0)
            return 1;
    return 0;
}

static void try_without(size_t n, int error)
{
    arm(needs[n].call, error, 1);
    test_all();
    disarm();
    for (const char *const *needed = needs[n].rows; *needed; needed++)
        CHECK(row_of(*needed)->state <= 0);
    /* And the others do not suffer, unless from what reaches into all. */
    if (needs[n].rows[0] == NULL || needs[n].call == KN_MMAP)
        return;
    for (int i = 0; i < rows; i++) {
        if (is_needed(n, row[i].name) || row[i].state == 1 || may_be_missing(row[i].name))
            continue;
        fprintf(stderr, "%s fails with %d: %s %d %s\n", kn_system_table[needs[n].call].name, error,
                row[i].name, row[i].state, row[i].text);
        CHECK(!"a row that the call serves");
    }
}

static void each_call_fails(void)
{
    for (size_t n = 0; n < sizeof needs / sizeof *needs; n++) {
        const int *errors = kn_system_table[needs[n].call].errors;
        for (int i = 0; errors[i]; i++)
            try_without(n, errors[i]);
    }
}

/* Later calls fail, and not all: whatever the rows say, they are said, and nothing hangs. */
static void later_calls_fail(void)
{
    for (int call = 0; call < KN_CALLS; call++) {
        if (call == KN_CLOSE || call == KN_SIGPROCMASK || call == KN_MUNMAP)
            continue; /* a close, restore or unmap that is not made leaves what it is about */
        for (long nth = 2; nth <= 4; nth++) {
            arm((enum kn_call)call, kn_system_table[call].errors[0], nth);
            test_all();
            disarm();
        }
    }
}

/* A machine without room for another process. */
static void no_fork(void)
{
    struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_NPROC, &none) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
        _exit(SKIPPED);
    if (fork() >= 0)
        _exit(SKIPPED);
    test_all();
    for (int i = 0; i < rows; i++)
        CHECK_EQUAL(row[i].state, -EAGAIN);
}

static void fork_fails(void)
{
    int status = in_child(no_fork);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED);
    if (WEXITSTATUS(status) == SKIPPED)
        not_shown("no limit on processes can be set here");
    nobody_left();
}

static void no_descriptors(void)
{
    struct rlimit few = { 3, 3 };
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &few), 0);
    rows = kin_selftest(row, MOST);
    CHECK_EQUAL(row_of("memfd")->state, -EMFILE);
    CHECK_EQUAL(row_of("pidfd")->state, 0);
    CHECK_EQUAL(row_of("lifeline")->state, 0);
    CHECK_EQUAL(row_of("start time")->state, -EMFILE);
    CHECK_EQUAL(row_of("life word")->state, 1);
    nobody_left();
}

static void descriptors_run_out(void)
{
    CHECK_EQUAL(in_child(no_descriptors), 0);
}

static const struct test_case cases[] = {
    { "what_is_there", what_is_there },
    { "counts", counts },
    { "nothing_changes", nothing_changes },
    { "by_several_threads", by_several_threads },
    { "of_a_member", of_a_member },
    { "each_call_fails", each_call_fails },
    { "later_calls_fail", later_calls_fail },
    { "fork_fails", fork_fails },
    { "descriptors_run_out", descriptors_run_out },
    { "impolite_hosts", impolite_hosts },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        rows = kin_selftest(row, MOST);
        print_rows();
        return 0;
    }
    rows = kin_selftest(NULL, 0);
    return run_cases(cases, argc, argv);
}
