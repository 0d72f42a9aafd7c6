"""The link that carries the bytes of one SSH connection, such as a TCP socket.

Rules: only `exchange` waits, never past its deadline, and it fails only with `LinkError`. A link
owns what it was made with, and `close` releases it whatever happened.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Literal, Protocol

from fleetaudit.transport import Deadline

_CHUNK = 64 * 1024
POLL_S = 0.25
"""How often a wait checks its deadline, which comes early if a run stops, in seconds."""

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

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Callable[[], None]) -> bytes:
        """Returns bytes that came in, at least one.

        Meanwhile sends what is in `out`, and removes it. `meanwhile` is called from time to time,
        at least every `POLL_S` seconds, and may add to `out`. Raises `LinkError`: of the kind
        "late" at `until`, of another kind when the connection has ended.
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
        self._poll = select.poll()

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Callable[[], None]) -> bytes:
        """Returns what came in, see `Link`."""
        while True:
            if out:
                self._write(out)
            self._wait_for(out)
            events = self._poll.poll(min(until.remaining(), POLL_S) * 1000)
            meanwhile()
            if data := self._handle(events, until):
                return data
            # Checked after each event as well: a host that trickles keeps poll busy.
            if not until.remaining():
                raise LinkError("late")

    def _wait_for(self, out: bytearray) -> None:
        """Polls for bytes that come in, and for room to send if there is something to send."""
        events = select.POLLIN
        if out:
            events |= select.POLLOUT
        self._poll.register(self._sock, events)

    def _handle(self, events: list[tuple[int, int]], until: Deadline) -> bytes:
        """Returns what came in; handles the events of other descriptors."""
        for number, event in events:
            if number != self._sock.fileno():
                self._read_other(number)
            elif event & ~select.POLLOUT and until.remaining() and (data := self._read()):
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
        """Handles another descriptor that was polled."""

    def _end(self, cause: str) -> LinkError:
        """Returns how the connection ended, with the text of the operating system."""
        return LinkError("dropped", cause)
