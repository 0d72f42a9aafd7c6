"""The few lines that expand a request on a host, also without zlib and binascii."""

from __future__ import annotations

import base64
import random
import zlib

import pytest

from fleetaudit.probe import protocol
from fleetaudit.probe.unpacking import unpack
from tests.unit.playbook.test_shipped_playbooks import plan_of

FLIGHTS = [15 * 1448, 28 * 1448]
"""Bytes that TCP sends in two round trips after a login: 10 segments at first (RFC 6928), and more
for each that was acknowledged (RFC 5681).
"""


def inflate(data: bytes) -> bytes:
    return bytes(unpack.Inflater(bytearray(data)).inflate())


def test_what_is_sent_for_the_shipped_playbook_fits_two_flights_of_tcp() -> None:
    """The login before it has made the first flight 15 segments and the second 28: 62 KB."""
    sent = protocol.make_request(plan_of("unread-close"), deadline_s=60)
    assert len(sent) < 60_000 < sum(FLIGHTS)


def test_the_shipped_program_is_expanded_without_zlib_and_binascii() -> None:
    text = protocol.make_program(plan_of("unread-close"), deadline_s=60)
    packed = zlib.compress(text.encode("ascii"), 9)
    assert unpack.decode_base64(base64.b64encode(packed).decode()) == packed
    assert inflate(packed).decode("ascii") == text


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("letters", [2, 16, 256])
def test_every_kind_of_block_is_expanded(level: int, letters: int) -> None:
    """Level 0 copies, short texts have the fixed codes, long ones their own."""
    chance = random.Random(level * 1000 + letters)
    for size in (0, 1, 2, 3, 50, 500, 20000):
        data = bytes(chance.randrange(letters) for _ in range(size))
        assert inflate(zlib.compress(data, level)) == data


def test_the_longest_copies_and_distances_are_expanded() -> None:
    chance = random.Random(258)
    far = bytes(chance.randrange(256) for _ in range(300))
    data = far + b"a" * 32468 + far + b"b" * 100000 + far
    assert inflate(zlib.compress(data, 9)) == data


@pytest.mark.parametrize("size", range(9))
def test_base64_of_any_length_and_in_lines_is_decoded(size: int) -> None:
    data = bytes(range(250, 250 + size) if size < 6 else range(size))
    lines = base64.encodebytes(data).decode()
    assert unpack.decode_base64(lines) == data
    assert unpack.decode_base64(" \n".join(lines)) == data


def test_a_stream_that_was_cut_is_an_error_and_no_shorter_text() -> None:
    packed = zlib.compress(b"main(1)\nmain(2)\n" * 50, 9)
    for end in range(2, len(packed) - 5):
        with pytest.raises(IndexError):
            inflate(packed[:end])
