"""Reads the resets from perf_event_open(2), which leaves nothing behind however this program ends.

Each CPU has two events: the tracepoint, and a dummy whose records tell which process forked or
executed a program. Each has a ring buffer that the kernel fills (struct perf_event_mmap_page in
include/uapi/linux/perf_event.h). What does not fit is counted all the same.
"""

import itertools
import os
import struct
import sys
from typing import Any, Dict, Iterator, List, Tuple

from .constants import IOCTLS_OF_POWER
from .errors import Unsupported, call_or, unsupported
from .system import load_libc
from .watch_format import MAX_RAW, ResetFormat
from .watch_reasons import Symbols
from .watch_tally import Tally
from .watch_tracefs import online_cpus

# perf_event_open(2) by machine and bytes of a pointer.
PERF_CALLS = {
    ("x86_64", 8): 298,
    ("x86_64", 4): 336,
    ("i686", 4): 336,
    ("i586", 4): 336,
    ("i386", 4): 336,
    ("aarch64", 8): 241,
    ("aarch64", 4): 364,
    ("armv8l", 4): 364,
    ("armv7l", 4): 364,
    ("riscv64", 8): 241,
    ("ppc64le", 8): 319,
    ("ppc64", 8): 319,
    ("s390x", 8): 331,
}
POINTER = struct.calcsize("P")
IS_POWER = os.uname()[4][:3] in IOCTLS_OF_POWER
NO_ARGUMENT, WRITTEN = (0x20000000, 0x80000000) if IS_POWER else (0, 0x40000000)
PERF_ENABLE, PERF_DISABLE = NO_ARGUMENT | 0x2400, NO_ARGUMENT | 0x2401
PERF_SET_FILTER = WRITTEN | POINTER << 16 | 0x2406
TRACEPOINT, SOFTWARE, DUMMY = 2, 1, 9  # perf_type_id, and perf_sw_ids
SAMPLE_TID, SAMPLE_TIME, SAMPLE_CALLCHAIN, SAMPLE_RAW = 1 << 1, 1 << 2, 1 << 5, 1 << 10
# Bits of struct perf_event_attr.
DISABLED, COMM, TASK, TIMES, NO_USER_CHAIN, COMM_EXEC = 0, 9, 13, 18, 22, 24
CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
RECORD_LOST, RECORD_COMM, RECORD_FORK, RECORD_SAMPLE = 2, 3, 7, 9
EXECUTED = 1 << 13  # PERF_RECORD_MISC_COMM_EXEC
RING_HEAD, RING_TAIL = 1024, 1032
PROT_READ_WRITE, MAP_SHARED = 3, 1
ALL_PAGES = 2048  # of all ring buffers of resets together
MAX_FUNCTIONS = 32  # of a call chain that are read


def ring_pages(cpus):
    # type: (int) -> int
    """Returns the pages of a ring buffer: a power of two, fewer on a machine with many CPUs."""
    pages = 64
    while pages > 4 and pages * cpus > ALL_PAGES:
        pages //= 2
    return pages


def event_attributes(kind, config, sample, bits):
    # type: (int, int, int, Tuple[int, ...]) -> bytes
    """Returns a struct perf_event_attr of 112 bytes; `bits` are numbers of its bit fields, which
    begin at the other end of the word on a machine with the other order.
    """
    last = 0 if sys.byteorder == "little" else 63
    flags = sum([1 << abs(last - bit) for bit in bits])
    return struct.pack("=IIQQQQQ", kind, 112, config, 1, sample, 0, flags).ljust(112, b"\0")


def split_records(data):
    # type: (bytes) -> Iterator[Tuple[int, int, bytes]]
    """Yields the kind, the flags and the body of each record of a ring buffer."""
    place = 0
    while place + 8 <= len(data):
        kind, flags, size = struct.unpack_from("=IHH", data, place)
        if size < 8:
            break
        yield kind, flags, data[place + 8 : place + size]
        place += size


def split_sample(body):
    # type: (bytes) -> Tuple[int, List[int], bytes]
    """Returns the process, the addresses of the call chain, and the tracepoint's fields; raises
    struct.error.
    """
    pid, _, _, count = struct.unpack_from("=IIQQ", body)
    chain = struct.unpack_from("=%dQ" % min(count, MAX_FUNCTIONS), body, 24)
    size = struct.unpack_from("=I", body, 24 + 8 * count)[0]
    raw = body[28 + 8 * count :][: min(size, MAX_RAW)]
    return pid, list(chain), raw


def record_time(kind, body):
    # type: (int, bytes) -> int
    """Returns when a record was made, by the kernel's clock; raises struct.error. A sample has its
    time behind the process, every other record at its end.
    """
    place = 8 if kind == RECORD_SAMPLE else len(body) - 8
    return int(struct.unpack_from("=Q", body, place)[0])


