// SPDX-License-Identifier: MIT
/*
 * layout.h - the bytes of an arena.
 *
 *   base                                                                        base + size
 *   | header | leaf | participants | members | runs ...        | not committed        |
 *   |<-- units of 16 KiB, file_end bytes of them ------------->|<- address space only |
 *
 * The whole range is mapped at birth in every member; the file behind it is as long as what is
 * committed, so a touch beyond it is SIGBUS in the one at fault and nothing else. Everything
 * behind the header is made of units, and every unit belongs to exactly one run (heap: H1).
 *
 * This header is the only struct whose place is fixed. Pointers in it are plain pointers: they
 * mean the same in every member.
 */
#ifndef KN_SHM_LAYOUT_H
#define KN_SHM_LAYOUT_H

#include <base/attributes.h>
#include <pthread.h>

#define KN_MAGIC          0x796c696d61666e6bu /* "knfamily" */
#define KN_LAYOUT_VERSION 1u

#define KN_UNIT_SHIFT   14
#define KN_UNIT         ((uint64_t)1 << KN_UNIT_SHIFT)
#define KN_AREA_UNITS   1024u /* units that one leaf describes: 16 MiB */
#define KN_AREA         (KN_AREA_UNITS * KN_UNIT)
#define KN_COMMIT_STEP  ((uint64_t)2 << 20)
#define KN_FIRST_COMMIT ((uint64_t)512 << 10) /* or a multiple of it */

#define KN_LINE 128 /* two cache lines: neighbours are fetched in pairs */

#define KN_BINS                  112
#define KN_CLASSES               44
#define KN_STRIPES               64
#define KN_PARTICIPANT_CHUNKS    2047
#define KN_PARTICIPANTS_IN_CHUNK 32
#define KN_MEMBER_CHUNKS         128
#define KN_MEMBERS_IN_CHUNK      128

/* Bytes of an entry, and units of a chunk, of each table; and of a slab's header. */
#define KN_PARTICIPANT_BYTES 2048
#define KN_MEMBER_BYTES      128
#define KN_PARTICIPANT_UNITS (KN_PARTICIPANTS_IN_CHUNK * KN_PARTICIPANT_BYTES / KN_UNIT)
#define KN_MEMBER_UNITS      (KN_MEMBERS_IN_CHUNK * KN_MEMBER_BYTES / KN_UNIT)
#define KN_SLAB_BYTES        64

struct kn_participant;
struct kn_member;
struct kn_slab;

/*
 * An internal lock: four bytes, held only for short sections of the library, never nested, never
 * over user code. TID | FUTEX_WAITERS | FUTEX_OWNER_DIED, as the kernel wants it. See lock.c.
 */
struct kn_lock {
    _Atomic uint32_t word;
};

/* How threads' deaths become known; chosen once by the root, the same for all. See robust.c. */
enum kn_robust_mode {
    KN_ROBUST_DEFAULT, /* let the root choose */
    KN_ROBUST_NATIVE,  /* the thread's robust list, by hand */
    KN_ROBUST_MUTEX,   /* robust pthread mutexes: the list is there, but not to be found */
    KN_ROBUST_NONE,    /* no robust lists at all: look threads up in /proc */
};

/*
 * One leaf describes 1,024 units. word[] is the truth: what each unit is (units.h). link[] is a
 * cache: the lists of free runs, rebuilt from the words when a holder of the heap's lock died.
 * Both are written under heap.lock; words are read by anyone.
 */
struct kn_leaf {
    _Atomic uint64_t word[KN_AREA_UNITS];
    struct {
        uint32_t previous, next;
    } link[KN_AREA_UNITS];
};

/*
 * The heap's shared state. Writer: the holder of lock, for all but the counters, which are bumped
 * atomically. Reader: the holder of lock; units_end also by anyone (acquire; its release is the
 * store that makes new units count).
 */
struct kn_heap {
    struct kn_lock lock;
    uint32_t occupied_bins[4];         /* cache: which bins have a run */
    _Atomic uint64_t units_end;        /* units that belong to runs */
    uint32_t bin[KN_BINS];             /* cache: first unit of each list of free runs */
    struct kn_slab *shelf[KN_CLASSES]; /* cache: slabs of nobody that have free blocks */
    uint32_t on_shelf[KN_CLASSES];
    _Atomic uint32_t last_trim; /* milliseconds, wraps */
    uint32_t holes;             /* hint: some free runs have pages missing */
    _Atomic uint32_t poisoned;  /* the truth makes no sense any more: no call touches the heap */
    _Atomic uint64_t sweeps, repairs;
};

/*
 * The header of the arena. Written by the root before anyone else sees it, except where a line
 * says otherwise.
 */
struct kn_header {
    uint64_t magic; /* written last: a header without it is not ready */
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t base, size;
    uint64_t layout_hash;    /* sizes and offsets of this build; another build is refused */
    uint64_t pid_namespace;  /* thread ids in lock words mean something only inside it */
    uint64_t time_namespace; /* start times in /proc are those of the reader's */
    int32_t futex_offset;    /* from a robust list node to its word; -32 glibc, -28 musl */
    uint32_t robust_mode;    /* enum kn_robust_mode */
    uint32_t root_pid;
    uint32_t areas; /* entries of leaf[] */
    int64_t root_start;
    _Atomic uint64_t
        rescues; /* what only a sleeper's own clock found: lost wake-ups, unmarked deaths */

    /* The file's length. Writer: the holder of grow_lock (release); reader: anyone (acquire). */
    _Alignas(KN_LINE) struct kn_lock grow_lock;
    _Atomic uint64_t file_end;

    _Alignas(KN_LINE) struct kn_heap heap;

    /* KN_ROBUST_MUTEX only: internal locks are hashed to these (lock.c). */
    _Alignas(KN_LINE) pthread_mutex_t stripe[KN_STRIPES];

    /*
     * Tables in chunks. An entry is stored once (release), under heap.lock, and never changes;
     * anyone reads it (acquire).
     */
    _Alignas(KN_LINE) struct kn_member *_Atomic members[KN_MEMBER_CHUNKS];
    struct kn_participant *_Atomic participants[KN_PARTICIPANT_CHUNKS];
    struct kn_leaf *_Atomic leaf[]; /* one for each 16 MiB of the range */
};

/* Bytes of the header for an arena of this size, whole units. */
KN_INLINE uint64_t kn_header_bytes(uint64_t size)
{
    return KN_ROUND_UP(sizeof(struct kn_header) + size / KN_AREA * sizeof(void *), KN_UNIT);
}

#endif
