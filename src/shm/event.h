// SPDX-License-Identifier: MIT
/*
 * event.h - the event word: how a thread sleeps until somebody says "look again".
 *
 * The one correct order of steps, for all that block:
 *
 *   sleeper: seen = kn_event_announce(e); test the condition again; kn_event_sleep(e, seen, until);
 *            test; and so on. Having slept and found what it came for: kn_event_pass(e, more).
 *   waker:   publish; kn_event_wake(e, n)
 */
#ifndef KN_SHM_EVENT_H
#define KN_SHM_EVENT_H

#include <base/system.h>
#include <shm/layout.h>

/*
 * Bit 0: somebody may sleep. Bit 1: somebody watches with a descriptor (reserved). The rest counts
 * wake-ups, so that who announced itself before one does not sleep after it. Writers: everyone, by
 * atomic read-modify-write.
 */
struct kn_event {
    _Atomic uint32_t word;
};

#define KN_EVENT_SLEEPERS 1u
#define KN_EVENT_WATCHERS 2u
#define KN_EVENT_STEP     4u

/*
 * Says "I may sleep" and returns what to sleep on. The condition must be tested again between this
 * and the sleep: the fence pairs with the one in kn_event_wake, so that of the announcement and the
 * publication one is seen.
 */
KN_INLINE uint32_t kn_event_announce(struct kn_event *event)
{
    uint32_t seen = atomic_fetch_or_explicit(&event->word, KN_EVENT_SLEEPERS, memory_order_seq_cst);
#if !defined(KN_THREAD_SANITIZER)
    atomic_thread_fence(memory_order_seq_cst);
#endif
    return seen | KN_EVENT_SLEEPERS;
}

/*
 * Sleeps until somebody wakes the event after `seen` was taken, or the clock reaches until
 * (kn_deadline). Returns 0: look again (also spurious, and at least about once a second); or
 * -ETIMEDOUT.
 */
int kn_event_sleep(struct kn_event *event, uint32_t seen, int64_t until);

void kn_event_wake_sleepers(struct kn_event *event, int count);

/*
 * After a publishing store: wakes up to count sleepers, if there may be any. One load otherwise.
 */
KN_INLINE void kn_event_wake(struct kn_event *event, int count)
{
    /* Store-load: what was published must be visible before the sleepers' bit is read. */
#if defined(KN_THREAD_SANITIZER)
    uint32_t seen = atomic_fetch_or_explicit(&event->word, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t seen = atomic_load_explicit(&event->word, memory_order_relaxed);
#endif
    if (kn_unlikely(seen & KN_EVENT_SLEEPERS))
        kn_event_wake_sleepers(event, count);
}

/*
 * Who slept and found what it came for passes the baton: one wake-up was for one sleeper, and if
 * there is more, the next one is woken.
 */
KN_INLINE void kn_event_pass(struct kn_event *event, int more)
{
    if (more)
        kn_event_wake(event, 1);
}

#endif
