// SPDX-License-Identifier: MIT
/*
 * peer_mutex.h - the C library's mutexes between processes: the normal one, which is lost with a
 * holder that dies; the robust one; the robust one with priority inheritance.
 */
#ifndef PEER_MUTEX_H
#define PEER_MUTEX_H

#include <errno.h>
#include <pthread.h>

enum peer_mutex_kind { PEER_MUTEX_NORMAL, PEER_MUTEX_ROBUST, PEER_MUTEX_PI };

/* 0, or an errno. */
static inline int peer_mutex_init(pthread_mutex_t *mutex, enum peer_mutex_kind kind)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (!error)
        error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!error && kind != PEER_MUTEX_NORMAL)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!error && kind == PEER_MUTEX_PI)
        error = pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    if (!error)
        error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error;
}

/* As its users must: a dead holder's data would be repaired where this says so. 1: it died. */
static inline int peer_mutex_acquire(pthread_mutex_t *mutex)
{
    if (pthread_mutex_lock(mutex) != EOWNERDEAD)
        return 0;
    pthread_mutex_consistent(mutex);
    return 1;
}

static inline void peer_mutex_release(pthread_mutex_t *mutex)
{
    pthread_mutex_unlock(mutex);
}

#endif
