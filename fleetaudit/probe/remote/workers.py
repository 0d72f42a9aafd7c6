"""Runs scenarios in several processes at once, each in a private network namespace of its own.

A scenario mostly waits: for an ACK that is delayed, for a timer, for SO_LINGER. Meanwhile other
processes run other scenarios. They stay on one CPU, so the probe takes no more of a host than one
process does. Each takes the number of its next scenario from one pipe, whose short reads are
atomic, and sends what it observed through a pipe of its own. This process runs scenarios as well:
all of them where no other process can be made, or where they are too few to be worth one.

Nothing is left behind: the kernel kills the workers once this process is gone, because then nobody
has the other end of the pipe `alive` any more (F_SETSIG in fcntl(2)).
"""

import fcntl
import marshal
import os
import select
import signal
import struct
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from .constants import ERRORS, F_SETPIPE_SZ, MAX_WORD, MERCY
from .errors import call_or, would_block
from .lab import Laboratory
from .scenario import note_of_repeats, observe
from .trace import limit_headers
from .waiting import TIMEOUT, wait_until

# On an idle CPU one worker brings the shipped playbook from 4.8 s to 2.6 s and
# costs as much as it saves; two bring it to 1.8 s and cost 2 % more.
MAX_WORKERS = 1
MIN_PAIRS = 40  # below, a worker costs more than it saves
MAX_PAIRS = 1000  # their numbers must fit into a pipe of one page
SPARE_FILES = 40  # what the laboratory and the pipes need
NUMBER, SIZE = struct.Struct("I"), struct.Struct("I")


class Workers(object):
    """The processes that run scenarios, and what they observed: `found` has it by the number of a
    scenario and family, `problem` why a process ended early.
    """

    def __init__(self, pairs):
        # type: (Sequence[Tuple[Dict[str, Any], str]]) -> None
        self.pairs = pairs
        self.found = {}  # type: Dict[int, Tuple[Dict[str, Any], List[str]]]
        self.running = {}  # type: Dict[int, Worker]  # by the descriptor of its pipe
        self.problem = ""
        self.queue = self.alive = -1

    def run(self, lab, move):
        # type: (Laboratory, Optional[Callable[[], Optional[Laboratory]]]) -> None
        """Runs all scenarios. `move` moves a process into a namespace of its own, and returns the
        laboratory there, or None; it is None where that is not possible.
        """
        if move and MIN_PAIRS <= len(self.pairs) <= MAX_PAIRS:
            call_or(None, self.start, move)
        for number in self.numbers():
            self.found[number] = self.observe(lab, number)
            self.receive(0)
        while self.running:
            self.receive(1)

    def start(self, move):
        # type: (Callable[[], Optional[Laboratory]]) -> None
        """Starts the workers; raises OSError if there is no room for them."""
        check_spare_files()
        (self.queue, numbers), (alive, self.alive) = os.pipe(), os.pipe()
        order = sorted(range(len(self.pairs)), key=lambda i: -least_seconds(self.pairs[i][0]))
        os.write(numbers, b"".join(map(NUMBER.pack, order)))
        os.close(numbers)
        try:
            for _ in range(MAX_WORKERS):
                worker = Worker(lambda into: self.live(move, alive, into))
                self.running[worker.fd] = worker
        finally:
            os.close(alive)

    def live(self, move, alive, into):
        # type: (Callable[[], Optional[Laboratory]], int, int) -> None
        """Runs scenarios in a worker until there is none left."""
        os.close(self.alive)
        end_with_writer(alive)
        lab = move()
        if lab is None:
            return
        for number in self.numbers():
            data = marshal.dumps((number, self.observe(lab, number)))
            write_all(into, SIZE.pack(len(data)) + data)

    def numbers(self):
        # type: () -> Iterator[int]
        """Yields the numbers of the scenarios that this process is to run."""
        if self.queue < 0:
            return iter(range(len(self.pairs)))
        return iter(self.next_number, -1)

    def next_number(self):
        # type: () -> int
        data = os.read(self.queue, NUMBER.size)
        return NUMBER.unpack(data)[0] if data else -1

    def observe(self, lab, number):
        # type: (Laboratory, int) -> Tuple[Dict[str, Any], List[str]]
        """Returns a scenario over a family, and which trials were repeated."""
        lab.repeated = []
        observation = observe(lab, *self.pairs[number])
        return observation, lab.repeated

    def receive(self, seconds):
        # type: (int) -> None
        """Takes what workers sent, after at most `seconds`."""
        poller = select.poll()
        for fd in self.running:
            poller.register(fd, select.POLLIN)
        for fd, _ in poller.poll(seconds * 1000) if self.running else ():
            worker = self.running[fd]
            if worker.receive(self.found):
                continue
            del self.running[fd]
            worker.wait()
            self.problem = self.problem or worker.problem

    def end(self):
        # type: () -> None
        """Ends the workers that still run, and takes what they have observed."""
        for worker in self.running.values():
            call_or(None, os.kill, worker.pid, signal.SIGKILL)
        for worker in self.running.values():
            worker.wait()
            while worker.receive(self.found):
                pass
        self.running = {}

    def report(self, reply):
        # type: (Dict[str, Any]) -> None
        """Fills in what was observed, in the order of the call."""
        found = [self.found[number] for number in sorted(self.found)]
        reply["observations"] = [observation for observation, _ in found]
        limit_headers(reply["observations"])
        note = note_of_repeats([name for _, repeated in found for name in repeated])
        if note:
            reply["notes"].append(note)


