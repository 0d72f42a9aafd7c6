"""A wire for the SSH harnesses: bytes of an input as they would come from a host, one piece at a
time, and a session for which the keys are agreed on already.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.errors import TransportError
from fleetaudit.model import SshConfig
from fleetaudit.transport import Deadline
from fleetaudit.transport.ssh.link import LinkError, Meanwhile
from fleetaudit.transport.ssh.session import Session

MARK = b"\n--\n"
"""Separates the messages in an input."""
_BLOCK, _PIECE = 8, 1000


def other_key(_first: bytes, _shown: bytes) -> TransportError:
    """Returns the error for another host key when keys are agreed on again."""
    return TransportError("host key", "another key", hint="")


class InputLink:
    """Gives the bytes of an input in pieces, then hangs up. `sent` is what it was given."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)
        self.sent = bytearray()

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Meanwhile) -> bytes:
        """Returns the next piece."""
        meanwhile()
        self.sent += out
        out.clear()
        if not self._left:
            raise LinkError("dropped", "closed by the host")
        piece = bytes(self._left[:_PIECE])
        self._left = self._left[_PIECE:]
        return piece

    def flush(self, out: bytearray) -> None:
        """Takes the rest of what is sent."""
        self.sent += out
        out.clear()

    def close(self) -> None:
        """Does nothing."""


def messages_of(data: bytes) -> list[bytes]:
    """Returns the messages of an input, without empty ones."""
    return [*filter(None, data.split(MARK))]


def packets_of(messages: Iterable[bytes]) -> bytes:
    """Returns messages as packets without a cipher (RFC 4253, section 6)."""
    return b"".join(map(_packet, messages))


def _packet(message: bytes) -> bytes:
    padding = _BLOCK - (5 + len(message)) % _BLOCK
    padding += _BLOCK * (padding < 4)
    length = 1 + len(message) + padding
    return length.to_bytes(4, "big") + bytes([padding]) + message + bytes(padding)


def session_with(messages: Iterable[bytes]) -> tuple[Session, InputLink]:
    """Returns a session whose keys are agreed on, and to which a host sends these messages.

    Its packets have no cipher, so that every message is one that a host may send.
    """
    link = InputLink(packets_of(messages))
    session = Session(link, SshConfig(), other_key)
    session.stream.until = Deadline.after(30)
    state = session._paramiko
    state.initial_kex_done = True
    state._expected_packet = ()
    state.session_id = b"\0" * 32
    return session, link
