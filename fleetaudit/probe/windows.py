"""TCP windows in bytes (RFC 7323, section 2): the field of a segment, scaled as its sender
announced. Pure.
"""

from __future__ import annotations

from fleetaudit.model import Connection, Segment

MAX_SCALE = 14
"""RFC 7323, section 2.3: a larger shift counts as this one."""


def window_scale(segment: Segment, connection: Connection | None) -> int | None:
    """Returns by how many bits the sender of a segment shifts its windows, 0 if it does not; None
    if unknown.

    The window of a SYN is never scaled; the others' are if both SYNs have the option (section 2.2).
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
    """Returns the window of a segment in bytes; None if it or its scale is unknown."""
    scale = window_scale(segment, connection)
    return None if segment.window is None or scale is None else segment.window << scale


def syn_scale(segment: Segment, connection: Connection | None) -> int | None:
    """Returns the window scale option of a SYN; None if it has none, and for any other segment."""
    if connection is None or "S" not in segment.flags:
        return None
    return connection.scales[0 if segment.sender == "closer" else 1]