class Worker(object):
    """A process that runs scenarios, and the pipe with what it observed."""

    def __init__(self, live):
        # type: (Callable[[int], None]) -> None
        """Starts a process that calls `live` with the pipe to write to; raises OSError."""
        self.fd, into = os.pipe()
        self.data, self.problem = b"", ""
        try:
            self.pid = os.fork()
        except ERRORS:
            os.close(self.fd)
            os.close(into)
            raise
        if self.pid == 0:
            status = 1
            try:
                live(into)
                status = 0
            finally:
                os._exit(status)
        os.close(into)
        call_or(None, fcntl.fcntl, self.fd, F_SETPIPE_SZ, 1 << 18)
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_NONBLOCK)

    def receive(self, found):
        # type: (Dict[int, Tuple[Dict[str, Any], List[str]]]) -> bool
        """Adds to `found` what has come; returns whether more may come. What a worker was sending
        when it ended is dropped.
        """
        try:
            data = os.read(self.fd, 1 << 18)
        except ERRORS as e:
            if not would_block(e):
                raise
            return False
        self.data += data
        try:
            while self.take_one(found):
                pass
        except (EOFError, TypeError, ValueError):  # the alarm rang when something was being read
            return False
        return bool(data)

    def take_one(self, found):
        # type: (Dict[int, Tuple[Dict[str, Any], List[str]]]) -> bool
        """Moves one observation to `found`; returns whether one was there as a whole."""
        start = SIZE.size
        size = SIZE.unpack(self.data[:start])[0] if len(self.data) >= start else MAX_WORD
        if len(self.data) < start + size:
            return False
        number, found[number] = marshal.loads(self.data[start : start + size])  # noqa: S302
        self.data = self.data[start + size :]
        return True

    def wait(self):
        # type: () -> None
        """Waits until the process is gone, and notes why it ended early."""
        status = []  # type: List[int]

        def is_gone():
            # type: () -> bool
            pid, found = call_or((self.pid, 0), os.waitpid, self.pid, os.WNOHANG)
            status.append(found)
            return bool(pid)

        if wait_until(is_gone, 2.0) and status[-1]:
            how = "status %d" % os.WEXITSTATUS(status[-1])
            if os.WIFSIGNALED(status[-1]):
                how = "signal %d" % os.WTERMSIG(status[-1])
            self.problem = "the process that ran it ended early (%s)" % how


def check_spare_files():
    # type: () -> None
    """Raises OSError unless this process may open SPARE_FILES more files."""
    spare = []  # type: List[int]
    try:
        while len(spare) < SPARE_FILES:
            spare.append(os.dup(1))
    finally:
        for fd in spare:
            os.close(fd)


def end_with_writer(fd):
    # type: (int) -> None
    """Has the kernel kill this process once a pipe has no writer, or an alarm, if it is late."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT.remaining() + 2 * MERCY)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    poller = select.poll()
    poller.register(fd, 0)
    if poller.poll(0):  # it was gone before
        os._exit(1)


def least_seconds(scenario):
    # type: (Dict[str, Any]) -> float
    """Returns how long a scenario lasts at least, as its steps say: the longest begin first."""
    seconds = 0.0  # type: float
    for step in scenario["steps"]:
        if step[1] == "wait":
            seconds += step[2] / 1000.0
        if tuple(step[1:3]) == ("set", "SO_LINGER"):
            seconds += step[-1]
    return float(seconds * scenario["trials"])


def write_all(fd, data):
    # type: (int, bytes) -> None
    while data:
        data = data[os.write(fd, data) :]
