// SPDX-License-Identifier: MIT
/*
 * kill.c - the kill harness.
 *
 * First the operation is single-stepped once, and the address of each instruction is written down:
 * the trace. To die at instruction k, a victim in a fresh world need not be stepped k times: the
 * n-th time that the trace comes to that address is a breakpoint hit n times. That makes it linear in
 * the number of instructions, so really every one can be tried. Where the run differs from the trace
 * (the breakpoint is not hit as often), or on a machine without a known breakpoint instruction, the
 * victim is stepped from the start.
 *
 * The worlds are forks of one process, so that addresses are the same in all of them. Everything is
 * pinned to one processor: a step is two context switches, and thrice as fast there.
 */
#include "kill.h"

#include <base/attributes.h>
#include <sched.h>
#include <shm/attach.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>

#define MOST_STEPS  2000000
#define EVERY_UP_TO 12000
#define SAMPLE      2000
#define MOST_STATES 4096
#define STRIDE      7919 /* a prime */

/* Shared by the harness and its worlds. */
static struct {
    long steps;
    long leaks;
    long stepped_anew; /* kills for which the breakpoint was of no use */
    uint64_t state;
    int in_world;
} * shared;
static uint64_t *trace;
static uint32_t *visit; /* how many times the trace came to that address, this one included */
static void *cell;

static const struct kill_case *current;
static long place; /* of the kill, for messages */

void *kill_cell(void)
{
    return cell;
}

void kill_note_leak(void)
{
    shared->leaks++;
}

static void hung(int signal)
{
    (void)signal;
    static const char text[] = "a survivor hangs\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(3);
}

/* ---- The victim's side ---- */

static pid_t start_victim(void)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        if (current->enter)
            current->enter();
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        current->operate();
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL);
    return pid;
}

/* Goes on until the next stop. 1: stopped by a step or breakpoint; 0: the operation is over. */
static int resume(pid_t pid, int how)
{
    int status = 0;
    for (;;) {
        if (ptrace(how, pid, 0, 0) < 0)
            return 0;
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            return 0;
        if (WSTOPSIG(status) == SIGTRAP)
            return 1;
        if (WSTOPSIG(status) == SIGSTOP)
            return 0;
        CHECK(WSTOPSIG(status) != SIGSEGV && WSTOPSIG(status) != SIGBUS);
        /* Another signal (SIGCHLD, SIGCONT): let it pass by. */
    }
}

/* with_trap: the word at an address with a breakpoint instruction in its first bytes. */
#if defined(__x86_64__)
#define HAVE_BREAKPOINTS 1
static long with_trap(long word)
{
    return (word & ~0xffl) | 0xcc;
}

static uint64_t counter_of(pid_t pid)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0);
}

/* The breakpoint was executed, so the counter stands behind it. */
static void back_to(pid_t pid, uint64_t address)
{
    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rip), address);
}
#else
#if defined(__aarch64__)
#define HAVE_BREAKPOINTS 1
static long with_trap(long word)
{
    return (long)(((unsigned long)word & ~0xfffffffful) | 0xd4200000);
}
#else
#define HAVE_BREAKPOINTS 0
static long with_trap(long word)
{
    return word;
}
#endif

static uint64_t counter_of(pid_t pid)
{
    struct user_regs_struct registers;
    struct iovec vector = { &registers, sizeof registers };
    ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector);
    return registers.pc;
}

/* The counter stands on the breakpoint still. */
static void back_to(pid_t pid, uint64_t address)
{
    (void)pid, (void)address;
}
#endif

/* One instruction on; a repeated string instruction is one. 0: the operation is over. */
static int step(pid_t pid)
{
    uint64_t before = counter_of(pid);
    do
        if (!resume(pid, PTRACE_SINGLESTEP))
            return 0;
    while (counter_of(pid) == before);
    return 1;
}

/* Steps over count instructions; 0: the operation was over before. */
static int step_to(pid_t pid, long count)
{
    for (long i = 0; i < count; i++)
        if (!step(pid))
            return 0;
    return 1;
}

/*
 * Runs until instruction `index` of the trace is about to be executed. Returns 1; 0 when the run
 * does not follow the trace: then it is of no more use.
 */
