// SPDX-License-Identifier: MIT
/*
 * bench.c - how a comparison is measured, so that only the code decides it.
 *
 * Kin and its peers take turns round by round inside one program, in an order that rotates, so that
 * a machine that grows slower does so for all of them. A round is long enough (some milliseconds)
 * for the clock not to matter. The first is not counted: it pays for page faults and cold caches.
 * What is told is the median with the least and the most.
 *
 * A shared machine lies. Two things show it: CPU time that went neither to this program nor to its
 * children nor to nobody (/proc/stat, steal included), and figures whose middle half scatters. Then
 * a line under the table says so and the JSON line has "noisy": true. Such figures are still told;
 * the one who compares them with a limit must measure again.
 *
 * Environment: ONLY is a prefix of the names to run; KIN_BENCH_ROUNDS, at least 7, default 11;
 * KIN_BENCH_JSON is the file that gets a JSON line for each pair, default build/bench.jsonl.
 */
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FEWEST_ROUNDS 7
#define USUAL_ROUNDS  11
#define MOST_ROUNDS   101

/* From here on a bench counts as noisy: others' share of one CPU, and the middle half's width. */
#define MUCH_CPU     0.05
#define MUCH_SCATTER 0.15

/* ---- Words, time, memory ---- */

void bench_die(const char *words, ...)
{
    va_list arguments;
    va_start(arguments, words);
    fputs("bench: ", stderr);
    vfprintf(stderr, words, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    /* Not exit: it may be a forked child, and what its parent registered is not its to do. */
    _exit(1);
}

int64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void *bench_shared(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_die("no %llu bytes of shared memory: %s", (unsigned long long)bytes, strerror(errno));
    return memory;
}

/* ---- CPUs ---- */

/* Those that the program may use, as it was started. */
static cpu_set_t allowed;
static int cpus;

__attribute__((constructor)) static void learn_cpus(void)
{
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        cpus = CPU_COUNT(&allowed);
}

void bench_pin(int which)
{
    cpu_set_t one;
    if (cpus == 0)
        return;
    int skip = which % cpus;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && skip-- == 0) {
            CPU_SET(cpu, &one);
            break;
        }
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        bench_die("cannot pin to CPU %d: %s", which % cpus, strerror(errno));
}

/* ---- Noise ---- */

struct noise {
    int64_t at;   /* when, in nanoseconds */
    double busy;  /* CPU seconds of the whole machine, steal not counted */
    double steal; /* what the host took */
    double own;   /* this program, its children, and what it counted for others */
};

static double seconds_of(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double bench_cpu(void)
{
    return seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
}

static double counted_cpu;

void bench_count_cpu(double seconds)
{
    counted_cpu += seconds;
}

static void listen(struct noise *noise)
{
    double field[8] = { 0 }; /* user nice system idle iowait irq softirq steal */
    FILE *file = fopen("/proc/stat", "re");
    if (file) {
        if (fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &field[0], &field[1], &field[2],
                   &field[3], &field[4], &field[5], &field[6], &field[7]) != 8)
            memset(field, 0, sizeof field);
        fclose(file);
    }
    double ticks = (double)sysconf(_SC_CLK_TCK);
    noise->at = bench_now();
    noise->busy = (field[0] + field[1] + field[2] + field[5] + field[6]) / ticks;
    noise->steal = field[7] / ticks;
    noise->own = bench_cpu() + counted_cpu;
}

/* ---- Figures ---- */

struct figure {
    double rounds[MOST_ROUNDS];
    double median, least, most, scatter;
};

static int round_count(void)
{
    const char *text = getenv("KIN_BENCH_ROUNDS");
    int rounds = text ? atoi(text) : USUAL_ROUNDS;
    if (rounds < FEWEST_ROUNDS)
        return FEWEST_ROUNDS;
    return rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
}

