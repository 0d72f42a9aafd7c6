"""Segments of a trace: their flags as bits, and their windows in bytes (RFC 7323, section 2).
Pure.
"""

from __future__ import annotations

from fleetaudit.model import Connection, Segment

FLAG_BITS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20}
"""Bits of the TCP header by tcpdump's letter."""
MAX_SCALE = 14
"""RFC 7323, section 2.3: a larger shift counts as this one."""
_SENDERS = ("closer", "peer")
"""The senders in the order of `Connection.scales`."""


def flag_bits(segment: Segment) -> int:
    """Returns the flags of a segment as in its TCP header (RFC 9293, section 3.1).

    "S." (SYN and ACK) is 0x12. Letters that stand for no flag count 0: a run's file may have any.
    """
    return sum(FLAG_BITS.get(flag, 0) for flag in set(segment.flags))


def window_scale(segment: Segment, connection: Connection | None) -> int | None:
    """Returns by how many bits the sender of a segment shifts its windows, None if unknown.

    The window of a SYN is never scaled. Others are scaled if both SYNs have the option, by at most
    14 bits (RFC 7323, sections 2.2 and 2.3). Without a `connection` the options are unknown.
    """
    if "S" in segment.flags:
        return 0
    if connection is None:
        return None
    if None in connection.scales:
        return 0
    return min(MAX_SCALE, _offered_scale(segment, connection) or 0)


def window_bytes(segment: Segment, connection: Connection | None) -> int | None:
    """Returns the window of a segment in bytes, None if the window or its scale is unknown.

    A window of 502 and a shift of 7 are 64,256 bytes. Runs of earlier versions have no windows, and
    a capture without a SYN has no scale.
    """
    if segment.window is None:
        return None
    scale = window_scale(segment, connection)
    if scale is None:
        return None
    return segment.window << scale


def syn_scale(segment: Segment, connection: Connection | None) -> int | None:
    """Returns the window scale option of a SYN, None if it has none and for other segments.

    This is the shift as it was offered, also one above 14.
    """
    if connection is None or "S" not in segment.flags:
        return None
    return _offered_scale(segment, connection)


def _offered_scale(segment: Segment, connection: Connection) -> int | None:
    """Returns the window scale option in the SYN of a segment's sender, None if it had none."""
    return connection.scales[_SENDERS.index(segment.sender)]
