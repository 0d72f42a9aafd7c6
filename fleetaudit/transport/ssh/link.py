"""The link that carries the bytes of one SSH connection, such as a TCP socket.

Rules: only `exchange` waits, never past its deadline, and it fails only with `LinkError`. A link
owns what it was made with, and `close` releases it whatever happened.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Literal, Protocol

from fleetaudit.transport import Deadline, waiting

Meanwhile = Callable[[], float]
"""Does what is due on a connection, such as a keepalive; returns in how many seconds it is to be
called again at the latest, infinity for never.
"""
_CHUNK = 64 * 1024

LinkErrorKind = Literal["late", "dropped", "garbled", "disconnected", "proxy"]
"""How a connection ends: its deadline came, the peer hung up, a message was invalid, the peer sent
DISCONNECT, a ProxyCommand failed by itself and may have been refused a login.
"""


class LinkError(Exception):
    """The connection ended: `kind` says how, and `text` is for a reason, already sanitized."""

    def __init__(self, kind: LinkErrorKind, text: str = "") -> None:
        self.kind: LinkErrorKind = kind
        self.text = text
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

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Meanwhile) -> bytes:
        """Returns what came in, see `Link`."""
        while True:
            pause_s = meanwhile()
            if out:
                self._write(out)
            events = waiting.wait_for(self._descriptors(out), until, pause_s)
            # Before the deadline is checked: what came in time counts, however busy we were.
            if data := self._handle(events):
                return data
            # Checked after each event as well: a host that trickles is always ready.
            if not until.remaining():
                raise LinkError("late")

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
