"""The link that carries the bytes of one SSH connection, such as a TCP socket.

Rules: only `exchange` waits, never past its deadline, and it fails only with `LinkError`. A link
owns what it was made with, and `close` releases it whatever happened.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable
from typing import Literal, Protocol

from fleetaudit.transport import Deadline, waiting

Meanwhile = Callable[[], float]
"""Does what is due on a connection, such as a keepalive; returns in how many seconds it is to be
called again at the latest, infinity for never.
"""
_CHUNK = 64 * 1024

_OVERTIME_S = 0.5
"""How long what comes in is read after the deadline, in seconds: a busy controller may come late to
what was in time. It ends, because a host that floods always has more.
"""

LinkErrorKind = Literal[
    "late", "dropped", "garbled", "incompatible", "flood", "disconnected", "proxy", "jump"
]
"""How a connection ends: its deadline came, the peer hung up, a message was invalid, there is no
algorithm in common, the peer sent far too much, it sent DISCONNECT, a ProxyCommand ended, a jump
host failed by itself.
"""


class LinkError(Exception):
    """The connection ended: `kind` says how, and `text` is for a reason, already sanitized.

    `transient` is true if the host may just have had too many connections.
    """

    def __init__(self, kind: LinkErrorKind, text: str = "", *, transient: bool = False) -> None:
        self.kind: LinkErrorKind = kind
        self.text = text
        self.transient = transient or kind == "dropped"
        super().__init__(f"{kind}: {text}")


class Link(Protocol):
    """A connection for bytes in both directions."""

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Meanwhile) -> bytes:
        """Returns bytes that came in, at least one.

        Meanwhile sends what is in `out`, and removes it. `meanwhile` is called before each wait and
        may add to `out`. Raises `LinkError`: of the kind "late" at `until`, unless bytes are there,
        of another kind when the connection has ended.
        """
        ...

    def flush(self, out: bytearray) -> None:
        """Sends what can be sent at once, and no more: the connection is about to be closed."""
        ...

    def close(self) -> None:
        """Closes the connection and releases what it was made with; raises nothing."""
        ...


class SocketLink:
    """A connected, non-blocking socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._others: dict[int, int] = {}  # descriptors to read from as well, with their events
        self._ends_at = math.inf  # of what is read after the deadline

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Meanwhile) -> bytes:
        """Returns what came in, see `Link`."""
        while True:
            pause_s = meanwhile()
            if out:
                self._write(out)
            events = waiting.wait_for(self._descriptors(out), until, pause_s)
            # Before the deadline is checked: what came in time counts, however busy we were.
            data = self._handle(events)
            # Checked after each event as well: a host that trickles is always ready.
            if self._is_over(until, came_in=bool(data)):
                raise LinkError("late")
            if data:
                return data

    def _is_over(self, until: Deadline, *, came_in: bool) -> bool:
        """Returns whether the deadline has passed, and the time for what came in before it."""
        if until.remaining():
            self._ends_at = math.inf
            return False
        now = time.monotonic()
        self._ends_at = min(self._ends_at, now + _OVERTIME_S)
        return not came_in or now >= self._ends_at

    def _descriptors(self, out: bytearray) -> dict[int, int]:
        """Returns what to wait for: bytes that come in, and room to send if that is needed."""
        events = waiting.READ
        if out:
            events |= waiting.WRITE
        return {self._sock.fileno(): events, **self._others}

    def _handle(self, events: waiting.Events) -> bytes:
        """Returns what came in; handles the events of other descriptors."""
        for number, event in events:
            if number != self._sock.fileno():
                self._read_other(number)
            elif event & ~waiting.WRITE and (data := self._read()):
                return data
        return b""

    def flush(self, out: bytearray) -> None:
        """Sends what can be sent at once."""
        with contextlib.suppress(OSError):  # the connection is over either way
            self._sock.send(out)
        out.clear()

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()

    def _write(self, out: bytearray) -> None:
        """Sends what the socket takes."""
        try:
            del out[: self._sock.send(out)]
        except BlockingIOError:
            pass
        except OSError:
            # reading returns the cause: the last message of the host may still be there
            out.clear()

    def _read(self) -> bytes:
        """Returns what has arrived; raises `LinkError` at the end."""
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError as e:
            raise self._end(os.strerror(e.errno or 0).lower()) from e
        if not data:
            raise self._end("closed by the host")
        return data

    def _read_other(self, number: int) -> None:
        """Reads from another descriptor, which is ready."""

    def _end(self, cause: str) -> LinkError:
        """Returns how the connection ended, with the text of the operating system."""
        return LinkError("dropped", cause)
