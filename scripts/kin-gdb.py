"""A family and its heap, seen with a debugger.

    gdb -x scripts/kin-gdb.py -p PID        or        (gdb) source scripts/kin-gdb.py
    (gdb) kin family      the header, the members, the threads
    (gdb) kin heap        runs by kind, slabs by size and owner, bins of free runs

It reads kn_process and the structs of src/shm through the library's debug information, and calls
nothing in the process: it may be stopped anywhere. It takes no lock either, so what it shows of a
live family can be half-way through a change. A core dump has the arena's header only.
"""

import collections
import struct

import gdb

# As in src/shm/layout.h, units.h and participant.h; the header's version says if they still hold.
LAYOUT_VERSION = 1
MAGIC = 0x796c696d61666e6b
UNIT = 16 << 10
UNITS_IN_LEAF = 1024
IN_PARTICIPANT_CHUNK = 32
IN_MEMBER_CHUNK = 128
SHELVED = (1 << 64) - 1

# The kernel's, in a futex word.
OWNER_DIED = 0x40000000
TID_MASK = 0x3fffffff

ROBUST_MODES = ['default', 'native', 'mutex', 'none']
MEMBER_STATES = ['free', 'joining', 'alive']
UNIT_KINDS = ['inside', 'free', 'tail', 'large', 'slab', 'table', 'continued']
FREE, SLAB = UNIT_KINDS.index('free'), UNIT_KINDS.index('slab')


class NotThere(Exception):
    """Memory that a core dump does not have."""


def bytes_of(n):
    for unit, size in [('GiB', 1 << 30), ('MiB', 1 << 20), ('KiB', 1 << 10)]:
        if n >= size:
            return f'{n / size:.1f} {unit}'
    return f'{n} B'


def id_of(n):
    """A participant's id: slot and generation."""
    return f'{n & 0xffff}.{n >> 16}'


def header():
    try:
        process = gdb.parse_and_eval('kn_process')
        address = int(process['header'])
    except gdb.error:
        raise gdb.GdbError('kin: no kn_process here: the library is not loaded, or was built '
                           'without debug information')
    if address == 0:
        raise gdb.GdbError('kin: this process is in no family')
    h = process['header'].dereference()
    if int(h['magic']) != MAGIC:
        raise gdb.GdbError(f'kin: what is at {address:#x} is no arena, or not ready')
    if int(h['layout_version']) != LAYOUT_VERSION:
        raise gdb.GdbError(f'kin: the arena has layout {int(h["layout_version"])}, this script '
                           f'knows {LAYOUT_VERSION}')
    return h


def entries(table, in_chunk):
    """The elements of a table in chunks, as (number, value); raises NotThere."""
    first, last = table.type.range()
    for i in range(first, last + 1):
        chunk = table[i]
        if int(chunk) == 0:
            return
        for j in range(in_chunk):
            element = chunk[j]
            try:
                # Values are lazy: this is where the memory is read.
                element.fetch_lazy()
            except gdb.MemoryError:
                raise NotThere
            yield i * in_chunk + j, element


def member_state(member):
    state = int(member['state'])
    return MEMBER_STATES[state] if state < len(MEMBER_STATES) else f'state {state}'


def life_of(h, participant):
    """What the life word says of the thread."""
    if ROBUST_MODES[int(h['robust_mode'])] == 'mutex':
        if int(participant['taken']) == 0:
            return 'free'
        # Whether the mutex's owner is dead, only trying to lock it would tell.
        return 'taken'
    at = int(participant['life']['next'].address) + int(h['futex_offset'])
    word = struct.unpack('<I', gdb.selected_inferior().read_memory(at, 4))[0]
    # The kernel clears the id of one that died.
    if word & OWNER_DIED:
        return 'dead'
    return 'alive' if word & TID_MASK else 'free'


def show_members(h):
    for i, member in entries(h['members'], IN_MEMBER_CHUNK):
        if int(member['claim']) == 0 and int(member['state']) == 0:
            continue
        print(f'member {i:4} pid {int(member["pid"])} {member_state(member)}')


def show_participants(h):
    for i, p in entries(h['participants'], IN_PARTICIPANT_CHUNK):
        life = life_of(h, p)
        if life == 'free':
            continue
        intent = int(p['intent'])
        print(f'thread {i:4} generation {int(p["generation"])} tid {int(p["tid"])} {life}, '
              f'member {int(p["member"])}, ' + (f'intent {intent:#x}' if intent else 'no intent'))


