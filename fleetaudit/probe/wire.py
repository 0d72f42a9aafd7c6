"""What the captured segments of a trial show. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from fleetaudit.model import Ending

from .reply import RawSegment, RawTrial


def whole_wire(trial: RawTrial) -> tuple[RawSegment, ...] | None:
    """Returns the trace if the capture saw every segment, else None.

    One record that the packet socket dropped (PACKET_STATISTICS, packet(7)) may be the RST, so a
    trace with a gap is no witness.
    """
    if trial.wire_lost:
        return None
    return trial.wire


def capture_note(trial: RawTrial) -> str:
    """Returns why the capture is incomplete or missing, "" if it is neither.

    At most 4,096 characters, as `LongText` allows.
    """
    if not trial.wire_lost:
        return trial.wire_note
    lost = f"the capture is no witness: {trial.wire_lost} packets found no room in it"
    return "; ".join(filter(None, (lost, trial.wire_note)))[:4096]


def wire_ending(trial: RawTrial, opener: str = "closer") -> Ending | None:
    """Returns the ending by the closer's own segments, None if the capture does not show it.

    A capture that missed the SYN of `opener`, "closer" or "peer", may have missed the end, too. Of
    several ends the first one
    counts, and whether an RST followed: a FIN after an RST changes nothing, it is "RST". RFC 8684,
    section 3.3.3: DATA_FIN is to an MPTCP connection what FIN is to TCP; a subflow's own FIN may
    come much later.
    """
    wire = whole_wire(trial)
    if wire is None:
        return None
    if not any("S" in segment.flags for segment in segments_of(wire, opener)):
        return None
    ends = [*chain.from_iterable(map(_ends, segments_of(wire, "closer")))]
    if not ends:
        return "nothing"
    if "RST" not in ends:
        return "FIN"
    if ends[0] == "RST":
        return "RST"
    return "FIN, then RST"


def _ends(segment: RawSegment) -> list[str]:
    """Returns "FIN" and "RST", those of the two that a segment is, in this order."""
    ends = list[str]()
    if "F" in segment.flags or "DATA_FIN" in segment.options:
        ends.append("FIN")
    if "R" in segment.flags:
        ends.append("RST")
    return ends


def segments_of(wire: Iterable[RawSegment], sender: str) -> list[RawSegment]:
    """Returns the segments that one side sent, in their order; `sender` is "closer" or "peer"."""
    return [segment for segment in wire if segment.sender == sender]


def count_resets(wire: Iterable[RawSegment], sender: str) -> int:
    """Returns how many RSTs a side sent; `sender` is "closer" or "peer"."""
    return sum("R" in segment.flags for segment in segments_of(wire, sender))
