// SPDX-License-Identifier: MIT
/*
 * shared_list.c - a linked list and a hash table of plain C structs, shared by processes.
 *
 * usage: shared_list [TEXT-FILE]
 *
 * One process reads a text into a linked list of lines. Four others, made with fork(2), walk the
 * list and count the words of every fourth line in one hash table. Nothing is copied or sent: the
 * list and the table are plain structs with plain pointers, in memory of the family's arena, which
 * every process has at the same address.
 *
 * Then three processes allocate and free in a loop, and one of them is killed with SIGKILL in the
 * middle of it. The others go on, the heap is in order, and a new process finds everything in its
 * place.
 *
 * The exit status is 0 only if all of this was so. The same text gives the same output each time.
 */
#include <kin/kin.h>

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_TEXT "examples/data/processes.txt"
#define COUNTERS     4
#define BUCKETS      1024
#define LONGEST_WORD 63
#define SHOWN        8
#define ALLOCATORS   3
#define VICTIM       1
#define ROUNDS       100000
#define TIME_LIMIT   60 /* seconds; who hangs is ended by SIGALRM: the exit status is not 0 */

/* One line of the text. Written by the root before anybody else is there. */
struct line {
    struct line *next;
    int number;
    char *text;
};

/*
 * One word. The word is complete before the entry is linked and never changes; the count is
 * counted up by all.
 */
struct entry {
    struct entry *next;
    atomic_long count;
    char word[];
};

/* What one process says of its work. Written by it, read by the root when it has ended. */
struct report {
    long lines, words;
};

/* All that is shared hangs on this one block. */
struct shared {
    struct line *lines;
    struct entry *_Atomic bucket[BUCKETS];
    struct report counter[COUNTERS];
    atomic_long rounds[ALLOCATORS];
    atomic_int victim_is_dead;
};

static struct shared *shared; /* the same address in every process */

static _Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "shared_list: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void *need(void *block)
{
    if (!block)
        fail("%s", kin_family_error());
    return block;
}

/* ---- The text, as a linked list ---- */

static int read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        fail("cannot open %s; run it from the top folder, or name a text file", path);
    struct line **end = &shared->lines;
    char *buffer = NULL;
    size_t room = 0;
    int number = 0;
    while (getline(&buffer, &room, file) >= 0) {
        struct line *line = need(kin_alloc(sizeof *line));
        *line = (struct line) { .number = number++, .text = need(kin_strdup(buffer)) };
        *end = line;
        end = &line->next;
    }
    free(buffer);
    fclose(file);
    return number;
}

/* ---- The words, in a hash table ---- */

/* Letters of other alphabets are bytes above 127 in UTF-8. */
static int is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c > 127;
}

/* Copies the next word in small letters and moves *text behind it. 0: there is none. */
static int next_word(const char **text, char word[LONGEST_WORD + 1])
{
    const char *c = *text;
    int length = 0;
    while (*c && !is_letter((unsigned char)*c))
        c++;
    for (; is_letter((unsigned char)*c); c++)
        if (length < LONGEST_WORD)
            word[length++] = (char)(*c >= 'A' && *c <= 'Z' ? *c + 'a' - 'A' : *c);
    word[length] = '\0';
    *text = c;
    return length > 0;
}

static struct entry *_Atomic *bucket_of(const char *word)
{
    unsigned hash = 2166136261u;
    for (; *word; word++)
        hash = (hash ^ (unsigned char)*word) * 16777619u;
    return &shared->bucket[hash % BUCKETS];
}

static struct entry *find(struct entry *entry, const char *word)
{
    while (entry && strcmp(entry->word, word) != 0)
        entry = entry->next;
    return entry;
}

static struct entry *new_entry(const char *word)
{
    struct entry *entry = need(kin_alloc(sizeof *entry + strlen(word) + 1));
    entry->next = NULL;
    atomic_init(&entry->count, 0);
    strcpy(entry->word, word);
    return entry;
}

/*
 * An entry is made ready in full, then linked by one compare-and-swap. Who is killed before it has
 * changed nothing that others see. Who was slower than another with the same word sees it on the
 * next look, and frees its own.
 */
static void count_word(const char *word)
{
    struct entry *_Atomic *bucket = bucket_of(word);
    struct entry *mine = NULL, *first = atomic_load(bucket), *entry;
    while (!(entry = find(first, word))) {
        if (!mine)
            mine = new_entry(word);
        mine->next = first;
        if (atomic_compare_exchange_weak(bucket, &first, mine)) {
            entry = mine;
            mine = NULL;
            break;
        }
    }
    kin_free(mine);
    atomic_fetch_add(&entry->count, 1);
}

/* ---- Processes ---- */

/* What a child does: the function with its number, then the end. 0 is success. */
static pid_t start(int (*function)(int), int number)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot start a process");
    if (pid > 0)
        return pid;
    alarm(TIME_LIMIT);
    exit(function(number));
}

static int wait_for(pid_t pid)
{
    int status = -1;
    if (waitpid(pid, &status, 0) != pid)
        fail("a child got lost");
    return status;
}

static void expect_success(pid_t pid)
{
    int status = wait_for(pid);
    if (status != 0)
        fail("a child ended with status 0x%x", (unsigned)status);
}

/* ---- First part: counting ---- */

/* Walks the whole list and takes every fourth line. */
static int count_lines(int number)
{
    struct report report = { 0, 0 };
    char word[LONGEST_WORD + 1];
    for (struct line *line = shared->lines; line; line = line->next) {
        if (line->number % COUNTERS != number)
            continue;
        report.lines++;
        for (const char *text = line->text; next_word(&text, word); report.words++)
            count_word(word);
    }
    shared->counter[number] = report;
    return 0;
}

