"""The bytes under SSH's packets: one non-blocking socket, read and written together, under a deadline.

Rules: it never waits past `until`, never holds more than one packet's worth of unasked bytes, and fails only with
`Broken`. Writes are gathered until the next read, so that what belongs together leaves in one segment.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING, Literal

from paramiko.packet import Packetizer

from .. import Deadline

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

PACKET_MAX = 256 * 1024
"""The longest packet that is read, in bytes; OpenSSH's own bound. A length is hostile until its MAC was verified."""

_CHUNK = 64 * 1024
_LOOK_S = 0.25  # how often a wait looks at its deadline, which comes early where a run stops


class Broken(Exception):
    """The conversation ended: `kind` says how, and the text is for a reason, already harmless."""

    def __init__(self, kind: Literal["late", "dropped", "garbled", "disconnected"], text: str = "") -> None:
        self.kind: Literal["late", "dropped", "garbled", "disconnected"] = kind
        self.text = text
        super().__init__(f"{kind}: {text}")


class Stream(Packetizer):
    """paramiko's packet layer over our own reading and writing.

    `allowance` is how many bytes the host may still send before it is taken for a flood.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.until = Deadline(0.0)
        self.allowance = 4 * 1024 * 1024
        self._sock = sock
        self._in = bytearray()
        self._out = bytearray()
        self._poll = select.poll()

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Returns exactly `n` bytes; what is to be written goes out meanwhile."""
        if n > PACKET_MAX:
            raise Broken("garbled", f"a packet of {n} bytes was announced")
        while len(self._in) < n:
            self._exchange()
        data = bytes(self._in[: max(n, 0)])
        del self._in[: max(n, 0)]
        return data

    def read_line(self, limit: int) -> bytes:
        """Returns the next line without its end; raises `Broken` where it is longer than `limit` bytes."""
        while (end := self._in.find(b"\n", 0, limit + 1)) < 0:
            if len(self._in) > limit:
                raise Broken("garbled", "a line without an end")
            self._exchange()
        line = bytes(self._in[:end])
        del self._in[: end + 1]
        return line.removesuffix(b"\r")

    def write_all(self, out: Buffer) -> None:
        """Keeps the bytes for the next read."""
        self._out += memoryview(out)

    def said(self) -> bytes:
        """Returns what arrived and was not read yet."""
        return bytes(self._in)

    def part(self) -> None:
        """Writes what can be written at once, and no more: the connection is about to be closed."""
        with contextlib.suppress(OSError):  # nobody is left who could mind
            self._sock.send(self._out)
        self._out.clear()

    def _exchange(self) -> None:
        """Waits until bytes came in, and writes what it can in the meantime."""
        while True:
            if self._out:
                self._write()
            self._poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._out else 0))
            events = self._poll.poll(min(self.until.remaining(), _LOOK_S) * 1000)
            if not events:
                if not self.until.remaining():
                    raise Broken("late")
                continue
            if events[0][1] & ~select.POLLOUT:
                return self._read()

    def _write(self) -> None:
        try:
            del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()  # reading tells why: what the host said last may still be there

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as e:
            raise Broken("dropped", os.strerror(e.errno or 0).lower()) from e
        if not data:
            raise Broken("dropped", "closed by the host")
        self.allowance -= len(data)
        if self.allowance < 0:
            raise Broken("garbled", "far more bytes than were asked for")
        self._in += data
        # A host that trickles keeps poll busy, so the deadline is looked at after each read as well.
        if not self.until.remaining():
            raise Broken("late")
