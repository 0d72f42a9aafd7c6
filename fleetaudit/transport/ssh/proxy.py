"""A link through a ProxyCommand: the user's shell runs it, its stdin and stdout are the connection.

Rules: a process group of its own, killed and reaped by `close` whatever happened. Its stderr is
read, kept up to a bound, and quoted when the connection ends. It has no terminal to prompt on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline, waiting
from fleetaudit.transport.child import exit_info, kill_group, wait_for_exit
from fleetaudit.transport.ssh_command import dropped_before_login
from fleetaudit.transport.ssh_options import ssh_environment

from .link import LinkError, SocketLink

_KEPT = 2000  # bytes at the end of stderr
_DRAIN_S = 0.5


class ProxyLink(SocketLink):
    """One running ProxyCommand."""

    def __init__(self, command: str, hint: str) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        shell = os.environ.get("SHELL") or "/bin/sh"
        self._printed = bytearray()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [shell, "-c", f"exec {command}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                    env=ssh_environment(),
                )
        except (OSError, ValueError) as e:
            ours.close()
            reason = f"the ProxyCommand cannot be started: {e}"
            raise TransportError("connect", reason, hint=hint, kind="ProxyCommand failed") from e
        assert self._process.stderr is not None  # noqa: S101  # as in the call of Popen
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        ours.setblocking(False)
        self._others[self._stderr.fileno()] = waiting.READ

    def close(self) -> None:
        """Kills all that the command started, and reaps it."""
        kill_group(self._process, self._close)

    def _close(self) -> None:
        """Closes the socket and stderr."""
        self._stderr.close()
        super().close()

    def _read_other(self, number: int) -> None:
        """Reads stderr while it waits."""
        with contextlib.suppress(BlockingIOError):
            if not self._read_stderr():
                del self._others[number]

    def _read_stderr(self) -> bool:
        """Reads some of the command's stderr; returns whether more may come."""
        data = os.read(self._stderr.fileno(), 65536)
        self._printed = (self._printed + data)[-_KEPT:]
        return bool(data)

    def _end(self, cause: str) -> LinkError:
        """Returns how the command ended and what it printed: a person can act on that."""
        until = Deadline.after(_DRAIN_S)
        while until.remaining() and self._others:
            for number, _ in waiting.wait_for(self._others, until):
                self._read_other(number)
        # A process closes its descriptors a moment before it ends.
        wait_for_exit(self._process, until)
        info = exit_info(self._process)
        printed = quote_line(bytes(self._printed), " and printed ")
        if not info:
            return LinkError("dropped", f"ProxyCommand: {cause}{printed}")
        text = f"the ProxyCommand ended {_how(info)}{printed}"
        # netcat ends with 0 if the host hangs up, which may be for too many connections.
        by_host = not (info.si_status or self._printed) or dropped_before_login(self._printed)
        return LinkError("proxy", text, transient=by_host)


def _how(info: os.waitid_result) -> str:
    """Returns "with status 1" or "by signal 9"."""
    kinds = {os.CLD_EXITED: "with status"}
    return f"{kinds.get(info.si_code, 'by signal')} {info.si_status}"
