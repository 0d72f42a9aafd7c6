"""This machine, without SSH: the command in a process group of its own, its streams drained together, under a deadline.

Rules: whatever happens, the whole group is killed and the child is reaped; no other process is touched.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess

from ..errors import TransportError
from ..model import LocalTarget
from . import Deadline, Limits, Output
from .words import quoted, shell

_CHUNK = 64 * 1024
_AFTERWARDS_S = 1.0  # for output that a child left behind still holds open


def run_local(target: LocalTarget, command: str, stdin: bytes, deadline: Deadline, limits: Limits) -> Output:
    """Runs `command` with /bin/sh here, and returns its output; raises `TransportError` (stage "execute").

    `exit_status` is 128 and the signal's number where a signal ended the shell, as a shell tells it.
    """
    hint = shell(["/bin/sh", "-c", command])
    try:
        # A session of its own: no terminal to prompt on, and one group to kill.
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as e:
        reason = f"/bin/sh cannot be started: {(e.strerror or str(e)).lower()}"
        raise TransportError("execute", reason, hint=hint, transient=isinstance(e, BlockingIOError)) from e
    streams = _Streams(process, stdin, limits)
    try:
        in_time = streams.drain(deadline)
    finally:
        # Before the child is reaped: until then its number, which is the group's, cannot be anyone else's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        streams.close()
    if not in_time:
        raise TransportError(
            "execute",
            f"the command did not end in time, after {len(streams.stdout)} bytes of output"
            + quoted(bytes(streams.stderr[-2000:]), "; it said "),
            hint=hint,
        )
    status = process.returncode
    return Output(
        stdout=bytes(streams.stdout),
        stderr=bytes(streams.stderr),
        exit_status=None if streams.cut else 128 - status if status < 0 else status,
        cut=streams.cut,
    )


class _Streams:
    """The three pipes of one child."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, limits: Limits) -> None:
        assert process.stdin is not None  # noqa: S101  # as Popen was told
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self.stdout, self.stderr, self.cut = bytearray(), bytearray(), ""
        self._process, self._waiting = process, memoryview(stdin)
        self._stdin, self._pipes = process.stdin, (process.stdin, process.stdout, process.stderr)
        self._selector = selectors.DefaultSelector()
        for pipe, events, what in (
            (process.stdin, selectors.EVENT_WRITE, None),
            (process.stdout, selectors.EVENT_READ, ("stdout", self.stdout, limits.stdout)),
            (process.stderr, selectors.EVENT_READ, ("stderr", self.stderr, limits.stderr)),
        ):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, events, what)

    def drain(self, deadline: Deadline) -> bool:
        """Moves bytes until the child ended or a stream hit its limit; returns False where the deadline came first."""
        until, pause, ended = deadline, 0.001, False
        while not self.cut:
            if not ended and self._ended():
                ended, until = True, Deadline.after(min(deadline.remaining(), _AFTERWARDS_S))
            if ended and not any(key.data for key in self._selector.get_map().values()):
                return True
            if not until.remaining():
                return ended
            # The end of a child wakes no selector, and a grandchild may keep the pipes open: look from time to time.
            pause = min(pause * 2, 0.1)
            for key, _ in self._selector.select(min(pause, until.remaining())):
                pause = 0.001
                self._write() if key.data is None else self._read(key)
        return True

    def _ended(self) -> bool:
        """Tells whether the child is a zombie by now, and leaves it one."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _write(self) -> None:
        try:
            self._waiting = self._waiting[os.write(self._stdin.fileno(), self._waiting[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read more
            self._waiting = self._waiting[:0]
        if not self._waiting:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _read(self, key: selectors.SelectorKey) -> None:
        name, kept, limit = key.data
        data = os.read(key.fd, _CHUNK)
        if not data:
            self._selector.unregister(key.fileobj)
        if len(kept) + len(data) > limit:
            self.cut = name
        kept += data[: limit - len(kept)]

    def close(self) -> None:
        """Closes all that is open."""
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()
