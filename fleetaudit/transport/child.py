"""Runs a child process in a session of its own, drains its streams together under a deadline, and
ends all of it.

Rules: whatever happens, the whole process group is killed and the child is reaped. One that became
another user's, who cannot be killed, ends because its streams are closed. No other process is
touched. A stream that exceeds its limit ends the child; the log, which no limit of the host's
covers, is kept up to a bound and read on.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import Deadline, Limits, Output, waiting
from .stdin_dialogue import StdinDialogue

LOG_MAX = 64 * 1024
"""Bytes of a log that are kept."""

LogListener = Callable[[bytes, bytes], None]
"""Is called with the first byte of stdout and all of the log so far, whenever more of either
came.
"""

_CHUNK = 64 * 1024
_DRAIN_S = 1.0  # for output of a process that the child left behind
_REAP_S = 5.0  # for a child of another user to end
_LOOK_S = 0.1  # how often to look for the end of a child that no descriptor reports


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """What a child left. `in_time` is False if the deadline came first; `log` is what it logged."""

    output: Output
    in_time: bool
    log: bytes = b""


class LogPipe:
    """A pipe that a child opens by its `name`, because it closes whatever descriptors it
    inherits.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self.name = f"/proc/{os.getpid()}/fd/{self._writing}"

    def finish(self) -> None:
        """Closes our own writing end; twice is the same as once."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1

    def close(self) -> None:
        """Closes both ends."""
        self.finish()
        os.close(self.reading)


def run_child(
    argv: Sequence[str],
    dialogue: StdinDialogue,
    deadline: Deadline,
    limits: Limits,
    *,
    environment: Mapping[str, str] | None = None,
    log: LogPipe | None = None,
    on_log: LogListener | None = None,
    memory: int = 0,
) -> ChildResult:
    """Runs a program with `dialogue` as its stdin and returns its result.

    `deadline` ends the program with all that it started. `limits` are the bytes of stdout and of
    stderr; one more ends it as well, and `cut` of the output names the stream. `environment` is
    that of this process if it is None. `on_log` is called whenever more of the log came.

    `log` is closed here. `memory` bounds the bytes of its data, unless it is 0. `exit_status` is
    128 plus the signal's number if a signal ended the program, as in a shell. Raises `OSError` if
    it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        if log:
            stack.callback(log.close)
        # A session of its own: no terminal to prompt on, and one group to kill.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=environment,
        )
        if memory:
            _limit_memory(process.pid, memory)
        dialogue.start()
        streams = _Streams(process, dialogue, limits, log, on_log)
        try:
            in_time = streams.drain(deadline)
        finally:
            kill_group(process, streams.close)
    status = None
    if not streams.cut:
        status = _exit_status(process)
    output = Output(
        stdout=bytes(streams.stdout),
        stderr=bytes(streams.stderr),
        exit_status=status,
        cut=streams.cut,
    )
    return ChildResult(output=output, in_time=in_time, log=bytes(streams.log))


def _exit_status(process: subprocess.Popen[bytes]) -> int:
    """Returns the exit status as a shell has it: 128 plus the number of a signal, 137 for SIGKILL.

    0 also for a child that did not end.
    """
    status = process.returncode or 0  # None if it did not end even so; then it was not in time
    if status >= 0:
        return status
    return 128 - status


def _limit_memory(pid: int, most: int) -> None:
    """Limits the data segment of a process to `most` bytes, or to its hard limit if that is lower.

    Does nothing to a process that has ended or may not be changed.
    """
    with contextlib.suppress(OSError, ValueError):  # it has ended, or may not be changed
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))


def kill_group(process: subprocess.Popen[bytes], close: Callable[[], None]) -> None:
    """Kills the group that a child leads, closes its streams with `close`, and reaps it.

    Waits at most `_REAP_S` seconds for a child of another user, which cannot be killed.
    """
    # Before the child is reaped: until then nobody else can have its number, which is the group's.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    close()
    # What sudo runs belongs to another user and cannot be killed: it ends because its streams are
    # closed.
    wait_for_exit(process, Deadline.after(_REAP_S))
    process.poll()


def wait_for_exit(process: subprocess.Popen[bytes], until: Deadline) -> None:
    """Waits until a child has ended, or until the deadline; it stays a zombie."""
    if exit_info(process):  # mostly, and costs nothing
        return
    with _exit_descriptor(process) as descriptors:
        while not exit_info(process) and until.remaining():
            waiting.wait_for(descriptors, until, _look_s(descriptors))


@contextlib.contextmanager
def _exit_descriptor(process: subprocess.Popen[bytes]) -> Iterator[dict[int, int]]:
    """Yields the descriptor that becomes readable when a child ends, as `wait_for` takes it.

    Yields nothing on Linux before 5.3, and where a sandbox forbids pidfd_open(2).
    """
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        yield {}
        return
    try:
        yield {fd: waiting.READ}
    finally:
        os.close(fd)


def _look_s(descriptors: Mapping[int, int]) -> float:
    """Returns how long to wait for a child before looking whether it has ended."""
    return math.inf if descriptors else _LOOK_S


