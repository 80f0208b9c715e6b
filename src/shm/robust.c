// SPDX-License-Identifier: MIT
/*
 * robust.c - finding the thread's robust list, and linking a life word into it.
 *
 * The kernel keeps for each thread the address of a list of futexes that it holds, and marks them
 * when the thread ends, in whatever way. The C library owns that list; kin adds one node for the
 * thread's life, and borrows the field list_op_pending for its short sections. So kin must agree
 * with the library about the layout: a node's `previous` pointer stands just before it, and the
 * word is at a fixed offset, which the list's head names. Both glibc and musl do it so, with
 * different offsets; musl registers its list at the first robust lock, so one is taken here.
 *
 * Bit 0 of a pointer to a node says "this one is a PI mutex"; it stays with the pointer.
 *
 * Facts that experiments taught: the node that was first must learn its new neighbour, or the
 * library's own unlock of it drops ours. The kernel walks at most 2,048 nodes, newest first. The
 * child of a bare fork system call has no list. See <https://docs.kernel.org/locking/robust-futexes.html>.
 *
 * Sudden death: while a node is being linked or unlinked, list_op_pending names it, so the kernel
 * finds its word whether or not the list shows it yet.
 */
#include <shm/robust.h>

#include <base/error.h>
#include <base/system.h>
#include <errno.h>
#include <string.h>

#define GLIBC_OFFSET (-32)
#define MUSL_OFFSET  (-28)

_Static_assert(offsetof(union kn_life, next) == 32, "the node's place in both C libraries");
_Static_assert(offsetof(union kn_life, previous) == 24, "the node's place in both C libraries");

int kn_robust_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error)
        return -error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!error)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!error)
        error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}

/* Takes and releases a robust mutex: musl registers the list then, and a libc without says so. */
static int use_robust_mutex(void)
{
    pthread_mutex_t mutex;
    int error = kn_robust_mutex(&mutex);
    if (error)
        return error;
    error = pthread_mutex_lock(&mutex);
    if (!error)
        error = pthread_mutex_unlock(&mutex);
    pthread_mutex_destroy(&mutex);
    return -error;
}

static long ask_kernel(struct robust_list_head **head)
{
    size_t length = 0;
    *head = NULL;
    return KN_SYSTEM_3(KN_GET_ROBUST_LIST, 0, head, &length);
}

/*
 * The thread has no list. musl registers it at the first robust lock. With glibc it is the child of
 * a bare fork system call: the head is where it was, but what is linked to it is the parent's, some
 * of it in shared memory, so nothing of it may be followed.
 */
static long bring_list(struct robust_list_head **head, struct robust_list_head *known,
                       struct robust_list_head *own)
{
#if !defined(__GLIBC__)
    if (known) {
        known->list.next = &known->list;
        known->list_op_pending = NULL;
    }
    use_robust_mutex();
    long answer = ask_kernel(head);
    if (answer < 0 || *head)
        return answer;
#endif
    *head = known ? known : own;
    (*head)->list.next = &(*head)->list;
    (*head)->list_op_pending = NULL;
    (*head)->futex_offset = known ? known->futex_offset : GLIBC_OFFSET;
    return KN_SYSTEM_2(KN_SET_ROBUST_LIST, *head, sizeof **head);
}

/* The list, as this thread's C library keeps it: 0, or a negative errno. */
static int find_native(struct kn_robust *robust, struct robust_list_head *known,
                       struct robust_list_head *own)
{
    struct robust_list_head *head;
    long answer = ask_kernel(&head);
    if (answer == 0 && head == NULL)
        answer = bring_list(&head, known, own);
    if (answer < 0)
        return (int)answer;
    if (head->futex_offset != GLIBC_OFFSET && head->futex_offset != MUSL_OFFSET)
        return -ENOTSUP;
    robust->head = head;
    robust->futex_offset = (int32_t)head->futex_offset;
    robust->mode = KN_ROBUST_NATIVE;
    return 0;
}

int kn_robust_find(struct kn_robust *robust, enum kn_robust_mode wanted,
                   struct robust_list_head *known, struct robust_list_head *own)
{
    /* Where there is no list to share, stores to list_op_pending go to one that nobody walks. */
    memset(own, 0, sizeof *own);
    own->list.next = &own->list;
    robust->head = own;
    robust->futex_offset = GLIBC_OFFSET;
    robust->mode = wanted;

    int error = -ENOTSUP;
    if (wanted == KN_ROBUST_NATIVE || wanted == KN_ROBUST_DEFAULT) {
        error = find_native(robust, known, own);
        if (error == 0)
            return 0;
    }
    /* Where the call does not even exist, mutexes would hang: their owners' deaths go unmarked. */
    int missing = wanted == KN_ROBUST_DEFAULT && error == -ENOSYS;
    if ((wanted == KN_ROBUST_MUTEX || wanted == KN_ROBUST_DEFAULT) && !missing) {
        error = use_robust_mutex();
        robust->mode = KN_ROBUST_MUTEX;
        if (error == 0)
            return 0;
    }
    if (wanted == KN_ROBUST_NONE || wanted == KN_ROBUST_DEFAULT) {
        robust->mode = KN_ROBUST_NONE;
        return 0;
    }
    return kn_fail(-ENOTSUP,
                   "this process cannot use the robust lists that its family uses (error %d): run "
                   "it with the same C library and seccomp profile as the root",
                   -error);
}

/* The field before a node, where its `previous` stands, whatever bit 0 of the pointer says. */
static struct robust_list **previous_of(struct robust_list *pointer)
{
    return (struct robust_list **)((uintptr_t)pointer & ~(uintptr_t)1) - 1;
}

void kn_robust_link(struct robust_list_head *head, union kn_life *life)
{
    kn_assert("P1", head->list_op_pending == &life->next);
    struct robust_list *node = &life->next;
    struct robust_list *first = head->list.next;
    node->next = first;
    life->previous = &head->list;
    if (first != &head->list && !KN_PLANT("life-previous"))
        *previous_of(first) = node;
    kn_compiler_barrier();
    head->list.next = node;
}

void kn_robust_unlink(struct robust_list_head *head, union kn_life *life)
{
    kn_assert("P1", head->list_op_pending == &life->next);
    struct robust_list *next = life->next.next;
    struct robust_list *previous =
        (struct robust_list *)((uintptr_t)life->previous & ~(uintptr_t)1);
    kn_assert("P1", previous->next == &life->next);
    previous->next = next;
    kn_compiler_barrier();
    if (next != &head->list)
        *previous_of(next) = life->previous;
}
