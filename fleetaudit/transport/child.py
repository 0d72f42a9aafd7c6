"""Runs a child process in a session of its own, drains its streams together under a deadline, and
ends all of it.

Rules: whatever happens, the whole process group is killed and the child is reaped. One that became
another user's, who cannot be killed, ends because its streams are closed. No other process is
touched. A stream that exceeds its limit ends the child; the log, which no limit of the host's
covers, is kept up to a bound and read on.
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

LogListener = Callable[[bytes, bytes], None]
"""Is called with the first byte of stdout and all of the log so far, whenever more of either
came.
"""

_CHUNK = 64 * 1024
_DRAIN_S = 1.0  # for output of a process that the child left behind
_REAP_S = 5.0  # for a child of another user to end


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
        self._selector = selectors.DefaultSelector()
        self._register(process.stdout.fileno(), "stdout", self.stdout, limits.stdout)
        self._register(process.stderr.fileno(), "stderr", self.stderr, limits.stderr)
        if log:
            self._register(log.reading, "", self.log, LOG_MAX)
        os.set_blocking(process.stdin.fileno(), False)

    def _register(self, fd: int, name: str, kept: bytearray, limit: int) -> None:
        """Starts to read a pipe, up to a limit."""
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, (name, kept, limit))

    def drain(self, deadline: Deadline) -> bool:
        """Moves bytes until the child ended or a stream reached its limit; returns False if the
        deadline came first.

        The deadline is `deadline`, or an earlier one of the dialogue. After the end of the child,
        processes that it left have `_DRAIN_S` seconds to close the pipes.
        """
        until, pause = deadline, 0.001
        while not self.cut:
            if self._just_ended():
                until = deadline.within(_DRAIN_S)
            if self._ended and not self._reads_more():
                return True
            self._continue_dialogue()
            if self._is_too_late(until):
                return self._ended
            # The end of a child wakes no selector, and a process that it left may keep the pipes
            # open: look from time to time.
            pause = min(pause * 2, 0.1)
            if self._move(min(pause, until.remaining())):
                pause = 0.001
        return True

    def _just_ended(self) -> bool:
        """Returns whether the child has ended since the last call."""
        if self._ended or not exit_info(self._process):
            return False
        self._ended = True
        if self._log_pipe:
            self._log_pipe.finish()  # so that it comes to its end
        return True

    def _reads_more(self) -> bool:
        """Returns whether a pipe is still open for reading."""
        return any(key.data for key in self._selector.get_map().values())

    def _is_too_late(self, until: Deadline) -> bool:
        """Returns whether the deadline, or that of the dialogue, has passed.

        The dialogue's no longer counts after the child has ended.
        """
        if not until.remaining():
            return True
        return not self._ended and not self._dialogue.read_deadline(until).remaining()

    def _move(self, seconds: float) -> bool:
        """Waits for the pipes and moves what is ready; returns whether anything was."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            if key.data is None:
                self._write()
            else:
                self._read(key)
        return bool(ready)

    def _continue_dialogue(self) -> None:
        """Takes the next input, and closes the child's stdin after the last."""
        # The dialogue also follows the output: it is called even if nothing can be written.
        data = self._dialogue.next_input(self.stdout, self.stderr)
        if self._stdin.closed:
            return
        writing = bool(self._to_write)
        self._to_write += data
        if self._to_write and not writing:
            self._selector.register(self._stdin.fileno(), selectors.EVENT_WRITE, None)
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
            self._selector.unregister(self._stdin.fileno())
            self._stdin.close()
            return
        if not self._to_write:
            self._selector.unregister(self._stdin.fileno())
            self._continue_dialogue()

    def _read(self, key: selectors.SelectorKey) -> None:
        """Reads from one pipe, and drops what exceeds its limit.

        For stdout and stderr that sets `cut` to the stream's name; for the log it does not.
        """
        name, kept, limit = key.data
        data = os.read(key.fd, _CHUNK)
        if not data:
            self._selector.unregister(key.fd)
        if name and len(kept) + len(data) > limit:
            self.cut = name
        kept += data[: limit - len(kept)]
        if data and self._on_log and name != "stderr":
            self._on_log(bytes(self.stdout[:1]), bytes(self.log))

    def close(self) -> None:
        """Closes all that is open."""
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()
