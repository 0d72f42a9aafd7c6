"""What carries the bytes of one SSH connection; a TCP socket is the first kind.

Rules: `exchange` alone waits, never past the moment it is given, and fails only with `LinkError`. A
link owns what it was made with, and `close` gives it back whatever happened.
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
LOOK_S = 0.25
"""How often a wait looks at its deadline, which comes early where a run stops, in seconds."""

LinkErrorKind = Literal["late", "dropped", "garbled", "disconnected", "proxy"]
"""How a conversation ends: "proxy" where a ProxyCommand failed by itself, and may have been refused
a login.
"""


class LinkError(Exception):
    """The conversation ended: `kind` says how, and the text is for a reason, already harmless."""

    def __init__(self, kind: LinkErrorKind, text: str = "") -> None:
        self.kind: LinkErrorKind = kind
        self.text = text
        super().__init__(f"{kind}: {text}")


class Link(Protocol):
    """One way for bytes, there and back."""

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Callable[[], None]) -> bytes:
        """Returns bytes that came in, at least one; what is in `out` goes out in the meantime, and
        is taken from it.

        `meanwhile` is called from time to time and may add to `out`. Raises `LinkError`.
        """
        ...

    def part(self, out: bytearray) -> None:
        """Sends what can be sent at once, and no more: the connection is about to be closed."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class SocketLink:
    """A connected, non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll = select.poll()

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Callable[[], None]) -> bytes:
        """Returns what came in, see `Link`."""
        while True:
            if out:
                self._write(out)
            self._poll.register(self._sock, select.POLLIN | (select.POLLOUT if out else 0))
            events = self._poll.poll(min(until.remaining(), LOOK_S) * 1000)
            meanwhile()
            for number, event in events:
                if number != self._sock.fileno():
                    self._aside(number)
                elif event & ~select.POLLOUT and until.remaining() and (data := self._read()):
                    return data
            # Looked at after each event as well: a host that trickles keeps poll busy.
            if not until.remaining():
                raise LinkError("late")

    def part(self, out: bytearray) -> None:
        """Sends what can be sent at once."""
        with contextlib.suppress(OSError):  # nobody is left who could mind
            self._sock.send(out)
        out.clear()

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()

    def _write(self, out: bytearray) -> None:
        try:
            del out[: self._sock.send(out)]
        except BlockingIOError:
            pass
        except OSError:
            out.clear()  # reading tells why: what the host said last may still be there

    def _read(self) -> bytes:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError as e:
            raise self._end(os.strerror(e.errno or 0).lower()) from e
        if not data:
            raise self._end("closed by the host")
        return data

    def _aside(self, number: int) -> None:
        """Deals with another descriptor that was polled."""

    def _end(self, words: str) -> LinkError:
        """Returns how the connection ended, in the words of the operating system."""
        return LinkError("dropped", words)