def timed_records(buffers, of_tasks):
    # type: (List[bytes], bool) -> List[Tuple[int, Tuple[bool, int], int, bytes]]
    """Returns the time of each record, whether it is of a new process and its kind, its flags and
    its body.
    """
    records = itertools.chain.from_iterable(map(split_records, buffers))
    return [
        (record_time(kind, body), (of_tasks, kind), flags, body) for kind, flags, body in records
    ]


def changes_of(tasks):
    # type: (List[Tuple[int, Tuple[bool, int], int, bytes]]) -> Dict[int, int]
    """Returns when each process last began, or began another program, out of these records."""
    changed = {}  # type: Dict[int, int]
    for time, (_, kind), flags, body in tasks:
        if kind == RECORD_FORK or (kind == RECORD_COMM and flags & EXECUTED):
            pid, second, third = struct.unpack_from("=III", body)
            is_process = pid == (third if kind == RECORD_FORK else second)  # else it is a thread
            changed[pid] = max(time * is_process, changed.get(pid, 0))
    return changed


class PerfEvent(object):
    """One event on one CPU, with its ring buffer."""

    def __init__(self, attributes, cpu, pages, filter):
        # type: (bytes, int, int, str) -> None
        """Raises Unsupported if the kernel refuses it."""
        self.ctypes, self.library = load_libc()
        self.fd, self.address = -1, 0
        self.page = os.sysconf("SC_PAGESIZE")
        self.size = pages * self.page
        self.fd = self.open(attributes, cpu)
        try:
            self.address = self.map()
            # The kernel refuses a filter of fields that it has not; then all are read.
            if filter:
                self.control(PERF_SET_FILTER, self.ctypes.c_char_p(filter.encode("ascii")))
        except Unsupported:
            self.close()
            raise

    def open(self, attributes, cpu):
        # type: (bytes, int) -> int
        number = PERF_CALLS.get((os.uname()[4], POINTER))
        if number is None:
            raise Unsupported("the number of perf_event_open is not known on " + os.uname()[4])
        long = self.ctypes.c_long
        held = self.ctypes.create_string_buffer(attributes, len(attributes))
        arguments = [long(value) for value in (-1, cpu, -1, CLOSE_ON_EXEC)]
        fd = self.library.syscall(long(number), held, *arguments)
        if fd < 0:
            raise unsupported("perf_event_open is refused", OSError(self.ctypes.get_errno(), ""))
        return int(fd)

    def map(self):
        # type: () -> int
        """Returns the address of the ring buffer; its first page is the kernel's and ours."""
        void, size, long = self.ctypes.c_void_p, self.ctypes.c_size_t, self.ctypes.c_long
        number = self.ctypes.c_int
        prototype = self.ctypes.CFUNCTYPE(
            void, void, size, number, number, number, long, use_errno=True
        )
        mmap = prototype(("mmap", self.library))
        address = mmap(None, self.page + self.size, PROT_READ_WRITE, MAP_SHARED, self.fd, 0)
        if address in (None, self.ctypes.c_void_p(-1).value):
            raise unsupported("no memory for events", OSError(self.ctypes.get_errno(), ""))
        return int(address)

    def control(self, request, argument=None):
        # type: (int, Any) -> bool
        """Returns whether an ioctl(2) succeeds."""
        number = self.ctypes.c_ulong(request)
        return int(self.library.ioctl(self.fd, number, argument or self.ctypes.c_long(0))) == 0

    def word(self, offset):
        # type: (int) -> Any
        return self.ctypes.c_uint64.from_address(self.address + offset)

    def take(self, wanted):
        # type: (bool) -> bytes
        """Returns the records since the last time, or only makes room for the next ones."""
        head, tail = self.word(RING_HEAD).value, self.word(RING_TAIL)
        begin, size = tail.value % self.size, min(head - tail.value, self.size)
        data = b""
        if wanted and size:
            os.fstat(self.fd)  # a system call between the head and the data, for their order
            start, first = self.address + self.page, min(size, self.size - begin)
            data = self.ctypes.string_at(start + begin, first)
            data += self.ctypes.string_at(start, size - first)
        tail.value = head
        return data

    def count(self):
        # type: () -> int
        """Returns how many events there were, read or not."""
        return int(struct.unpack("=Q", os.read(self.fd, 8))[0])

    def close(self):
        # type: () -> None
        if self.address:
            void = self.ctypes.c_void_p(self.address)
            self.library.munmap(void, self.ctypes.c_size_t(self.page + self.size))
            self.address = 0
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class PerfSource(object):
    """The resets and the new processes of all CPUs."""

    method = "perf_event_open"

    def __init__(self, event):
        # type: (ResetFormat) -> None
        """Raises Unsupported if the kernel refuses, or does not tell what is needed."""
        self.event, self.symbols = event, Symbols()
        self.resets = []  # type: List[PerfEvent]
        self.tasks = []  # type: List[PerfEvent]
        hides_callers = self.symbols.are_hidden()  # reads them now, which costs time, not later
        if event.told_by == "stack" and hides_callers:
            raise Unsupported("the kernel hides the addresses of its functions")
        try:
            self.open()
        except BaseException:
            self.close()
            raise

    def open(self):
        # type: () -> None
        """Opens the events of all CPUs. Those of new processes may be missing: some of the programs
        that end soon have no name then.
        """
        cpus = online_cpus()
        sample = SAMPLE_TID | SAMPLE_TIME | SAMPLE_CALLCHAIN | SAMPLE_RAW
        attributes = event_attributes(
            TRACEPOINT, self.event.number, sample, (DISABLED, TIMES, NO_USER_CHAIN)
        )
        for cpu in cpus:
            pages = ring_pages(len(cpus))
            self.resets.append(PerfEvent(attributes, cpu, pages, self.event.filter()))
        attributes = event_attributes(
            SOFTWARE, DUMMY, SAMPLE_TID | SAMPLE_TIME, (DISABLED, COMM, TASK, TIMES, COMM_EXEC)
        )
        try:
            for cpu in cpus:
                self.tasks.append(PerfEvent(attributes, cpu, 8, ""))
        except Unsupported:
            pass

    def start(self):
        # type: () -> None
        for event in self.tasks + self.resets:
            event.control(PERF_ENABLE)

    def stop(self):
        # type: () -> None
        for event in self.resets + self.tasks:
            event.control(PERF_DISABLE)

    def read(self, tally, wanted):
        # type: (Tally, bool) -> None
        """Adds what happened to `tally`, or forgets it unless it is `wanted`.

        The order is what makes the names right: the resets are taken, then what /proc has of their
        processes is read, then it is taken who began a program meanwhile. So a process that became
        another one after its reset is known by what it was.
        """
        records = timed_records([event.take(wanted) for event in self.resets], False)
        for _, (_, kind), _, body in records:
            if kind == RECORD_SAMPLE:
                tally.look(split_sample(body)[0])
        tasks = timed_records([event.take(wanted) for event in self.tasks], True)
        tally.owners.changed = changes_of(tasks)
        if not wanted:
            self.forget(tally, 0, b"")
        readers = {
            (True, RECORD_COMM): self.add_name,
            (True, RECORD_FORK): self.add_fork,
            (True, RECORD_LOST): self.forget,
            (False, RECORD_SAMPLE): self.add_reset,
            (False, RECORD_LOST): self.add_lost,
        }
        for _, kind_of_all, flags, body in sorted(records + tasks, key=lambda each: each[0]):
            if kind_of_all in readers:
                readers[kind_of_all](tally, flags, body)

    def add_name(self, tally, flags, body):
        # type: (Tally, int, bytes) -> None
        pid, tid = struct.unpack_from("=II", body)
        name = body[8:].partition(b"\0")[0].decode("utf-8", "replace")
        if pid == tid:
            tally.owners.renamed(pid, name, bool(flags & EXECUTED))

    def add_fork(self, tally, _flags, body):
        # type: (Tally, int, bytes) -> None
        pid, parent, tid = struct.unpack_from("=III", body)
        if pid == tid:  # else it is a thread
            tally.owners.forked(pid, parent)

    def forget(self, tally, _flags, _body):
        # type: (Tally, int, bytes) -> None
        """Forgets who is who: some processes began unnoticed, with any number."""
        tally.owners.known.clear()

    def add_reset(self, tally, _flags, body):
        # type: (Tally, int, bytes) -> None
        pid, chain, raw = split_sample(body)
        callers = [self.symbols.name(address) for address in chain]
        event = self.event
        process = (0 if event.is_interrupt(raw) else pid, "")
        place = event.port(raw), event.peer(raw)
        tally.add(process, place, event.reason(raw), callers, record_time(RECORD_SAMPLE, body))

    def add_lost(self, tally, _flags, body):
        # type: (Tally, int, bytes) -> None
        tally.lost += struct.unpack_from("=QQ", body)[1]

    def finish(self, tally):
        # type: (Tally) -> None
        """Adds what happened since the last time."""
        self.read(tally, True)

    def hides_callers(self):
        # type: () -> bool
        """Returns whether a call chain tells nothing, which matters once there is one."""
        return bool(self.symbols.names) and self.symbols.are_hidden()

    def count(self):
        # type: () -> int
        return sum([call_or(0, event.count) for event in self.resets])

    def close(self):
        # type: () -> None
        for event in self.resets + self.tasks:
            call_or(None, event.close)
