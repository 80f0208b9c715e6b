// SPDX-License-Identifier: MIT
/*
 * family_test.c - who is a member, and what fork, vfork, exec, the end of a thread, cancellation and
 * signals do to it.
 */
#include "harness/check.h"
#include "harness/crew.h"
#include "harness/inside.h"

#include <base/system.h>
#include <fcntl.h>
#include <pthread.h>
#include <shm/attach.h>
#include <shm/lock.h>
#include <shm/member.h>
#include <shm/sweep.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void begin(void)
{
    CHECK(kin_init(NULL, NULL, NULL) == 0);
}

static void use(void)
{
    for (size_t size = 1; size < 100000; size *= 3)
        CHECK(kin_free(kin_alloc(size)) == 0);
}

static void one_word_only(void)
{
    CHECK_EQUAL(kin_family_size(), -EINVAL);
    CHECK(strstr(kin_family_error(), "kin_init"));
    errno = 0;
    CHECK(kin_alloc(1) == NULL && errno == EINVAL);
    CHECK_EQUAL(kin_free(&errno), -EINVAL);
    CHECK_EQUAL(kin_fini(), 0);
    begin();
    begin();
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(kin_fini(), 0);
    CHECK_EQUAL(kin_fini(), 0);
    CHECK_EQUAL(kin_family_size(), -EINVAL);
    begin(); /* a new family, at another base */
    use();
}

static void a_bad_mode(void)
{
    setenv("KIN_ROBUST", "sometimes", 1);
    CHECK_EQUAL(kin_init(NULL, NULL, NULL), -EINVAL);
    CHECK(strstr(kin_family_error(), "KIN_ROBUST"));
}

/* ---- fork ---- */

static void be_a_member(int number)
{
    use();
    CHECK(kin_family_size() >= 2 + number);
}

static void forked(void)
{
    begin();
    for (int i = 0; i < 50; i++)
        CHECK_EQUAL(reap(fork_worker(be_a_member, 0)), 0);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
}

static void grandchild(int number)
{
    be_a_member(number);
    if (number < 5)
        CHECK_EQUAL(reap(fork_worker(grandchild, number + 1)), 0);
}

static void forked_deep(void)
{
    begin();
    CHECK_EQUAL(reap(fork_worker(grandchild, 0)), 0);
    CHECK_EQUAL(kin_family_size(), 1);
}

/* A child that never calls kin is no member, and its end hurts nobody. */
static void silent(int stays)
{
    while (stays)
        pause();
}

static void forked_silent(void)
{
    begin();
    char *block = kin_alloc(100);
    CHECK_EQUAL(reap(fork_worker(silent, 0)), 0);
    pid_t pid = fork_worker(silent, 1);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(WTERMSIG(kill_and_reap(pid)), SIGKILL);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
    CHECK(kin_free(block) == 0);
}

static void *use_in_thread(void *unused)
{
    use();
    return unused;
}

static void run_thread(void *(*work)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void in_thread(void *(*work)(void *))
{
    run_thread(work, NULL);
}

/* The child's first kin call comes from a thread that the child made itself. */
static void thread_first(int number)
{
    (void)number;
    in_thread(use_in_thread);
    use();
}

/* The fork is made by a thread that never called kin. */
static void *fork_here(void *unused)
{
    CHECK_EQUAL(reap(fork_worker(be_a_member, 0)), 0);
    return unused;
}

static void forked_and_threads(void)
{
    begin();
    CHECK_EQUAL(reap(fork_worker(thread_first, 0)), 0);
    in_thread(fork_here);
    CHECK_EQUAL(kin_family_size(), 1);
}

/* fork(2) as a bare system call: the child has no robust list, and the C library does not know. */
static void raw_forked(void)
{
    begin();
    for (int i = 0; i < 3; i++) {
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            if (!kin_alloc(100) || kin_family_size() != 2 || kill(getpid(), SIGKILL))
                _exit(1);
        }
        CHECK_EQUAL(WTERMSIG(reap(pid)), SIGKILL);
        /* The mutexes of such a child are in no list that the kernel knows. */
        CHECK_EQUAL(count_slots(KN_LIFE_DEAD), kn_process.mode == KN_ROBUST_NATIVE);
        CHECK_EQUAL(kin_family_size(), 1);
    }
    use();
    /* The parent's own word is still linked where it was. */
    kn_thread_leave();
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 0);
    use();
}

