// SPDX-License-Identifier: MIT
/*
 * attach.c - how a thread becomes a participant, and how it ends.
 *
 * On its first kin call a thread finds its robust list, claims a slot with its life word, sweeps
 * what it saw of the dead on the way, and, if it is the first of its process, claims the process's
 * place among the members. It ends with the thread (a pthread key's destructor), with kin_fini, or
 * by death.
 *
 * fork(2) by the host program: the child is another process with one thread. What it carries over
 * says "registered", for its parent. A page that the kernel wipes in the child of any fork, however
 * made, tells it apart; the first kin call there begins anew. A vfork child shares its parent's
 * memory and must not call kin before it execs. After exec nothing is left but the kernel's mark.
 *
 * A signal handler that interrupted a kin call, or the C library at work on a robust mutex, is
 * answered -EBUSY: what belongs to the thread alone is half-way through, and the kernel's list has
 * room for one pending word only.
 *
 * Sudden death: see participant.c; a slot is claimed in one store that names its claimant.
 */
#include <shm/attach.h>

#include <base/clock.h>
#include <base/error.h>
#include <base/local.h>
#include <base/system.h>
#include <errno.h>
#include <pthread.h>
#include <shm/member.h>
#include <shm/slab.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define PAGE 4096

static pthread_key_t end_of_thread;
static int key_made;
static volatile uint32_t *fork_page;
static uint32_t forks; /* copied by a fork, so the child counts on from it */

/* Held to change what belongs to the whole process: its generation, its place among the members. */
static struct kn_local_lock process_lock;

static void wipe_in_child(void)
{
    *fork_page = 0;
}

#if !defined(__GLIBC__)
/*
 * musl leaves the list as the parent had it: the next robust mutex would be linked into nodes of the
 * parent's, some of them in shared memory. Before the fork the kernel knows where it is.
 */
static __thread struct robust_list_head *list_before_fork;

static void find_list_before_fork(void)
{
    size_t length;
    list_before_fork = NULL;
    KN_SYSTEM_3(KN_GET_ROBUST_LIST, 0, &list_before_fork, &length);
}

static void forget_list_in_child(void)
{
    if (!list_before_fork)
        return;
    list_before_fork->list.next = &list_before_fork->list;
    list_before_fork->list_op_pending = NULL;
}
#endif

static void at_end_of_thread(void *unused)
{
    (void)unused;
    kn_thread_leave();
}

int kn_process_begin(void)
{
    if (!key_made) {
        int error = pthread_key_create(&end_of_thread, at_end_of_thread);
        if (error)
            return kn_fail(-error, "no thread-specific key left for kin (pthread_key_create)");
        key_made = 1;
#if !defined(__GLIBC__)
        pthread_atfork(find_list_before_fork, NULL, forget_list_in_child);
#endif
    }
    if (!fork_page) {
        long page = KN_SYSTEM_6(KN_MMAP, 0, PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page < 0 && page > -4096)
            return kn_fail((int)page, "no memory for kin's page: %s", strerror((int)-page));
        fork_page = (volatile uint32_t *)page;
        /* Not under valgrind: there, a fork made by the C library has to do. */
        if (KN_SYSTEM_3(KN_MADVISE, page, PAGE, MADV_WIPEONFORK) < 0)
            pthread_atfork(NULL, NULL, wipe_in_child);
    }
    kn_process.pid = kn_getpid();
    kn_process.member = -1;
    *fork_page = ++forks;
    kn_process.generation = fork_page;
    return 0;
}

void kn_process_end(void)
{
    *fork_page = ++forks;
}

static KN_COLD int busy(void)
{
    return kn_fail(-EBUSY, "called in a signal handler that interrupted a kin call, or the locking "
                           "of a robust mutex: do it after the handler");
}

/* In the child of a fork: this process is new, and its first thread to come here says so. */
static int renew_process(void)
{
    int error = kn_local_acquire(&process_lock);
    if (error)
        return busy();
    if (*kn_process.generation == 0 && !kn_namespaces_agree(kn_process.header)) {
        error = kn_fail(-ENOTSUP, "this process was forked into another pid or time namespace than "
                                  "its family's: it cannot be a member");
    } else if (*kn_process.generation == 0) {
        kn_process.pid = kn_getpid();
        kn_process.member = -1;
        *fork_page = ++forks;
    }
    kn_local_release(&process_lock);
    return error;
}

/* The vestibule's holder may have died with a run in hand; who takes it over has it now. */
static int extend_from_vestibule(struct kn_thread *t, const struct kn_robust *robust)
{
    struct kn_header *header = kn_process.header;
    t->self = kn_participant_claim_vestibule(header, robust, t->tid);
    if (!t->self)
        return kn_fail(-EAGAIN, "no room in the table of threads, and a thread that makes room "
                                "does not finish: is it stopped?");
    t->id = kn_id_make(t->self->slot, atomic_load(&t->self->generation));
    kn_heap_lock(t);
    kn_settle_intent(t->self);
    kn_heap_unlock(t);
    /* Slots of those that the kernel did not mark come back before the table gets longer. */
    int error = 0;
    if (kn_sweep_needed(1))
        kn_sweep(t);
    else
        error = kn_table_extend(t, KN_TABLE_PARTICIPANTS);
    kn_participant_leave(header, robust, t->self);
    t->self = NULL;
    return error;
}

