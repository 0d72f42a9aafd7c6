"""Finds a socket in the tables of /proc/net."""

import socket
import struct
from typing import Optional, Tuple

from .constants import GONE, MAX_STATE, MAX_WORD, TIMER_TIME_WAIT
from .files import file_lines, parse_count
from .waiting import now

TABLES = {int(socket.AF_INET): "/proc/net/tcp", int(socket.AF_INET6): "/proc/net/tcp6"}
NO_SOCKET = (GONE, 0, 0)


def find_listed(near, far, seconds=0.2):
    # type: (Tuple[int, str, int], Tuple[int, str, int], float) -> Optional[Tuple[int, int, int]]
    """Returns (state, unsent or unacknowledged bytes, unread bytes) of the socket with these
    addresses, NO_SOCKET if none is listed but in TIME_WAIT, None if the time runs out. Raises
    OSError, IndexError and ValueError. An address is (family, text, port).
    """
    ends = table_address(near), table_address(far)
    end = now() + seconds
    for number, line in enumerate(file_lines(TABLES[near[0]]), 1):
        if number % 256 == 0 and now() > end:
            return None
        if ends[0] in line:
            fields = line.split(None, 5)
            if (fields[1], fields[2]) == ends:
                return parse_entry(fields[3], fields[4], fields[5])
    return NO_SOCKET


def parse_entry(state, queues, timer):
    # type: (bytes, bytes, bytes) -> Tuple[int, int, int]
    if parse_count(timer[:2], 16) == TIMER_TIME_WAIT:
        return NO_SOCKET
    unsent, _, unread = queues.partition(b":")
    return (
        parse_count(state, 16, MAX_STATE),
        parse_count(unsent, 16, MAX_WORD),
        parse_count(unread, 16, MAX_WORD),
    )


def table_address(address):
    # type: (Tuple[int, str, int]) -> bytes
    """Returns an address as /proc/net/tcp writes it: words of 32 bits in the machine's order."""
    packed = socket.inet_pton(address[0], address[1])
    words = struct.unpack("=%dI" % (len(packed) // 4), packed)
    digits = "".join(["%08X" % word for word in words])
    return ("%s:%04X" % (digits, address[2])).encode("ascii")