/* ---- exec ---- */

/* Between the test and a program that a child of it executes: this one, told to wait. */
static int ends[2];

static void make_ends(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
}

/* Returns only where it fails. The child of a vfork may call it. */
static void execute(const char *path)
{
    if (dup2(ends[1], STDIN_FILENO) == STDIN_FILENO)
        execl(path, "family_test", "--wait", (char *)NULL);
}

/* The program: says that it runs, and does so until the test lets go of its end. */
static int wait_for_the_test(void)
{
    char byte = 0;
    if (write(STDIN_FILENO, &byte, 1) != 1)
        return 1;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}

/* From here on the child's memory is the program's. */
static void await_program(void)
{
    char byte;
    CHECK(close(ends[1]) == 0);
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
}

static void end_program(pid_t pid)
{
    CHECK_EQUAL(waitpid(pid, NULL, WNOHANG), 0);
    CHECK(close(ends[0]) == 0);
    CHECK_EQUAL(reap(pid), 0);
}

static void alone(void)
{
    CHECK_EQUAL(kin_family_size(), 1);
    /* Where the kernel marks nobody, /proc is asked, which shows the thread that execs as before. */
    if (kn_process.mode == KN_ROBUST_NATIVE)
        CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
    use();
    CHECK(kin_heap_check() == 0);
}

/* It runs in this process's memory until it ends or execs: nothing of that must show here. */
static void vforked(void)
{
    static const char *const paths[] = { NULL, "/nowhere", "/proc/self/exe" };
    begin();
    use();
    char *block = kin_alloc(100);
    struct kn_thread before = *self();
    for (volatile int i = 0; i < 3; i++) {
        make_ends();
        pid_t pid = vfork();
        if (pid == 0) {
            if (paths[i])
                execute(paths[i]);
            _exit(5);
        }
        CHECK(pid > 0);
        alone();
        if (i == 2) {
            await_program();
            alone();
            end_program(pid);
        } else {
            CHECK_EQUAL(WEXITSTATUS(reap(pid)), 5);
            CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
        }
        alone();
        /* Registered as before: neither anew nor by the child. */
        struct kn_thread *t = self();
        CHECK(t->self == before.self && t->id == before.id && t->robust == before.robust);
        CHECK(t->robust->list_op_pending == NULL);
    }
    CHECK_EQUAL(kin_free(block), 0);
    CHECK_EQUAL(reap(fork_worker(be_a_member, 0)), 0);
}

static void become_another(int number)
{
    (void)number;
    use();
    execute("/nowhere");
    /* It could not, and is a member still. */
    CHECK_EQUAL(kin_family_size(), 2);
    execute("/proc/self/exe");
    _exit(9);
}

/* The program runs on in the same process, and is no member: the kernel marked the life word. */
static void executed(void)
{
    begin();
    make_ends();
    pid_t pid = fork_worker(become_another, 0);
    await_program();
    WAIT_UNTIL(kin_family_size() == 1);
    alone();
    CHECK_EQUAL(reap(fork_worker(be_a_member, 0)), 0);
    end_program(pid);
    alone();
}

/*
 * The thread that execs gets the number of the first one, before the kernel walks its list: nobody
 * marks its word, which names a thread that is no more.
 */
static void *become_another_here(void *unused)
{
    use();
    execute("/proc/self/exe");
    _exit(9);
    return unused;
}

static void become_another_in_thread(int number)
{
    (void)number;
    use();
    in_thread(become_another_here);
}

static void executed_by_a_thread(void)
{
    begin();
    make_ends();
    pid_t pid = fork_worker(become_another_in_thread, 0);
    await_program();
    WAIT_UNTIL(kin_family_size() == 1);
    alone();
    end_program(pid);
    alone();
}

/* ---- the ends of a thread ---- */

static void *end_by_exit(void *unused)
{
    use();
    pthread_exit(unused);
}

static _Atomic int ready;

static void *wait_to_be_cancelled(void *unused)
{
    use();
    atomic_store(&ready, 1);
    for (;;)
        pause();
    return unused;
}

