"""Segments of a trace: their flags as bits, and their windows in bytes (RFC 7323, section 2).
Pure.
"""

from __future__ import annotations

from fleetaudit.model import Connection, Segment

FLAG_BITS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20}
"""Bits of the TCP header by tcpdump's letter."""
MAX_SCALE = 14
"""RFC 7323, section 2.3: a larger shift counts as this one."""


def flag_bits(segment: Segment) -> int:
    """Returns the flags of a segment as in its TCP header; 0 for letters that stand for none."""
    return sum(FLAG_BITS.get(flag, 0) for flag in set(segment.flags))


def window_scale(segment: Segment, connection: Connection | None) -> int | None:
    """Returns by how many bits the sender of a segment shifts its windows, None if unknown.

    The window of a SYN is never scaled. Others are scaled if both SYNs have the option (RFC 7323,
    section 2.2).
    """
    if "S" in segment.flags:
        return 0
    if connection is None:
        return None
    closer, peer = connection.scales
    if closer is None or peer is None:
        return 0
    return min(MAX_SCALE, closer if segment.sender == "closer" else peer)


def window_bytes(segment: Segment, connection: Connection | None) -> int | None:
    """Returns the window of a segment in bytes, None if the window or its scale is unknown."""
    scale = window_scale(segment, connection)
    return None if segment.window is None or scale is None else segment.window << scale


def syn_scale(segment: Segment, connection: Connection | None) -> int | None:
    """Returns the window scale option of a SYN, None if it has none and for other segments."""
    if connection is None or "S" not in segment.flags:
        return None
    return connection.scales[0 if segment.sender == "closer" else 1]
