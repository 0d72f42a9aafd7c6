"""Reads the resets from a tracing instance of tracefs, where perf_event_open(2) is not possible.

The instance has a small buffer of its own, so nobody else's tracing is touched. It is removed at
the end, by the child process of `watch_tracefs` if this one is killed. `trace_pipe` prints a line
for each reset, and behind it the functions that called:

    nginx-812  [001] ..... 42.042: tcp_send_reset: src=127.0.0.1:80 dest=127.0.0.1:4711
    nginx-812  [001] ..... 42.042: <stack trace>
     => tcp_send_active_reset
     => __tcp_close
"""

import os
import re
from typing import Dict, List, Optional, Tuple

from .constants import ERRORS
from .errors import Unsupported, call_or, error_name
from .files import READ_FLAGS, parse_count, read_file, write_file
from .watch_format import ResetFormat, address_of
from .watch_tally import Tally
from .watch_tracefs import INSTANCE, RESET_EVENT, Tracefs

# A name may have any characters but is at most 15 bytes long. The flags are those of
# Documentation/trace/ftrace.rst: the third is h, H, s or z in an interrupt.
TRACE_LINE = re.compile(
    r"\s*(?P<name>.{1,64}?)-(?P<pid>\d{1,10})\s+(?:\([ \d-]{1,12}\)\s+)?\[(?P<cpu>\d{1,5})\]\s+"
    r"(?:(?P<flags>\S{4,6})\s+)?\d+\.\d+: (?:tcp_send_reset: (?P<fields>.*)|<stack trace>)$"
)
LOST_LINE = re.compile(r"CPU:\d+ \[LOST (\d{1,18}) EVENTS\]")
TRACE_FIELD = re.compile(r"(\w+)=(\S+)")
TRACED_IN_INTERRUPT = "hHsZz"
TRACE_CHUNK, TRACE_ROUND = 65536, 16  # bytes at once, and how often before the next wait
MAX_LINE = 4096
MAX_WAITING = 1024  # resets whose stack has not come yet
BUFFER_KB = 256  # of each CPU


class TracedReset(object):
    """A reset whose line was read, and the functions of its stack as far as they were."""

    def __init__(self, process, fields):
        # type: (Tuple[int, str], Dict[str, str]) -> None
        self.process, self.reason = process, fields.get("reason", "")
        self.port, self.peer = traced_addresses(fields)
        self.callers = []  # type: List[str]

    def add_to(self, tally):
        # type: (Tally) -> None
        tally.add(self.process, (self.port, self.peer), self.reason, self.callers)


class InstanceSource(object):
    """The resets of all CPUs, as text."""

    method = "tracefs"

    def __init__(self, event, tracefs):
        # type: (ResetFormat, Tracefs) -> None
        """Makes the instance; raises Unsupported if the kernel refuses it."""
        self.event, self.tracefs = event, tracefs
        tracefs.start_guard()
        self.folder = "%s/instances/%s" % (tracefs.root, INSTANCE % os.getpid())
        self.pipe, self.rest = -1, b""
        self.waiting = {}  # type: Dict[Tuple[str, str], TracedReset]  # by process and CPU
        self.stack = None  # type: Optional[TracedReset]
        try:
            os.mkdir(self.folder)
            self.prepare()
        except ERRORS as e:
            self.close()
            raise Unsupported("a tracing instance is refused (%s)" % error_name(e))

    def prepare(self):
        # type: () -> None
        """Sets the instance up; raises OSError."""
        self.write("buffer_size_kb", str(BUFFER_KB))
        self.write("options/stacktrace", "1")
        if self.event.filter():
            call_or(None, self.write, RESET_EVENT + "filter", self.event.filter())
        self.pipe = os.open(self.folder + "/trace_pipe", READ_FLAGS)

    def write(self, name, text):
        # type: (str, str) -> None
        write_file(self.folder + "/" + name, text)

    def start(self):
        # type: () -> None
        self.write(RESET_EVENT + "enable", "1")

    def stop(self):
        # type: () -> None
        self.write(RESET_EVENT + "enable", "0")

    def read(self, tally, wanted):
        # type: (Tally, bool) -> None
        """Adds what happened to `tally`, if it is `wanted`: else the kernel overwrites it."""
        for _ in range(TRACE_ROUND if wanted else 0):
            chunk = call_or(b"", os.read, self.pipe, TRACE_CHUNK)  # EAGAIN if there is no more
            if not chunk:
                break
            lines = (self.rest + chunk).split(b"\n")
            self.rest = lines.pop()[:MAX_LINE]
            for line in lines:
                self.add_line(tally, line[:MAX_LINE].decode("utf-8", "replace"))

    def add_line(self, tally, line):
        # type: (Tally, str) -> None
        if line.startswith(" => "):
            if self.stack:
                self.stack.callers.append(line[4:].partition("+")[0].strip())
            return
        self.finish_stack(tally)
        match = TRACE_LINE.match(line)
        if match:
            self.add_event(match.groupdict())
        lost = LOST_LINE.match(line)
        if lost:
            tally.lost += int(lost.group(1)) // 2  # a reset and its stack are two

    def add_event(self, found):
        # type: (Dict[str, str]) -> None
        """Keeps a reset until its stack comes, or takes the reset that a stack belongs to."""
        key = found["pid"], found["cpu"]
        if found["fields"] is None:
            self.stack = self.waiting.pop(key, None)
            return
        fields = dict(TRACE_FIELD.findall(found["fields"]))
        is_interrupt = set((found["flags"] or "")[2:3]) & set(TRACED_IN_INTERRUPT)
        process = (0 if is_interrupt else int(found["pid"]), found["name"])
        if len(self.waiting) < MAX_WAITING:
            self.waiting[key] = TracedReset(process, fields)

    def finish_stack(self, tally):
        # type: (Tally) -> None
        """Counts the reset whose stack was read."""
        reset, self.stack = self.stack, None
        if reset:
            reset.add_to(tally)

    def finish(self, tally):
        # type: (Tally) -> None
        """Counts what happened since the last time, and resets whose stack did not come."""
        self.read(tally, True)
        self.finish_stack(tally)
        for key in sorted(self.waiting):
            reset = self.waiting[key]
            reset.add_to(tally)
        self.waiting.clear()

    def hides_callers(self):
        # type: () -> bool
        return False

    def count(self):
        # type: () -> int
        """Returns how many resets there were, read or not: each made two entries."""
        entries, folder = 0, self.folder + "/per_cpu"
        for cpu in call_or([], os.listdir, folder):
            entries += sum_of_entries(call_or("", read_file, "%s/%s/stats" % (folder, cpu), 4096))
        return entries // 2

    def close(self):
        # type: () -> None
        """Removes the instance; the child process tries again if the kernel refuses that."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        call_or(None, os.rmdir, self.folder)


def traced_addresses(fields):
    # type: (Dict[str, str]) -> Tuple[int, Optional[bytes]]
    """Returns the local port and the peer's address out of the fields of a line."""
    port = fields.get("sport") or fields.get("src", "").rpartition(":")[2]
    far = fields.get("daddrv6") or fields.get("daddr") or fields.get("dest", "").rpartition(":")[0]
    try:
        return parse_count(port, 10, 65535), address_of(far.strip("[]"))
    except ValueError:
        return 0, None


def sum_of_entries(text):
    # type: (str) -> int
    """Returns all entries that a CPU's buffer had, out of its stats."""
    numbers = dict(
        re.findall(r"^(entries|overrun|dropped events|read events): (\d{1,18})$", text, re.M)
    )
    return sum([int(number) for number in numbers.values()])