static void *cancelled_in_calls(void *unused)
{
    atomic_store(&ready, 1);
    for (;;) {
        pthread_testcancel();
        use();
    }
    return unused;
}

static void cancel(void *(*work)(void *))
{
    pthread_t thread;
    atomic_store(&ready, 0);
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    WAIT_UNTIL(atomic_load(&ready));
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void threads_end(void)
{
    begin();
    for (int i = 0; i < 20; i++) {
        in_thread(end_by_exit);
        cancel(wait_to_be_cancelled);
        cancel(cancelled_in_calls);
    }
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK(kin_heap_check() == 0);
}

/* Main's pthread_exit is a thread's end: the process goes on, and is a member. */
static _Atomic int *shared_flag;

static void *outlive_main(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    use();
    atomic_store(shared_flag, 1);
    WAIT_UNTIL(atomic_load(shared_flag) == 2);
    use();
    _exit(0);
}

static void main_ends_first(int number)
{
    static pthread_t main_thread;
    (void)number;
    use();
    main_thread = pthread_self();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, outlive_main, &main_thread) == 0);
    pthread_exit(NULL);
}

static void main_thread_ends(void)
{
#if !defined(__GLIBC__)
    not_shown("with musl this hangs the child of a fork, without kin as well");
    return;
#endif
    begin();
    shared_flag = crew_shared(sizeof *shared_flag);
    pid_t pid = fork_worker(main_ends_first, 0);
    WAIT_UNTIL(atomic_load(shared_flag) == 1);
    CHECK_EQUAL(kin_family_size(), 2);
    atomic_store(shared_flag, 2);
    CHECK_EQUAL(reap(pid), 0);
    CHECK_EQUAL(kin_family_size(), 1);
}

/* ---- signals ---- */

static volatile sig_atomic_t interrupted, refused;

static void call_kin(int signal)
{
    (void)signal;
    interrupted++;
    void *block = kin_alloc(50);
    if (!block)
        refused += errno == EBUSY;
    else if (kin_free(block) < 0)
        abort();
}

/* A handler that calls kin at any instruction of kin: it is served, or answered -EBUSY. */
static void in_a_handler(void)
{
    begin();
    signal(SIGUSR1, call_kin);
    /* A clock of its own: it disturbs also where the machine is too busy for another thread. */
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    struct itimerspec often = { { 0, 30000 }, { 0, 30000 } };
    timer_t timer;
    char *held[64] = { NULL };
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    for (long i = 0; i < 300000 || interrupted < 1000 || refused < 5; i++) {
        int slot = i % 64;
        if (i % 50 == 0)
            kn_thread_leave(); /* the next call registers the thread anew, disturbed as well */
        CHECK(kin_free(held[slot]) == 0);
        held[slot] = kin_alloc((size_t)(i * 37 % 900));
        CHECK(held[slot] != NULL);
    }
    CHECK(timer_delete(timer) == 0);
    signal(SIGUSR1, SIG_IGN);
    printf("    %d handlers, %d answered -EBUSY\n", (int)interrupted, (int)refused);
    for (int slot = 0; slot < 64; slot++)
        CHECK(kin_free(held[slot]) == 0);
    kin_heap_statistics statistics;
    CHECK(kin_heap_stats(&statistics) == 0 && statistics.blocks == 0);
    CHECK(kin_heap_check() == 0);
}

/* A handler inside a section is refused, and so is one inside the C library's own robust mutex. */
static void handler_in_a_section(void)
{
    begin();
    use();
    signal(SIGUSR1, call_kin);
    struct kn_lock *lock = kin_calloc(1, sizeof *lock);
    int error;
    struct kn_thread *t = kn_thread_enter(&error);
    CHECK_EQUAL(kn_lock_acquire(t, lock), 0);
    raise(SIGUSR1);
    CHECK_EQUAL(refused, 1);
    kn_lock_release(t, lock);
    raise(SIGUSR1);
    CHECK_EQUAL(refused, 2);
    kn_thread_done(t);
    raise(SIGUSR1);
    CHECK_EQUAL(refused, 2);
    t->robust->list_op_pending = &t->robust->list; /* as pthread_mutex_lock has it */
    CHECK_EQUAL(kin_family_size(), -EBUSY);
    t->robust->list_op_pending = NULL;
    CHECK_EQUAL(kin_free(lock), 0);

    /* The same in a thread that kin does not know yet; without the list nobody can see it. */
    if (kn_process.mode != KN_ROBUST_NATIVE)
        return;
    kn_thread_leave();
    t->robust->list_op_pending = &t->robust->list;
    CHECK_EQUAL(kin_family_size(), -EBUSY);
    CHECK(t->robust->list_op_pending == &t->robust->list);
    t->robust->list_op_pending = NULL;
    CHECK_EQUAL(kin_family_size(), 1);
}