static int by_value(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void evaluate(struct figure *figure, int rounds)
{
    double *sorted = figure->rounds;
    qsort(sorted, (size_t)rounds, sizeof *sorted, by_value);
    figure->median =
        rounds % 2 ? sorted[rounds / 2] : (sorted[rounds / 2 - 1] + sorted[rounds / 2]) / 2;
    figure->least = sorted[0];
    figure->most = sorted[rounds - 1];
    figure->scatter = (sorted[rounds - 1 - rounds / 4] - sorted[rounds / 4]) / figure->median;
}

/* Above 1 where kin is ahead, whatever the unit. */
static double times_better(const struct bench *bench, double kin, double peer)
{
    return bench->better == BENCH_LESS_IS_BETTER ? peer / kin : kin / peer;
}

/* ---- Telling ---- */

static void print_number(double value)
{
    int millions = value >= 1e6;
    printf(" %9.*f%s", value < 100 || millions ? 2 : 1, millions ? value / 1e6 : value,
           millions ? "M" : " ");
}

static void print_row(const struct bench_side *side, const struct figure *figure)
{
    printf("  %-12s", side->name);
    print_number(figure->median);
    print_number(figure->least);
    print_number(figure->most);
}

/* Says what disturbed it. Returns whether that was much. */
static int print_noise(const struct bench *bench, const struct figure *figures,
                       const struct noise *before, const struct noise *after)
{
    int noisy = 0;
    double elapsed = (double)(after->at - before->at) / 1e9;
    double steal = (after->steal - before->steal) / elapsed;
    double others = (after->busy - before->busy - (after->own - before->own)) / elapsed;
    if (steal > MUCH_CPU || others > MUCH_CPU) {
        printf("  noisy: other programs used %.0f %% of a CPU, the host took %.0f %%\n",
               others > 0 ? others * 100 : 0, steal * 100);
        noisy = 1;
    }
    for (int i = 0; bench->sides[i].name; i++)
        if (figures[i].scatter > MUCH_SCATTER) {
            printf("  noisy: the middle half of %s's rounds spans %.0f %% of the median\n",
                   bench->sides[i].name, figures[i].scatter * 100);
            noisy = 1;
        }
    return noisy;
}

static void write_json(const struct bench *bench, const struct figure *figures, int noisy)
{
    const char *path = getenv("KIN_BENCH_JSON");
    if (!path)
        path = "build/bench.jsonl";
    FILE *file = fopen(path, "ae");
    if (!file)
        bench_die("cannot append to %s (KIN_BENCH_JSON): %s", path, strerror(errno));
    double kin = figures[0].median;
    for (int i = 1; bench->sides[i].name; i++) {
        double peer = figures[i].median;
        fprintf(file,
                "{\"name\": \"%s\", \"unit\": \"%s\", \"kin\": %.4g, \"peer_name\": \"%s\", "
                "\"peer\": %.4g, \"times_better\": %.4g, \"noisy\": %s}\n",
                bench->name, bench->unit, kin, bench->sides[i].name, peer,
                times_better(bench, kin, peer), noisy ? "true" : "false");
    }
    if (fclose(file) != 0)
        bench_die("cannot write %s: %s", path, strerror(errno));
}

static void tell(const struct bench *bench, const struct figure *figures, int rounds,
                 const struct noise *before, const struct noise *after)
{
    printf("%s: %s, %s is better, %d rounds\n", bench->name, bench->unit,
           bench->better == BENCH_LESS_IS_BETTER ? "less" : "more", rounds);
    printf("  %-12s %9s  %9s  %9s   kin is better by\n", "", "median", "least", "most");
    for (int i = 0; bench->sides[i].name; i++) {
        print_row(&bench->sides[i], &figures[i]);
        if (i > 0)
            printf("  x %.2f", times_better(bench, figures[0].median, figures[i].median));
        putchar('\n');
    }
    if (cpus < 2)
        printf("  on one CPU only: those that should run at once took turns\n");
    write_json(bench, figures, print_noise(bench, figures, before, after));
    putchar('\n');
    fflush(stdout);
}

/* ---- Measuring ---- */

int bench_wanted(const char *name)
{
    const char *only = getenv("ONLY");
    return !only || strncmp(name, only, strlen(only)) == 0;
}

void bench_measure(const struct bench *bench)
{
    static struct figure figures[BENCH_MOST_SIDES];
    struct noise before, after;
    int sides = 0, rounds = round_count();
    if (!bench_wanted(bench->name))
        return;
    while (bench->sides[sides].name)
        sides++;
    for (int i = 0; i < sides; i++)
        bench->sides[i].round(bench->sides[i].context);
    listen(&before);
    for (int round = 0; round < rounds; round++)
        for (int turn = 0; turn < sides; turn++) {
            int i = (round + turn) % sides;
            figures[i].rounds[round] = bench->sides[i].round(bench->sides[i].context);
        }
    listen(&after);
    for (int i = 0; i < sides; i++)
        evaluate(&figures[i], rounds);
    tell(bench, figures, rounds, &before, &after);
}