def show_part(name, show, h):
    try:
        show(h)
    except (NotThere, gdb.MemoryError):
        print(f'{name}: not in this core dump, which has only the arena\'s header')


class Kin(gdb.Command):
    """Shows what kin shares: kin family, kin heap."""

    def __init__(self):
        super().__init__('kin', gdb.COMMAND_DATA, prefix=True)


class Family(gdb.Command):
    """kin family: the arena's header, the family's members and threads."""

    def __init__(self):
        super().__init__('kin family', gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        h = header()
        mode = int(h['robust_mode'])
        print(f'base      {int(h["base"]):#x}')
        print(f'size      {int(h["size"])} ({bytes_of(int(h["size"]))})')
        print(f'file end  {int(h["file_end"])} ({bytes_of(int(h["file_end"]))})')
        print(f'robust    {ROBUST_MODES[mode] if mode < len(ROBUST_MODES) else mode}')
        print(f'root      pid {int(h["root_pid"])}')
        print(f'rescues   {int(h["rescues"])}')
        show_part('members', show_members, h)
        show_part('threads', show_participants, h)


def unit_words(h):
    """The words of all units that belong to runs; raises NotThere."""
    end = int(h['heap']['units_end'])
    # The last member has no length of its own: read the pointers by hand.
    table = int(h['leaf'].address)
    memory = gdb.selected_inferior()
    words = []
    try:
        for i in range((end + UNITS_IN_LEAF - 1) // UNITS_IN_LEAF):
            leaf = struct.unpack('<Q', memory.read_memory(table + 8 * i, 8))[0]
            count = min(UNITS_IN_LEAF, end - i * UNITS_IN_LEAF)
            # The words are a leaf's first member.
            words += struct.unpack(f'<{count}Q', memory.read_memory(leaf, 8 * count))
    except gdb.MemoryError:
        raise NotThere
    return words


def runs(words):
    """All runs as (first unit, kind, length)."""
    unit = 0
    while unit < len(words):
        length = words[unit] >> 12 & 0xfffffff
        if length == 0:
            print(f'unit {unit}: no run begins where the last one ends (word {words[unit]:#x})')
            return
        yield unit, words[unit] & 15, length
        unit += length


def owner_of(slab):
    owner = int(slab['owner'])
    return 'shelved' if owner == SHELVED else 'nobody' if owner == 0 else 'owner ' + id_of(owner)


def show_slabs(base, units):
    kind = gdb.lookup_type('struct kn_slab').pointer()
    counts = collections.Counter()
    for unit in units:
        slab = gdb.Value(base + unit * UNIT).cast(kind).dereference()
        counts[int(slab['size']), owner_of(slab)] += 1
    for (size, owner), count in sorted(counts.items()):
        print(f'slabs of {size:6} B: {count:5} {owner}')


def show_bins(h):
    """Which bins have a first run; the lists themselves are caches."""
    bins = h['heap']['bin']
    first, last = bins.type.range()
    for i in range(first, last + 1):
        if int(bins[i]):
            print(f'bin {i:4}: first run at unit {int(bins[i])}')


def show_heap(h):
    words = unit_words(h)
    counts, units, slabs = collections.Counter(), collections.Counter(), []
    for unit, kind, length in runs(words):
        counts[kind] += 1
        units[kind] += length
        if kind == SLAB:
            slabs.append(unit)
    for kind in sorted(counts):
        name = UNIT_KINDS[kind] if kind < len(UNIT_KINDS) else f'kind {kind}'
        print(f'{name:9} {counts[kind]:6} runs {bytes_of(units[kind] * UNIT):>12}')
    show_slabs(int(h['base']), slabs)


class Heap(gdb.Command):
    """kin heap: runs by kind, slabs by size and owner, bins of free runs."""

    def __init__(self):
        super().__init__('kin heap', gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        h = header()
        heap = h['heap']
        print(f'units     {int(heap["units_end"])} of {bytes_of(UNIT)}')
        print(f'lock      {int(heap["lock"]["word"]):#x}')
        print(f'sweeps    {int(heap["sweeps"])}, repairs {int(heap["repairs"])}')
        if int(heap['poisoned']):
            print('the heap is poisoned: its truth makes no sense')
        show_part('heap', show_heap, h)
        show_bins(h)


Kin()
Family()
Heap()
