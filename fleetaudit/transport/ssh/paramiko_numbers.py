"""Reads the long numbers of SSH messages in linear time, in place of paramiko's own way.

paramiko adds four bytes at a time to a number that grows, and fills a number that ends too early
with zeros, up to 1 MiB: so a hundred bytes of a host, in its key or its key exchange, cost seconds
of CPU in which no other host is served. What is read is the same.
"""

from __future__ import annotations

import paramiko.util


def inflate_long(data: bytes | bytearray, always_positive: bool = False) -> int:
    """Returns the number in two's complement, the most significant byte first; 0 for no bytes.

    With `always_positive` the first bit is no sign. Source: RFC 4251, section 5, mpint.
    """
    return int.from_bytes(data, "big", signed=not always_positive)


# paramiko.message and its others look the function up in this module at each call.
paramiko.util.inflate_long = inflate_long  # type: ignore[assignment]  # it calls it by position
