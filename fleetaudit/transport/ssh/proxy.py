"""A link through a ProxyCommand: the user's shell runs it, its stdin and stdout are the connection.

Rules: a process group of its own, killed and reaped by `close` whatever happened; its stderr is
read on, kept up to a bound, and told where the connection ends. It has no terminal to prompt on.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline
from fleetaudit.transport.child import exit_info, kill_group
from fleetaudit.transport.ssh_command import dropped_before_login
from fleetaudit.transport.ssh_options import ssh_environment

from .link import LinkError, SocketLink

_KEPT = 2000  # bytes of stderr: the last ones
_LAST_WORDS_S = 0.5
_LOOK_AGAIN_S = 0.01


class ProxyLink(SocketLink):
    """One running ProxyCommand."""

    def __init__(self, command: str, hint: str) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        shell = os.environ.get("SHELL") or "/bin/sh"
        self._said = bytearray()
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
            raise TransportError(
                "connect",
                f"the ProxyCommand cannot be started: {e}",
                hint=hint,
                kind="ProxyCommand failed",
            ) from e
        assert self._process.stderr is not None  # noqa: S101  # as Popen was told
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        ours.setblocking(False)
        self._poll.register(self._stderr.fileno(), select.POLLIN)

    def close(self) -> None:
        """Kills all that the command started, and reaps it."""
        kill_group(self._process, self._close)

    def _close(self) -> None:
        self._stderr.close()
        super().close()

    def _aside(self, number: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if not self._hear():
                self._poll.unregister(number)

    def _hear(self) -> bool:
        """Takes in what the command said on stderr; returns whether more may come."""
        data = os.read(self._stderr.fileno(), 65536)
        self._said = (self._said + data)[-_KEPT:]
        return bool(data)

    def _end(self, words: str) -> LinkError:
        """Returns how the command ended and what it said: its own end is what a person can do
        something about.
        """
        until = Deadline.after(_LAST_WORDS_S)
        poll = select.poll()
        poll.register(self._stderr.fileno(), select.POLLIN)
        while poll.poll(until.remaining() * 1000) and self._hear():
            pass
        # A process closes what it held a moment before it has ended.
        while not (ended := exit_info(self._process)):
            if not until.remaining():
                break
            time.sleep(_LOOK_AGAIN_S)
        how = (
            f"the ProxyCommand ended with status {ended.si_status}"
            if ended
            else f"ProxyCommand: {words}"
        )
        failed = ended and ended.si_status and not dropped_before_login(self._said)
        return LinkError(
            "proxy" if failed else "dropped", how + quote_line(bytes(self._said), " and said ")
        )
