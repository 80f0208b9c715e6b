// SPDX-License-Identifier: MIT
/*
 * lifeline.c - a pipe whose closing kills.
 *
 * PR_SET_PDEATHSIG kills a child when the thread that started it ends, which is not what anyone
 * means. So parent and child share a pipe into which nothing is ever written. The child's end is set
 * to raise a signal when something happens to it, the signal is SIGKILL, and what happens is the
 * hang-up: the kernel closes the parent's end when the parent is gone. It needs no thread, no
 * handler and no poll in the child, works while the child is busy, and lasts over an exec, so it
 * holds for a foreign program, too.
 *
 * Who forks while it holds a parent's end passes a copy of it on, and the child lives as long as
 * that copy: kin's own children close it.
 *
 * Sudden death: the window in which the parent dies before the child has armed its end is closed by
 * one look after arming: a hang-up that came before raises no signal, but is seen.
 */
#include <process/lifeline.h>

#include <base/error.h>
#include <base/system.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

int kn_lifeline_open(struct kn_lifeline *line)
{
    int ends[2];
    long answer = KN_SYSTEM_2(KN_PIPE2, ends, O_CLOEXEC | O_NONBLOCK);
    if (answer < 0)
        return kn_fail((int)answer,
                       "no pipe to watch a child with: %s; raise the limit (ulimit -n)",
                       strerror((int)-answer));
    line->hold = ends[0];
    line->keep = ends[1];
    return 0;
}

static int hung_up(int hold)
{
    struct pollfd end = { .fd = hold, .events = POLLIN };
    static const struct timespec now = { 0, 0 };
    long answer = KN_SYSTEM_6(KN_PPOLL, &end, 1, &now, NULL, 0, 0);
    return answer < 0 ? (int)answer : (end.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int kn_lifeline_arm(int hold)
{
    long answer = KN_SYSTEM_3(KN_FCNTL, hold, F_SETFD, 0);
    if (answer == 0)
        answer = KN_SYSTEM_3(KN_FCNTL, hold, F_SETOWN, kn_getpid());
    if (answer == 0)
        answer = KN_SYSTEM_3(KN_FCNTL, hold, F_SETSIG, SIGKILL);
    if (answer == 0)
        answer = KN_SYSTEM_3(KN_FCNTL, hold, F_SETFL, O_ASYNC | O_NONBLOCK);
    return answer < 0 ? (int)answer : hung_up(hold);
}
