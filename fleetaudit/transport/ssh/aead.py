"""AES-GCM packets of one direction (RFC 5647, with the changes of OpenSSH's PROTOCOL, 1.6): the
length in clear, no MAC.

Rules: paramiko makes the keys; this is its packet layer without what the other ciphers need: 4 us
for a small message in each direction instead of 10. No key is used for as much as would need a new
one (RFC 5647, section 8.3): a connection carries megabytes.
"""

from __future__ import annotations

import os
from typing import Protocol

_BLOCK = 16  # bytes
_LEAST_PADDING = 4  # RFC 4253, section 6
_LENGTH = 4
_FIXED = 4  # bytes of the nonce that stay (RFC 5647, section 7.1); the other 8 count

TAG = 16
"""Bytes of the tag after each packet."""


class Cipher(Protocol):
    """An AEAD of `cryptography`; `decrypt` raises an exception for what is not authentic."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...


class Aead:
    """The packets of one direction, from the initial `iv` of 12 bytes on."""

    def __init__(self, cipher: Cipher, iv: bytes) -> None:
        self._cipher, self._fixed = cipher, iv[:_FIXED]
        self._count = int.from_bytes(iv[_FIXED:], "big")

    def seal(self, payload: bytes) -> bytes:
        """Returns the packet of a message."""
        padding = _LEAST_PADDING + -(1 + len(payload) + _LEAST_PADDING) % _BLOCK
        plain = bytes([padding]) + payload + os.urandom(padding)
        length = len(plain).to_bytes(_LENGTH, "big")
        return length + self._cipher.encrypt(self._nonce(), plain, length)

    def open(self, length: bytes, sealed: bytes) -> bytes:
        """Returns the message in a packet; raises an exception if it is not authentic.

        `length` is the packet's length as it was sent, and authentic if the rest is.
        """
        plain = self._cipher.decrypt(self._nonce(), sealed, length)
        return plain[1 : len(plain) - plain[0]]

    def _nonce(self) -> bytes:
        """Returns the nonce of the next packet; its last 8 bytes count the packets."""
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % 2**64
        return nonce