/* ---- the life word among the C library's robust mutexes ---- */

/* 0, or an error number where the protocol is not known. */
static int robust_mutex_with(int protocol, pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int error = pthread_mutexattr_setprotocol(&attributes, protocol);
    return error ? error : pthread_mutex_init(mutex, &attributes);
}

static void robust_mutex(pthread_mutex_t *mutex)
{
    CHECK_EQUAL(robust_mutex_with(PTHREAD_PRIO_NONE, mutex), 0);
}

static pthread_mutex_t *mutexes;

/* First call while a robust mutex is held, which is released afterwards: the word stays linked. */
static void join_between(int number)
{
    (void)number;
    CHECK(pthread_mutex_lock(&mutexes[0]) == 0);
    use();
    CHECK(pthread_mutex_lock(&mutexes[1]) == 0);
    CHECK(pthread_mutex_unlock(&mutexes[0]) == 0);
    raise(SIGKILL);
}

static void among_robust_mutexes(void)
{
    begin();
    mutexes = crew_shared(2 * sizeof *mutexes);
    robust_mutex(&mutexes[0]);
    robust_mutex(&mutexes[1]);
    reap(fork_worker(join_between, 0));
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), kn_process.mode != KN_ROBUST_NONE);
    CHECK_EQUAL(pthread_mutex_lock(&mutexes[1]), EOWNERDEAD);
    CHECK_EQUAL(pthread_mutex_lock(&mutexes[0]), 0);
    CHECK_EQUAL(kin_family_size(), 1);
}

/*
 * The same with mutexes that inherit priority, which glibc names with bit 0 of a pointer set, wherever
 * the pointer stands. An order is a number: each of its digits takes one of these, or gives it back.
 */
enum { INHERITING, INHERITING_TOO, PLAIN, MUTEXES, LIFE = MUTEXES, THINGS };

struct order {
    int digits, steps;
};

static int in_order(const struct order *order, int step)
{
    int digits = order->digits;
    while (step-- > 0)
        digits /= THINGS;
    return digits % THINGS;
}

/* Bits of what is held in the end. */
static unsigned held_after(const struct order *order)
{
    unsigned held = 0;
    for (int step = 0; step < order->steps; step++)
        held ^= 1u << in_order(order, step);
    return held;
}

/* How many nodes the thread's list has, as the kernel walks it. */
static int list_length(void)
{
    struct robust_list_head *head = NULL;
    size_t size;
    int count = 0;
    CHECK(syscall(SYS_get_robust_list, 0, &head, &size) == 0);
    if (!head)
        return 0;
    CHECK(head->list_op_pending == NULL);
    for (uintptr_t node = (uintptr_t)head->list.next; node != (uintptr_t)&head->list; count++) {
        CHECK(count <= THINGS);
        node = (uintptr_t)((struct robust_list *)(node & ~(uintptr_t)1))->next;
    }
    return count;
}

static void take_or_give_back(int thing, int is_held)
{
    if (thing != LIFE)
        CHECK_EQUAL((is_held ? pthread_mutex_unlock : pthread_mutex_lock)(&mutexes[thing]), 0);
    else if (is_held)
        kn_thread_leave();
    else
        use();
}

static void follow(const struct order *order)
{
    unsigned held = 0;
    for (int step = 0; step < order->steps; step++) {
        int thing = in_order(order, step);
        take_or_give_back(thing, held >> thing & 1);
        held ^= 1u << thing;
        if (held >> LIFE & 1)
            use();
        if (kn_process.mode == KN_ROBUST_NATIVE)
            CHECK_EQUAL(list_length(), __builtin_popcount(held));
    }
}

static void *follow_and_end(void *order)
{
    follow(order);
    return NULL;
}