static int run_to_visit(pid_t pid, long index)
{
    uint64_t address = trace[index];
    long hits = visit[index];
    if (counter_of(pid) == address && --hits == 0)
        return 1;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, pid, address, 0);
    if (errno)
        return 0;
    for (;;) {
        /* Off the address first, then the breakpoint goes in. */
        if (counter_of(pid) == address && !step(pid))
            return 0;
        if (ptrace(PTRACE_POKETEXT, pid, address, with_trap(word)) < 0)
            return 0;
        int stopped = resume(pid, PTRACE_CONT);
        if (!stopped)
            return 0;
        ptrace(PTRACE_POKETEXT, pid, address, word);
        back_to(pid, address);
        if (--hits == 0)
            return 1;
    }
}

/*
 * The same for any instruction: in a long loop the breakpoint would be hit again and again, so it
 * goes to a place a little before that is seldom visited, and the rest is stepped.
 */
static int run_to(pid_t pid, long index)
{
    long best = index, cost = 3l * visit[index];
    for (long before = 1; before <= index && before < cost; before++) {
        long other = 3l * visit[index - before] + before;
        if (other >= cost)
            continue;
        cost = other;
        best = index - before;
    }
    if (best > 0 && !run_to_visit(pid, best))
        return 0;
    return step_to(pid, index - best);
}

/* Counts visits with a small hash table of addresses. */
static void count_visits(long steps)
{
    enum { BUCKETS = 1 << 16 };
    static struct {
        uint64_t address;
        uint32_t visits;
    } table[BUCKETS];
    memset(table, 0, sizeof table);
    for (long i = 0; i <= steps; i++) {
        uint32_t b = (uint32_t)((trace[i] * 0x9e3779b97f4a7c15u) >> 48);
        while (table[b].address && table[b].address != trace[i])
            b = (b + 1) % BUCKETS;
        table[b].address = trace[i];
        visit[i] = ++table[b].visits;
    }
}

/* ---- Worlds ---- */

/* A process that becomes a root, and does what is given. Returns its wait status. */
static int in_world(void (*act)(void))
{
    fflush(NULL);
    memset(cell, 0, KILL_CELL_BYTES);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGALRM, hung);
        alarm((unsigned)patience());
        shared->in_world = 1;
        CHECK(kin_init(NULL, NULL, NULL) == 0);
        if (current->prepare)
            current->prepare();
        act();
        fflush(NULL);
        _exit(0);
    }
    /* A world that failed may leave processes asleep; its number is taken until it is collected. */
    siginfo_t ended;
    while (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT) < 0)
        CHECK(errno == EINTR);
    kill(-pid, SIGKILL);
    return reap(pid);
}

/* The survivor's part. Nobody may have been saved only by its own clock. */
static void go_on(void)
{
    shared->state = current->state ? current->state() : 0;
    current->verify();
    CHECK(kin_heap_check() == 0);
    if (kn_process.mode == KN_ROBUST_NATIVE)
        CHECK_EQUAL(atomic_load(&kn_process.header->rescues), 0);
}

/* Steps through the whole operation and writes the trace. */
static void record(void)
{
    alarm((unsigned)patience() * 10);
    pid_t pid = start_victim();
    long steps = 0;
    trace[0] = counter_of(pid);
    while (steps < MOST_STEPS && step(pid))
        trace[++steps] = counter_of(pid);
    kill_and_reap(pid);
    CHECK(steps < MOST_STEPS);
    shared->steps = steps;
    go_on();
}

/* Lets a victim come to the place and kills it there; the world goes on. */
static void kill_at_place(void)
{
    pid_t pid = start_victim();
    if (place > 0 && (!HAVE_BREAKPOINTS || !run_to(pid, place))) {
        if (HAVE_BREAKPOINTS) {
            kill_and_reap(pid);
            /* What the first run did is done: a world of its own for the second. */
            _exit(4);
        }
        step_to(pid, place);
    }
    kill_and_reap(pid);
    go_on();
}

static void kill_at_place_by_steps(void)
{
    pid_t pid = start_victim();
    step_to(pid, place);
    kill_and_reap(pid);
    go_on();
}

