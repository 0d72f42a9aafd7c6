"""Finds the result line in what a host printed, and expands it if it is compressed. Pure.

Rules: nothing in Python loops over bytes, because a reply is large and hosts are many. A length is
checked before it is decoded or expanded, so that no line takes more memory than `MAX_LINE` allows.
"""

from __future__ import annotations

import binascii
import zlib

from fleetaudit.errors import ReplyError

from .command import REPLY_MARK

MAX_LINE = 6 * 1024 * 1024
"""Maximum number of bytes of a reply, as it was sent and after it was expanded."""
COMPRESSED = b"zlib:"
"""The beginning of a reply that is compressed: base64 (RFC 4648) of zlib data (RFC 1950) follows.
The probe sends it if the host's Python has zlib.
"""


def find_result(stdout: bytes) -> bytes | None:
    """Returns the JSON of the result line, None if there is no such line.

    Raises `ReplyError` for several lines, for one that is larger than `MAX_LINE` before or after it
    is expanded, and for one that cannot be expanded.
    """
    line = _find_line(stdout)
    if line is None:
        return None
    _check_length(len(line), "has")
    if line.startswith(COMPRESSED):
        return _expand(line[len(COMPRESSED) :])
    return line


def _find_line(stdout: bytes) -> bytes | None:
    """Returns the result line without its mark and its end; raises `ReplyError` for several."""
    begins = stdout.startswith(REPLY_MARK)
    count = begins + stdout.count(b"\n" + REPLY_MARK)
    if not count:
        return None
    if count > 1:
        raise ReplyError(f"{count} result lines, expected exactly one")
    start = len(REPLY_MARK)
    if not begins:
        start += stdout.index(b"\n" + REPLY_MARK) + 1
    return stdout[start:].partition(b"\n")[0].removesuffix(b"\r")


def result_beginning(stdout: bytes, size: int) -> bytes:
    """Returns at most `size` bytes of the first result line, expanded if it can be; b"" without
    one. Nothing is raised.
    """
    after = (b"\n" + stdout).partition(b"\n" + REPLY_MARK)[2]
    line = after[: 8 * size].partition(b"\n")[0]
    if not line.startswith(COMPRESSED):
        return line[:size]
    try:
        packed = binascii.a2b_base64(line[len(COMPRESSED) :][: 4 * size])
        return zlib.decompressobj().decompress(packed, size) or line[:size]
    except (binascii.Error, zlib.error):
        return line[:size]


def _check_length(length: int, verb: str) -> None:
    """Raises `ReplyError` if a line that has, or expands to, this many bytes is too long."""
    if length > MAX_LINE:
        raise ReplyError(f"the result line {verb} {length} bytes, more than the {MAX_LINE} allowed")


def _expand(packed: bytes) -> bytes:
    """Returns what was compressed, at most `MAX_LINE` bytes; raises `ReplyError`.

    One byte more than allowed is asked for, and no more is ever expanded.
    """
    expander = zlib.decompressobj()
    try:
        line = expander.decompress(binascii.a2b_base64(packed, strict_mode=True), MAX_LINE + 1)
    except (binascii.Error, zlib.error) as e:
        raise ReplyError(f"the result line cannot be expanded: {e}") from e
    _check_length(len(line), "expands to at least")
    if not expander.eof or expander.unused_data:
        raise ReplyError("the result line cannot be expanded: it does not end where its data ends")
    return line
