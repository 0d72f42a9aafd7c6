"""A child process: started in a session of its own, its streams drained together, under a deadline,
and ended wholly.

Rules: whatever happens, the whole group is killed and the child is reaped; one that became another
user's, who cannot be killed, ends since its streams are closed. No other process is touched. A
stream that passes its limit ends the child; the log, which no limit of the host's covers, is kept
up to a bound and read on.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import Deadline, Limits, Output
from .stdin_dialogue import StdinDialogue

LOG_MAX = 64 * 1024
"""Bytes of a log that are kept."""

_CHUNK = 64 * 1024
_AFTERWARDS_S = 1.0  # for output that a child left behind still holds open
_REAP_S = 5.0  # for a child to end that is of another user


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """What a child left. `in_time` is False where the deadline came first; `log` is what it wrote
    there.
    """

    output: Output
    in_time: bool
    log: bytes = b""


class LogPipe:
    """A pipe that a child opens by its `name`, because it closes whatever descriptors it inherits."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self.name = f"/proc/{os.getpid()}/fd/{self._writing}"

    def finish(self) -> None:
        """Closes our own writing end; doing it twice is doing it once."""
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
    heard: Callable[[bytes, bytes], None] | None = None,
    memory: int = 0,
) -> ChildResult:
    """Runs a program that is told `dialogue`, and returns what it left; raises `OSError` where it
    cannot be started.

    `log` is closed here. `heard` is called with the first byte of stdout and all of the log so far,
    whenever more of either came. `memory` bounds the bytes of its data, unless it is 0.
    `exit_status` is 128 plus the signal's number if a signal ended the program, as in a shell.
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
            _bound_memory(process.pid, memory)
        dialogue.begin()
        streams = _Streams(process, dialogue, limits, log, heard)
        try:
            in_time = streams.drain(deadline)
        finally:
            kill_group(process, streams.close)
    status = process.returncode or 0  # None, where it did not end even so; then it was not in time
    output = Output(
        stdout=bytes(streams.stdout),
        stderr=bytes(streams.stderr),
        exit_status=None if streams.cut else 128 - status if status < 0 else status,
        cut=streams.cut,
    )
    return ChildResult(output=output, in_time=in_time, log=bytes(streams.log))


def _bound_memory(pid: int, most: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # it has ended, or may not be changed
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))


def kill_group(process: subprocess.Popen[bytes], close: Callable[[], None]) -> None:
    """Kills the group that a child leads, closes with `close` what leads to it, and reaps it."""
    # Before the child is reaped: until then its number, which is the group's, cannot be anyone
    # else's.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    close()
    # What sudo runs belongs to another, who cannot be killed: it ends since nobody talks to it any
    # more.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_S)


def exit_info(process: subprocess.Popen[bytes]) -> os.waitid_result | None:
    """Returns how a child ended, None while it runs; it stays a zombie."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)


class _Streams:
    """The pipes of one child."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        dialogue: StdinDialogue,
        limits: Limits,
        log: LogPipe | None,
        heard: Callable[[bytes, bytes], None] | None,
    ) -> None:
        assert process.stdin is not None  # noqa: S101  # as Popen was told
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self.stdout, self.stderr, self.log, self.cut = bytearray(), bytearray(), bytearray(), ""
        self._process, self._talk, self._heard, self._log = process, dialogue, heard, log
        self._waiting = bytearray()
        self._stdin, self._pipes = process.stdin, (process.stdin, process.stdout, process.stderr)
        self._selector = selectors.DefaultSelector()
        for pipe, events, what in (
            (process.stdout.fileno(), selectors.EVENT_READ, ("stdout", self.stdout, limits.stdout)),
            (process.stderr.fileno(), selectors.EVENT_READ, ("stderr", self.stderr, limits.stderr)),
            *([(log.reading, selectors.EVENT_READ, ("", self.log, LOG_MAX))] if log else []),
        ):
            os.set_blocking(pipe, False)
            self._selector.register(pipe, events, what)
        os.set_blocking(process.stdin.fileno(), False)

    def drain(self, deadline: Deadline) -> bool:
        """Moves bytes until the child ended or a stream hit its limit; returns False where the
        deadline came first.
        """
        until, pause, ended = deadline, 0.001, False
        while not self.cut:
            if not ended and exit_info(self._process):
                ended, until = True, deadline.within(_AFTERWARDS_S)
                if self._log:
                    self._log.finish()  # so that it comes to its end
            if ended and not any(key.data for key in self._selector.get_map().values()):
                return True
            self._say()
            if not until.remaining() or not (ended or self._talk.read_deadline(until).remaining()):
                return ended
            # The end of a child wakes no selector, and a grandchild may keep the pipes open: look
            # from time to time.
            pause = min(pause * 2, 0.1)
            for key, _ in self._selector.select(min(pause, until.remaining())):
                pause = 0.001
                self._write() if key.data is None else self._read(key)
        return True

    def _say(self) -> None:
        """Takes in what is to be said next; closes the child's stdin where that was all."""
        said = self._talk.say(
            self.stdout, self.stderr
        )  # it also listens: asked whether or not anything can be said
        if self._stdin.closed:
            return
        writing = bool(self._waiting)
        self._waiting += said
        if self._waiting and not writing:
            self._selector.register(self._stdin.fileno(), selectors.EVENT_WRITE, None)
        if self._talk.over and not self._waiting:
            self._stdin.close()

    def _write(self) -> None:
        try:
            del self._waiting[: os.write(self._stdin.fileno(), self._waiting[:_CHUNK])]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read more
            self._waiting.clear()
            self._selector.unregister(self._stdin.fileno())
            self._stdin.close()
            return
        if not self._waiting:
            self._selector.unregister(self._stdin.fileno())
            self._say()

    def _read(self, key: selectors.SelectorKey) -> None:
        name, kept, limit = key.data
        data = os.read(key.fd, _CHUNK)
        if not data:
            self._selector.unregister(key.fd)
        if name and len(kept) + len(data) > limit:
            self.cut = name
        kept += data[: limit - len(kept)]
        if data and self._heard and name != "stderr":
            self._heard(bytes(self.stdout[:1]), bytes(self.log))

    def close(self) -> None:
        """Closes all that is open."""
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()