/* ---- A case ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static long note_state(uint64_t *states, long known, uint64_t state)
{
    for (long i = 0; i < known; i++)
        if (states[i] == state)
            return known;
    if (known < MOST_STATES)
        states[known++] = state;
    return known;
}

/* Returns the number of kills after which something did not hold. */
static long run_case(const struct kill_case *c, long sample, int planted)
{
    static uint64_t states[MOST_STATES];
    current = c;
    memset(shared, 0, sizeof *shared);
    place = -1;
    if (in_world(record) != 0) {
        fprintf(stderr, "%s: the trace failed\n", c->name);
        return 1;
    }
    count_visits(shared->steps);
    long steps = shared->steps, kills = 0, failed = 0, known = 0;
    long most = sample ? sample : steps + 1 <= EVERY_UP_TO ? steps + 1 : SAMPLE;
    int every = steps + 1 <= most;
    long stride = planted && (steps + 1) % STRIDE ? STRIDE : 0;
    for (long i = 0; i < (every ? steps + 1 : most) && failed < 3; i++) {
        /* A planted bug is met sooner in an order that jumps. */
        place = every && stride ? i * stride % (steps + 1)
                : every         ? i
                                : (long)(next_random() % (uint64_t)(steps + 1));
        int status = in_world(kill_at_place);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 4) {
            shared->stepped_anew++;
            status = in_world(kill_at_place_by_steps);
        }
        kills++;
        known = note_state(states, known, shared->state);
        if (status != 0) {
            fprintf(stderr, "%s: killed after instruction %ld of %ld (at %#llx): wait status %#x\n",
                    c->name, place, steps, (unsigned long long)trace[place], (unsigned)status);
            failed++;
        }
    }
    if (shared->leaks > c->slack) {
        fprintf(stderr, "%s: %ld kills lost a block, %d may\n", c->name, shared->leaks, c->slack);
        failed++;
    }
    printf("%-34s %6ld instructions, %6ld kills%s, %3ld states, %ld stepped anew, %ld failed\n",
           c->name, steps, kills, every ? "" : " (sampled)", known, shared->stepped_anew, failed);
    fflush(stdout);
    return failed;
}

static void *make_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void pin_to_one_processor(void)
{
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    long nth = getpid() % CPU_COUNT(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set) || nth-- > 0)
            continue;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof set, &set);
        return;
    }
}

int kill_main(const struct kill_case *cases, int argc, char **argv)
{
    const char *plant = NULL;
    const char *seed = getenv("KIN_TEST_SEED");
    const char *short_runs = getenv("KIN_KILL_SAMPLE");
    long sample = short_runs ? atol(short_runs) : 0, failed = 0;
    int named = 0, part = 0, parts = 1, number = 0;
    if (seed)
        random_state ^= strtoull(seed, NULL, 10) * 0x9e3779b97f4a7c15u;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--plant=", 8) == 0)
            plant = argv[i] + 8;
        else if (strncmp(argv[i], "--sample=", 9) == 0)
            sample = atol(argv[i] + 9);
        else if (sscanf(argv[i], "--part=%d/%d", &part, &parts) == 2)
            CHECK(0 < part && part <= parts);
        else
            named = 1;
    }
#if defined(KIN_PLANTED_BUGS)
    kn_planted = plant;
#else
    CHECK(!plant);
#endif
    shared = make_shared(sizeof *shared);
    trace = make_shared((MOST_STEPS + 1) * sizeof *trace);
    visit = make_shared((MOST_STEPS + 1) * sizeof *visit);
    cell = make_shared(KILL_CELL_BYTES);
    pin_to_one_processor();
    for (const struct kill_case *c = cases; c->name; c++) {
        int wanted = !named && number++ % parts == part % parts;
        for (int i = 1; i < argc; i++)
            wanted |= strcmp(argv[i], c->name) == 0;
        if (wanted)
            failed += run_case(c, sample, plant != NULL);
        if (plant && failed)
            break;
    }
    if (plant) {
        printf("planted %s: %s\n", plant, failed ? "found" : "NOT FOUND");
        return failed ? 0 : 1;
    }
    return failed ? 1 : 0;
}