static void *follow_and_die(void *order)
{
    follow(order);
    kill(getpid(), SIGKILL);
    return NULL;
}

/* In a thread of its own, whose list nothing was in before. */
static void die_in_order(int digits)
{
    struct order order = { digits, 4 };
    run_thread(follow_and_die, &order);
}

/* What the thread had is marked, the rest is free, and both can be had again. */
static void verify_order(const struct order *order)
{
    unsigned held = held_after(order);
    for (int i = 0; i < MUTEXES; i++) {
        int answer = pthread_mutex_lock(&mutexes[i]);
        CHECK_EQUAL(answer, held >> i & 1 ? EOWNERDEAD : 0);
        CHECK(!answer || pthread_mutex_consistent(&mutexes[i]) == 0);
        CHECK(pthread_mutex_unlock(&mutexes[i]) == 0);
    }
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
}

static int orders(int steps)
{
    return steps ? THINGS * orders(steps - 1) : 1;
}

static void among_inheriting_mutexes(void)
{
    begin();
    mutexes = crew_shared(MUTEXES * sizeof *mutexes);
    robust_mutex(&mutexes[PLAIN]);
    int error = robust_mutex_with(PTHREAD_PRIO_INHERIT, &mutexes[INHERITING]);
    if (!error)
        error = robust_mutex_with(PTHREAD_PRIO_INHERIT, &mutexes[INHERITING_TOO]);
    if (error) {
        not_shown("no mutexes that inherit priority: %s", strerror(error));
        return;
    }
    for (struct order order = { 0, 5 }; order.digits < orders(order.steps); order.digits++) {
        run_thread(follow_and_end, &order);
        verify_order(&order);
    }
    for (struct order order = { 0, 4 }; order.digits < orders(order.steps); order.digits++) {
        CHECK_EQUAL(WTERMSIG(reap(fork_worker(die_in_order, order.digits))), SIGKILL);
        if (kn_process.mode == KN_ROBUST_NATIVE)
            CHECK_EQUAL(count_slots(KN_LIFE_DEAD), held_after(&order) >> LIFE & 1);
        verify_order(&order);
    }
    CHECK(kin_heap_check() == 0);
}

/* The child of a fork begins with an empty list: its mutex must not get next to its parent's word. */
static void lock_and_unlock(int number)
{
    (void)number;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_mutex_lock(&mutexes[i]) == 0);
    CHECK(pthread_mutex_unlock(&mutexes[0]) == 0);
    raise(SIGKILL);
}

static void in_a_child_first(void)
{
    begin();
    mutexes = crew_shared(2 * sizeof *mutexes);
    robust_mutex(&mutexes[0]);
    robust_mutex(&mutexes[1]);
    struct kn_thread *t = self();
    struct robust_list *previous = t->self->life.previous;
    CHECK_EQUAL(WTERMSIG(reap(fork_worker(lock_and_unlock, 0))), SIGKILL);
    CHECK(t->self->life.previous == previous);
    CHECK_EQUAL(pthread_mutex_lock(&mutexes[0]), 0);
    CHECK_EQUAL(pthread_mutex_lock(&mutexes[1]), EOWNERDEAD);
    kn_thread_leave();
    CHECK_EQUAL(pthread_mutex_unlock(&mutexes[0]), 0);
    if (kn_process.mode == KN_ROBUST_NATIVE)
        CHECK_EQUAL(list_length(), 1);
    use();
}

/* So many robust mutexes that the kernel does not walk as far as the life word: /proc knows. */
#define TOO_MANY 2100

static void hold_too_many(int number)
{
    (void)number;
    use();
    for (int i = 0; i < TOO_MANY; i++)
        CHECK(pthread_mutex_lock(&mutexes[i]) == 0);
    raise(SIGKILL);
}

static void beyond_the_walk(void)
{
    begin();
    mutexes = crew_shared(TOO_MANY * sizeof *mutexes);
    for (int i = 0; i < TOO_MANY; i++)
        robust_mutex(&mutexes[i]);
    reap(fork_worker(hold_too_many, 0));
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(count_slots(KN_LIFE_DEAD), 0);
    CHECK_EQUAL(count_slots(KN_LIFE_ALIVE), 1);
}

/* ---- the vestibule, taken over from a dead one while somebody sweeps ---- */

