"""SSH's packets under AES-GCM: `transport.ssh.aead` and `packet_stream`.

A packet that is authentic gives back the message; a changed one is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from fleetaudit.model import SshConfig
    from fleetaudit.transport import Deadline
    from fleetaudit.transport.ssh.aead import Aead
    from fleetaudit.transport.ssh.link import LinkError
    from fleetaudit.transport.ssh.session import Session
    from tests.fuzz.wire import InputLink, other_key

KEY, IV = b"k" * 16, b"i" * 12
WORDS = (b"\0\0\0\x10", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x04")


def TestOneInput(data: bytes) -> None:
    """Opens the input as a packet, and seals it as a message; then opens that with a change."""
    _receive(data, data)
    if not data:
        return
    sealed = Aead(AESGCM(KEY), IV).seal(data)
    assert _receive(sealed, data) == data
    at = data[0] % len(sealed)
    changed = bytearray(sealed)
    changed[at] ^= 1
    assert _receive(bytes(changed), data) is None


def _receive(packet: bytes, message: bytes) -> bytes | None:
    """Returns the message in a packet, None if it is refused or handled by the session."""
    session = Session(InputLink(packet), SshConfig(), other_key)
    session.stream.until = Deadline.after(30)
    session.stream._sealed_in = Aead(AESGCM(KEY), IV)
    try:
        number, fields = session.stream.read_message()
    except (LinkError, InvalidTag, struct.error):
        return None
    return bytes([number]) + fields.asbytes()


def seeds() -> Iterable[bytes]:
    """Yields messages and packets of several lengths."""
    yield b"\x02\0\0\0\x01x"
    yield Aead(AESGCM(KEY), IV).seal(b"\x34")
    yield b"\0\0\0\x10" + bytes(32)
    yield bytes(300)


if __name__ == "__main__":
    fuzz(TestOneInput)