def exit_info(process: subprocess.Popen[bytes]) -> os.waitid_result | None:
    """Returns how a child ended, None while it runs; it stays a zombie."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)


@dataclass(slots=True)
class _Reading:
    """One pipe that is read: the stream's name, "" for the log, what came, and its limit."""

    name: str
    kept: bytearray
    limit: int


class _Streams:
    """The pipes of one child."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        dialogue: StdinDialogue,
        limits: Limits,
        log: LogPipe | None,
        on_log: LogListener | None,
    ) -> None:
        assert process.stdin is not None  # noqa: S101  # as in the call of Popen
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self.stdout, self.stderr, self.log, self.cut = bytearray(), bytearray(), bytearray(), ""
        self._process, self._dialogue = process, dialogue
        self._log_pipe, self._on_log = log, on_log
        self._to_write = bytearray()
        self._ended = False
        self._stdin, self._pipes = process.stdin, (process.stdin, process.stdout, process.stderr)
        self._reading: dict[int, _Reading] = {}
        self._register(process.stdout.fileno(), "stdout", self.stdout, limits.stdout)
        self._register(process.stderr.fileno(), "stderr", self.stderr, limits.stderr)
        if log:
            self._register(log.reading, "", self.log, LOG_MAX)
        os.set_blocking(process.stdin.fileno(), False)

    def _register(self, fd: int, name: str, kept: bytearray, limit: int) -> None:
        """Starts to read a pipe, up to a limit."""
        os.set_blocking(fd, False)
        self._reading[fd] = _Reading(name, kept, limit)

    def drain(self, deadline: Deadline) -> bool:
        """Moves bytes until the child ended or a stream reached its limit; returns False if the
        deadline came first.

        The deadline is `deadline`, or an earlier one of the dialogue. After the end of the child,
        processes that it left have `_DRAIN_S` seconds to close the pipes.
        """
        with _exit_descriptor(self._process) as ending:
            return self._drain(deadline, ending)

    def _drain(self, until: Deadline, ending: Mapping[int, int]) -> bool:
        """Moves bytes as `drain` does, and returns the same.

        `ending` has the descriptor that reports the child's end, none where the system has no such
        descriptor; then the loop looks from time to time. After the end it reads for `_DRAIN_S` at
        most what is left in the pipes.
        """
        pause_s = _look_s(ending)
        while not self.cut:
            if self._just_ended():
                # Nothing wakes us any more but the pipes, which a process that it left may keep.
                until, ending, pause_s = until.within(_DRAIN_S), {}, math.inf
            if self._ended and not self._reading:
                return True
            self._continue_dialogue()
            within = self._read_deadline(until)
            late = not within.remaining()
            for fd, _ in waiting.wait_for({**self._descriptors(), **ending}, within, pause_s):
                self._move(fd)
            if late:  # and what came in time was read, however busy we were
                return self._ended or self._just_ended()
        return True

    def _just_ended(self) -> bool:
        """Returns whether the child has ended since the last call."""
        if self._ended or not exit_info(self._process):
            return False
        self._ended = True
        if self._log_pipe:
            self._log_pipe.finish()  # so that it comes to its end
        return True

    def _descriptors(self) -> dict[int, int]:
        """Returns the pipes to wait for."""
        descriptors = dict.fromkeys(self._reading, waiting.READ)
        if self._to_write:
            descriptors[self._stdin.fileno()] = waiting.WRITE
        return descriptors

    def _read_deadline(self, until: Deadline) -> Deadline:
        """Returns `until` or an earlier deadline of the dialogue.

        The dialogue's no longer counts after the child has ended.
        """
        return until if self._ended else self._dialogue.read_deadline(until)

    def _move(self, fd: int) -> None:
        """Moves what one descriptor is ready for; nothing for the one of the child's end."""
        if reading := self._reading.get(fd):
            self._read(fd, reading)
        elif self._to_write and fd == self._stdin.fileno():
            self._write()

    def _continue_dialogue(self) -> None:
        """Takes the next input, and closes the child's stdin after the last."""
        # The dialogue also follows the output: it is called even if nothing can be written.
        data = self._dialogue.next_input(self.stdout, self.stderr)
        if self._stdin.closed:
            return
        self._to_write += data
        if self._dialogue.finished and not self._to_write:
            self._stdin.close()

    def _write(self) -> None:
        """Writes what the child's stdin takes."""
        try:
            del self._to_write[: os.write(self._stdin.fileno(), self._to_write[:_CHUNK])]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not read any more
            self._to_write.clear()
            self._stdin.close()
            return
        if not self._to_write:
            self._continue_dialogue()

    def _read(self, fd: int, reading: _Reading) -> None:
        """Reads from one pipe, and drops what exceeds its limit.

        For stdout and stderr that sets `cut` to the stream's name; for the log it does not.
        """
        data = os.read(fd, _CHUNK)
        if not data:
            del self._reading[fd]
        if reading.name and len(reading.kept) + len(data) > reading.limit:
            self.cut = reading.name
        kept = data[: reading.limit - len(reading.kept)]
        reading.kept += kept
        if kept and self._on_log and reading.name != "stderr":
            self._on_log(bytes(self.stdout[:1]), bytes(self.log))

    def close(self) -> None:
        """Closes all that is open."""
        for pipe in self._pipes:
            pipe.close()