static struct kn_robust robust_of_self(void)
{
    struct kn_thread *t = self();
    return (struct kn_robust) { t->robust, kn_process.futex_offset, kn_process.mode };
}

static void die_in_vestibule(int number)
{
    (void)number;
    struct kn_robust robust = robust_of_self();
    CHECK(kn_participant_claim_vestibule(kn_process.header, &robust, kn_gettid()) != NULL);
    raise(SIGKILL);
}

static void vestibule_of_the_dead(void)
{
    begin();
    struct kn_header *header = kn_process.header;
    struct kn_robust robust = robust_of_self();
    struct kn_participant *p = kn_participant_at(header, KN_VESTIBULE);
    if (kn_process.mode == KN_ROBUST_NONE)
        return;
    reap(fork_worker(die_in_vestibule, 0));
    CHECK_EQUAL(kn_participant_state(header, p), KN_LIFE_DEAD);
    CHECK(kn_participant_claim_vestibule(header, &robust, kn_gettid()) == p);
    kn_participant_reopen(header, p); /* by a sweep that saw it dead before */
    CHECK_EQUAL(kn_participant_state(header, p), KN_LIFE_ALIVE);
    kn_participant_leave(header, &robust, p);
    CHECK_EQUAL(kn_participant_state(header, p), KN_LIFE_FREE);

    reap(fork_worker(die_in_vestibule, 0));
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK_EQUAL(kn_participant_state(header, p), KN_LIFE_FREE);
}

/* ---- many ---- */

static void many_in_turn(void)
{
    begin();
    int descriptors = open_descriptors();
    kin_heap_statistics before, after;
    for (int i = 0; i < 2000; i++) {
        if (i == 1000)
            CHECK(kin_heap_stats(&before) == 0);
        pid_t pid = fork();
        if (pid == 0) {
            CHECK(kin_free(kin_alloc(50)) == 0);
            if (i % 2)
                raise(SIGKILL);
            exit(0);
        }
        (void)reap(pid);
    }
    CHECK(kin_heap_stats(&after) == 0);
    CHECK_EQUAL(after.length, before.length);
    CHECK_EQUAL(after.tables, before.tables);
    CHECK_EQUAL(open_descriptors(), descriptors);
    CHECK_EQUAL(kin_family_size(), 1);
}

#define CROWD 300

static void stay(int number)
{
    use();
    atomic_fetch_add(shared_flag, 1);
    WAIT_UNTIL(atomic_load(shared_flag) >= CROWD + 1);
    (void)number;
}

static void many_at_once(void)
{
    static pid_t pids[CROWD];
    begin();
    shared_flag = crew_shared(sizeof *shared_flag);
    for (int i = 0; i < CROWD; i++)
        pids[i] = fork_worker(stay, i);
    WAIT_UNTIL(atomic_load(shared_flag) == CROWD);
    CHECK_EQUAL(kin_family_size(), CROWD + 1);
    atomic_fetch_add(shared_flag, 1);
    for (int i = 0; i < CROWD; i++)
        CHECK_EQUAL(reap(pids[i]), 0);
    CHECK_EQUAL(kin_family_size(), 1);
    CHECK(kin_heap_check() == 0);
}

static const struct test_case cases[] = {
    { "before and after", one_word_only },
    { "a bad mode", a_bad_mode },
    { "forked", forked },
    { "forked deep", forked_deep },
    { "forked, silent", forked_silent },
    { "forked, threads", forked_and_threads },
    { "forked by the bare call", raw_forked },
    { "vforked", vforked },
    { "executed", executed },
    { "executed by a thread", executed_by_a_thread },
    { "threads end", threads_end },
    { "main thread ends", main_thread_ends },
    { "in a handler", in_a_handler },
    { "handler in a section", handler_in_a_section },
    { "among robust mutexes", among_robust_mutexes },
    { "among inheriting mutexes", among_inheriting_mutexes },
    { "a mutex in a child first", in_a_child_first },
    { "beyond the kernel's walk", beyond_the_walk },
    { "vestibule of the dead", vestibule_of_the_dead },
    { "many in turn", many_in_turn },
    { "many at once", many_at_once },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--wait") == 0)
        return wait_for_the_test();
    run_apart(cases, argc, argv);
    return 0;
}