static int join_members(struct kn_thread *t)
{
    int error = kn_local_acquire(&process_lock);
    if (error)
        return busy();
    while (kn_process.member < 0 && !error) {
        int32_t index = kn_member_claim(kn_process.header, t->id);
        if (index < 0) {
            /* Processes that ended in order are still listed until somebody sweeps. */
            kn_sweep(t);
            index = kn_member_claim(kn_process.header, t->id);
        }
        kn_process.member = index;
        if (index < 0)
            error = kn_table_extend(t, KN_TABLE_MEMBERS);
    }
    kn_local_release(&process_lock);
    return error;
}

/* Finds the list and a slot. 0, or -errno and nothing is held. */
static int claim_slot(struct kn_thread *t)
{
    static __thread struct robust_list_head own;
    struct kn_header *header = kn_process.header;
    struct kn_robust robust;
    struct robust_list_head *known = t->robust == &own ? NULL : t->robust;
    int error = kn_robust_find(&robust, kn_process.mode, known, &own);
    if (error)
        return error;
    if (robust.mode == KN_ROBUST_NATIVE && robust.futex_offset != kn_process.futex_offset)
        return kn_fail(-ENOTSUP, "this process uses another C library than its family's root, with "
                                 "another layout of robust mutexes: use the same one");
    /*
     * A handler that interrupted the C library at a robust mutex; or what the parent was about
     * when its handler forked, which means nothing here.
     */
    if (robust.head->list_op_pending && t->generation == KN_NO_GENERATION)
        return busy();
    robust.head->list_op_pending = NULL;
    t->robust = robust.head;
    t->tid = kn_gettid();
    int dead = 0;
    while (!(t->self = kn_participant_claim(header, &robust, t->tid, &dead))) {
        error = extend_from_vestibule(t, &robust);
        if (error)
            return error;
    }
    t->id = kn_id_make(t->self->slot, atomic_load(&t->self->generation));
    kn_assert("P2", kn_id_generation(t->id) != 0 && kn_id_alive(header, t->id));
    kn_assert("S1", t->self->condemned == 0);
    atomic_store(&t->self->intent, 0);
    memset(t->self->cache, 0, sizeof t->self->cache);
    t->generation = *kn_process.generation;
    if (dead)
        kn_sweep(t);
    return 0;
}

/* The reverse of enroll, inside as well. */
static void leave(struct kn_thread *t)
{
    struct kn_robust robust = { t->robust, kn_process.futex_offset, kn_process.mode };
    if (kn_heap_trusted() == 0) {
        kn_heap_lock(t);
        kn_slabs_leave(t);
        kn_heap_unlock(t);
    }
    kn_participant_leave(kn_process.header, &robust, t->self);
    t->self = NULL;
    t->generation = KN_NO_GENERATION;
}

/* Registers the calling thread, which is inside already. */
static int enroll(struct kn_thread *t)
{
    int error = claim_slot(t);
    if (error)
        return error;
    pthread_setspecific(end_of_thread, t);
    if (kn_process.member < 0)
        error = join_members(t);
    if (error) {
        leave(t);
        return error;
    }
    atomic_store(&t->self->member, (uint32_t)atomic_load(&kn_process.member));
    return 0;
}

/* What stands against a call of this thread; 0: nothing, and it is marked as inside. */
static int go_inside(struct kn_thread *t)
{
    if (*kn_process.generation == 0) {
        int error = renew_process();
        if (error)
            return error;
    }
    uint32_t generation = *kn_process.generation;
    if (t->inside && t->inside == generation)
        return busy();
    /* From here on handlers keep out; one that came before may have ended the family. */
    t->inside = generation;
    kn_compiler_barrier();
    if (generation != KN_NO_FAMILY && generation == *kn_process.generation)
        return 0;
    t->inside = 0;
    return kn_fail(-EINVAL, "no family: call kin_init(&argc, &argv, NULL) first, and see that it "
                            "succeeds");
}

KN_COLD struct kn_thread *kn_thread_begin(int *error)
{
    struct kn_thread *t = &kn_thread;
    *error = go_inside(t);
    if (*error)
        return NULL;
    /* A handler that came before may also have registered the thread. */
    if (t->generation != t->inside)
        *error = enroll(t);
    else if (t->robust->list_op_pending)
        *error = busy();
    if (*error)
        t->inside = 0;
    return *error ? NULL : t;
}

void kn_thread_leave(void)
{
    struct kn_thread *t = &kn_thread;
    if (!kn_thread_enter_ready())
        return;
    leave(t);
    kn_thread_done(t);
}
