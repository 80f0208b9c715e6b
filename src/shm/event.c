// SPDX-License-Identifier: MIT
/*
 * event.c - sleeping on an event word, and waking.
 *
 * Clear first, then wake: a waker that wakes first and clears afterwards wipes out the announcement
 * of somebody who came in between, and that one sleeps for ever. So the waker clears the sleepers'
 * bit and counts the word up in one compare-and-swap, then wakes. Who was asleep sets the bit again
 * for those who still are, and if it sees that there is more, wakes the next (the baton).
 *
 * Sudden death: a waker killed between its publication and its wake, and a woken sleeper killed
 * before it passed the baton on, leave others asleep although there is something for them. The
 * next publication wakes them, or their own clock within about a second (E2): every sleep here is
 * that short, and its caller looks again.
 */
#include <shm/event.h>

#include <base/clock.h>
#include <errno.h>

int kn_event_sleep(struct kn_event *event, uint32_t seen, int64_t until)
{
    int64_t now = kn_now();
    if (now >= until)
        return -ETIMEDOUT;
    int64_t net = now + kn_jittered_second();
    struct timespec deadline = kn_timespec(until < net ? until : net);
    kn_futex_wait(&event->word, seen, &deadline);
    return 0;
}

KN_COLD void kn_event_wake_sleepers(struct kn_event *event, int count)
{
    uint32_t seen = atomic_load_explicit(&event->word, memory_order_relaxed);
    while (seen & KN_EVENT_SLEEPERS) {
        uint32_t next = (seen & ~KN_EVENT_SLEEPERS) + KN_EVENT_STEP;
        if (atomic_compare_exchange_weak_explicit(&event->word, &seen, next, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
            if (!KN_PLANT("event-no-wake"))
                kn_futex_wake(&event->word, count);
            return;
        }
    }
}
