"""The bytes under SSH's packets, in and out of one link, under a deadline.

Rules: it never waits past `until`, never holds more than one packet's worth of bytes beyond what
was asked for, and fails only with `LinkError`. Writes are gathered until the next read, so that
what belongs together leaves in one segment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from paramiko import Message
from paramiko.packet import Packetizer

from fleetaudit.transport import Deadline

from .aead import TAG, Aead
from .link import Link, LinkError, Meanwhile

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

PACKET_MAX = 256 * 1024
"""The longest packet that is read, in bytes; OpenSSH's own bound. A length is hostile until its MAC
was verified.
"""
_MESSAGE_COST = 1024
"""What a message takes of the allowance besides its bytes: handling one costs more CPU than that.
"""


class PacketStream(Packetizer):
    """paramiko's packet layer over our own reading and writing.

    `allowance` is how many bytes the host may still send before that counts as a flood. `meanwhile`
    is called before each wait; `last_read` is when bytes came in last, on the monotonic clock.
    """

    def __init__(self, link: Link, meanwhile: Meanwhile) -> None:
        # paramiko keeps the link and never uses it: all reading and writing is ours.
        super().__init__(cast(Any, link))
        self.until = Deadline(0.0)
        self.allowance = 4 * 1024 * 1024
        self.last_read = time.monotonic()
        self._link, self._meanwhile = link, meanwhile
        self._in = bytearray()
        self._out = bytearray()
        self._sealed_in: Aead | None = None  # paramiko's own layer does the other ciphers
        self._sealed_out: Aead | None = None

    def set_inbound_cipher(self, **cipher: Any) -> None:  # type: ignore[override]
        """Takes the cipher of what the host sends from now on, as paramiko passes it."""
        super().set_inbound_cipher(**cipher)
        self._sealed_in = _aead(cipher, "iv_in")

    def set_outbound_cipher(self, **cipher: Any) -> None:  # type: ignore[override]
        """Takes the cipher of what we send from now on, as paramiko passes it."""
        super().set_outbound_cipher(**cipher)
        self._sealed_out = _aead(cipher, "iv_out")

    def read_message(self) -> tuple[int, Message]:
        """Returns the number and the fields of the next message; raises many kinds of errors."""
        self.allowance -= _MESSAGE_COST
        if not self._sealed_in:
            return super().read_message()
        length = self.read_all(4)
        payload = self._sealed_in.open(length, self.read_all(int.from_bytes(length, "big") + TAG))
        return payload[0], Message(payload[1:])

    def send_message(self, data: Message) -> None:
        """Keeps a message for the next read."""
        if self._sealed_out:
            self._out += self._sealed_out.seal(data.asbytes())
        else:
            super().send_message(data)

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Returns exactly `n` bytes; what is to be written goes out meanwhile.

        Raises `LinkError` for more than `PACKET_MAX` bytes, before anything is read. `n` may come
        from the host: 0 and less read nothing. `check_rekey` is paramiko's and is ignored.
        """
        if n > PACKET_MAX:
            raise LinkError("garbled", f"a packet of {n} bytes was announced")
        while len(self._in) < n:
            self._exchange()
        data = bytes(self._in[: max(n, 0)])
        del self._in[: max(n, 0)]
        return data

    def read_line(self, limit: int) -> bytes:
        """Returns the next line without its end.

        Raises `LinkError` for one of more than `limit` bytes.
        """
        while (end := self._in.find(b"\n", 0, limit + 1)) < 0:
            if len(self._in) > limit:
                raise LinkError("garbled", "a line without an end")
            self._exchange()
        line = bytes(self._in[:end])
        del self._in[: end + 1]
        return line.removesuffix(b"\r")

    def write_all(self, out: Buffer) -> None:
        """Keeps the bytes for the next read."""
        self._out += memoryview(out)

    def unread(self) -> bytes:
        """Returns what arrived and was not read yet."""
        return bytes(self._in)

    @property
    def has_unread(self) -> bool:
        """Whether anything arrived that was not read yet."""
        return bool(self._in)

    def flush(self) -> None:
        """Writes what can be written at once, and no more: the connection is about to be closed."""
        self._link.flush(self._out)

    def _exchange(self) -> None:
        """Waits until bytes came in, and meanwhile writes what it can."""
        data = self._link.exchange(self._out, self.until, self._meanwhile)
        self.last_read = time.monotonic()
        self.allowance -= len(data)
        if self.allowance < 0:
            raise LinkError("flood", "far more bytes than were asked for")
        self._in += data


def _aead(cipher: dict[str, Any], iv: str) -> Aead | None:
    """Returns the packets of a direction whose cipher needs no MAC, None for other ciphers."""
    if not cipher["aead"]:
        return None
    return Aead(cipher["block_engine"], cipher[iv])