static int more_frequent(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->word, y->word);
}

/* Walks the table: how many words in all, and how many different ones. */
static long sum_of_table(long *different)
{
    long sum = 0;
    *different = 0;
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry *entry = shared->bucket[i]; entry; entry = entry->next, ++*different)
            sum += entry->count;
    return sum;
}

/* The most frequent of the longer words, with a bar each. */
static void show_words(long different)
{
    struct entry **sorted = calloc((size_t)different + 1, sizeof *sorted);
    long n = 0;
    for (int i = 0; sorted && i < BUCKETS; i++)
        for (struct entry *entry = shared->bucket[i]; entry; entry = entry->next)
            if (strlen(entry->word) > 3)
                sorted[n++] = entry;
    if (sorted && n > 0) {
        qsort(sorted, (size_t)n, sizeof *sorted, more_frequent);
        long most = sorted[0]->count;
        for (long i = 0; i < n && i < SHOWN; i++) {
            long count = sorted[i]->count;
            printf("      %-12s %6ld  ", sorted[i]->word, count);
            for (long bar = 0; bar < (count * 40 + most - 1) / most; bar++)
                putchar('#');
            putchar('\n');
        }
    }
    free(sorted);
}

static long count_together(void)
{
    pid_t pid[COUNTERS];
    long words = 0, different;
    for (int i = 0; i < COUNTERS; i++)
        pid[i] = start(count_lines, i);
    for (int i = 0; i < COUNTERS; i++)
        expect_success(pid[i]);
    for (int i = 0; i < COUNTERS; i++) {
        printf("      process %d   %4ld lines  %6ld words\n", i + 1, shared->counter[i].lines,
               shared->counter[i].words);
        words += shared->counter[i].words;
    }
    long in_table = sum_of_table(&different);
    printf(
        "\n  All counted in one hash table: %ld words, %ld different ones. Frequent long ones:\n",
        in_table, different);
    show_words(different);
    if (in_table != words)
        fail("the processes counted %ld words, the table has %ld", words, in_table);
    return words;
}

/* ---- Second part: a death ---- */

/* Allocates and frees until the victim is dead, then some more; the victim never gets that far. */
static int allocate_on(int number)
{
    unsigned random = (unsigned)number * 2654435761u + 1;
    for (long after = 0; after < ROUNDS; after += atomic_load(&shared->victim_is_dead)) {
        random = random * 1664525u + 1013904223u;
        size_t size = (random >> 16) % 2000;
        char *block = need(kin_alloc(size + 1));
        block[0] = block[size] = (char)number;
        if (kin_free(block) < 0)
            fail("%s", kin_family_error());
        atomic_fetch_add(&shared->rounds[number], 1);
    }
    return 0;
}

/* A child that is born after the death, and counts again. */
static int walk_again(int words)
{
    long different, found = 0;
    char word[LONGEST_WORD + 1];
    for (struct line *line = shared->lines; line; line = line->next)
        for (const char *text = line->text; next_word(&text, word); found++)
            if (!find(atomic_load(bucket_of(word)), word))
                return 1;
    return found == words && sum_of_table(&different) == words ? 0 : 1;
}

static long blocks_in_use(void)
{
    kin_heap_statistics statistics;
    if (kin_heap_stats(&statistics) < 0)
        fail("%s", kin_family_error());
    return (long)statistics.blocks;
}

static void kill_one(void)
{
    long blocks = blocks_in_use();
    pid_t pid[ALLOCATORS];
    for (int i = 0; i < ALLOCATORS; i++)
        pid[i] = start(allocate_on, i);
    for (int i = 0; i < ALLOCATORS; i++)
        while (atomic_load(&shared->rounds[i]) < ROUNDS)
            nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);

    kill(pid[VICTIM], SIGKILL);
    int status = wait_for(pid[VICTIM]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail("the victim was not killed (status 0x%x)", (unsigned)status);
    printf("      process %d was killed with SIGKILL\n", VICTIM + 1);
    atomic_store(&shared->victim_is_dead, 1);
    for (int i = 0; i < ALLOCATORS; i++) {
        if (i == VICTIM)
            continue;
        expect_success(pid[i]);
        printf("      process %d went on: %d blocks more after the death\n", i + 1, ROUNDS);
    }

    /* The block that the victim had in its hands, if any, is nobody's now: that is its own loss. */
    long lost = blocks_in_use() - blocks;
    if (lost < 0 || lost > 1)
        fail("%ld blocks were lost, but the victim held one at most", lost);
    if (kin_heap_check() < 0)
        fail("%s", kin_family_error());
    if (kin_family_size() != 1)
        fail("%d processes in the family, there should be one", kin_family_size());
    printf("      the heap is in order; nothing is lost but what was in the dead one's hands\n");
}

int main(int argc, char **argv)
{
    if (kin_init(&argc, &argv, NULL) < 0)
        fail("%s", kin_family_error());
    alarm(TIME_LIMIT);
    const char *path = argc > 1 ? argv[1] : DEFAULT_TEXT;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    shared = need(kin_calloc(1, sizeof *shared));

    printf("One process reads %s into a linked list: %d lines.\n", name, read_text(path));
    printf("\n  The list is walked by %d processes, each takes every fourth line:\n", COUNTERS);
    long words = count_together();

    printf("\n  Now %d processes allocate and free in a loop, and one is killed:\n", ALLOCATORS);
    kill_one();

    expect_success(start(walk_again, (int)words));
    printf("\n  A new process walks list and table: all %ld words are there.\n", words);
    printf("\nAll right.\n");
    return 0;
}
