// SPDX-License-Identifier: MIT
/*
 * event.c - sleeping on an event word, and waking.
 *
 * A sleeper announces itself (bit 0), tests its condition once more, and sleeps only if the word is
 * still what it was then. A waker publishes, counts the word up, and wakes: who announced itself
 * before sees the word changed, who did so afterwards sees what was published. The sleepers' bit
 * stays as long as there are any, so a waker that dies before its wake, or a woken sleeper that
 * dies before it passed the baton, costs the others only the time until the next publication (E2).
 *
 * A waker that found fewer sleepers than it would have woken clears the bit. Somebody may have gone
 * to sleep between its wake and this, and nobody would see him any more: so it wakes once more
 * behind the clearing. (Clearing before the only wake is right as well, but then a waker's death in
 * between leaves everybody asleep with no sign of it.)
 *
 * Sudden death: a waker killed between the clearing and that last wake, while somebody had come in
 * between, leaves that one to its own clock: every sleep here ends within about a second (E3), and
 * its caller looks again.
 */
#include <shm/event.h>

#include <base/clock.h>
#include <errno.h>
#include <shm/thread.h>

int kn_event_sleep(struct kn_event *event, uint32_t seen, int64_t until)
{
    kn_assert("E1", seen & KN_EVENT_SLEEPERS);
    int64_t now = kn_now();
    if (now >= until)
        return -ETIMEDOUT;
    int64_t net = now + kn_jittered_second();
    struct timespec deadline = kn_timespec(until < net ? until : net);
    long woken = kn_futex_wait(&event->word, seen, &deadline);
    /* Somebody counted the word up and woke nobody: it died in between. */
    if (woken == -ETIMEDOUT && net <= until &&
        atomic_load_explicit(&event->word, memory_order_relaxed) != seen)
        atomic_fetch_add_explicit(&kn_process.header->rescues, 1, memory_order_relaxed);
    return 0;
}

static void wake(struct kn_event *event, int count, uint32_t seen)
{
    long woken = KN_PLANT("event-no-wake") ? count : kn_futex_wake(&event->word, count);
    uint32_t cleared = (seen & ~KN_EVENT_SLEEPERS) + KN_EVENT_STEP;
    if (woken < count &&
        atomic_compare_exchange_strong_explicit(&event->word, &seen, cleared, memory_order_seq_cst,
                                                memory_order_relaxed))
        kn_futex_wake(&event->word, INT32_MAX);
}

KN_COLD void kn_event_wake_sleepers(struct kn_event *event, int count)
{
    kn_assert("E1", count > 0);
    uint32_t seen = atomic_fetch_add_explicit(&event->word, KN_EVENT_STEP, memory_order_seq_cst) +
                    KN_EVENT_STEP;
    if (seen & KN_EVENT_SLEEPERS)
        wake(event, count, seen);
}
