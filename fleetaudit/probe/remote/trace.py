"""Turns captured segments into the rows and headers that are reported."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from .constants import ACK, MAX_HEADERS, MAX_MICROS, MAX_SECONDS, MAX_TRACE, SIDES, SYN, other
from .packets import Packet, flag_names

CONTROL_FLAGS = frozenset("SFRU")
RESET_ERRORS = ("ECONNRESET", "ECONNREFUSED", "EPIPE")


def micros(seconds):
    # type: (float) -> int
    """Returns whole microseconds, bounded: somebody may set the clock during a trial."""
    return max(-MAX_MICROS, min(MAX_MICROS, int(seconds * 1e6)))


def has_control(flags):
    # type: (str) -> bool
    """Returns whether a segment has SYN, FIN, RST or URG."""
    return not CONTROL_FLAGS.isdisjoint(flags)


def trace_rows(packets, client, client_side, began):
    # type: (Sequence[Packet], int, str, float) -> Tuple[List[Any], List[Packet]]
    """Returns the reported rows, with relative numbers and without the middle of a long trace, and
    their packets. `client` is the port of `client_side`, which connected.
    """
    first, rows = {}, []  # type: Dict[str, int], List[Any]
    for packet in packets:
        side = side_of(packet, client, client_side)
        rows.append((micros(packet.at - began + 5e-7), side) + trace_row(packet, side, first))
    kept = kept_rows([has_control(row[2]) for row in rows])
    return [rows[i] for i in kept], [packets[i] for i in kept]


def side_of(packet, client, client_side):
    # type: (Packet, int, str) -> str
    """Returns the side that sent a packet."""
    return client_side if packet.source == client else other(client_side)


def trace_row(packet, side, first):
    # type: (Packet, str, Dict[str, int]) -> Tuple[Any, ...]
    """Returns a row from its flags on. `first` has the first sequence number of each side, that of
    its last SYN: a second one may be of another connection between these ports.
    """
    seq = ack = 0
    if packet.bits & SYN:
        first[side] = packet.seq
    else:
        seq = (packet.seq - first.get(side, packet.seq)) & 0xFFFFFFFF
    if packet.bits & ACK:
        ack = (packet.ack - first.get(other(side), packet.ack)) & 0xFFFFFFFF
    return (
        flag_names(packet.bits),
        seq,
        ack,
        packet.length,
        packet.urgent,
        packet.options,
        packet.window,
    )


def kept_rows(marked):
    # type: (List[bool]) -> List[int]
    """Returns which rows are reported, at most MAX_TRACE: the marked ones, and the first and last
    of the others.
    """
    if len(marked) <= MAX_TRACE:
        return list(range(len(marked)))
    plain = [i for i, mark in enumerate(marked) if not mark]
    room = max(0, MAX_TRACE - sum(marked))
    kept = set(range(len(marked))).difference(plain)
    kept.update(plain[: room // 2], plain[len(plain) - (room - room // 2) :])
    half = MAX_TRACE // 2
    rows = sorted(kept)
    return rows if len(rows) <= MAX_TRACE else rows[:half] + rows[-half:]


def describe_connection(packets, client, client_side, began):
    # type: (Sequence[Packet], int, str, float) -> Optional[Dict[str, Any]]
    """Returns when the trial began, and each side's port and window scale, the closer's first; None
    without a SYN.
    """
    ports, scales = {}, {}  # type: Dict[str, int], Dict[str, Optional[int]]
    for packet in packets:
        if packet.bits & SYN:
            side = side_of(packet, client, client_side)
            ports[side], ports[other(side)] = packet.source, packet.target
            scales.setdefault(side, packet.scale)
    if not ports:
        return None
    return {
        "began": max(0.0, min(MAX_SECONDS, began)),
        "ports": [ports[side] for side in SIDES],
        "scales": [scales.get(side) for side in SIDES],
    }


def limit_headers(observations):
    # type: (Sequence[Dict[str, Any]]) -> None
    """Takes out the headers for which a reply has no room."""
    room = MAX_HEADERS
    for observation in observations:
        for trial in observation.get("trials", ()):
            size = len((trial.get("connection") or {}).get("headers", ""))
            if size > room:
                del trial["connection"]["headers"]
            else:
                room -= size


def deviates(trial, expect):
    # type: (Dict[str, Any], Sequence[str]) -> bool
    """Returns whether a trial needs more than its rows: a step failed, more may come, the closer's
    segments are not an expected ending, or the peer saw another.
    """
    ending = captured_ending(trial["wire"])
    is_expected = not expect or ending in expect
    if trial["error"] or trial["outstanding"] or not is_expected:
        return True
    if not trial["peer"]:
        return False
    results = trial["peer"]["recv"] + [trial["peer"]["so_error"]]
    was_reset = any(error in result for result in results for error in RESET_ERRORS)
    return ("RST" in ending) != was_reset


def captured_ending(rows):
    # type: (Sequence[Sequence[Any]]) -> str
    """Returns the ending that the closer's segments show."""
    closers = [row[2] + "F" * ("DATA_FIN" in row[7]) for row in rows if row[1] == "closer"]
    ends = [flag for flag in "".join(closers) if flag in "FR"]
    if not ends:
        return "nothing"
    if ends[0] == "R":
        return "RST"
    return "FIN, then RST" if "R" in ends else "FIN"


def essence(rows):
    # type: (Sequence[Sequence[Any]]) -> List[Any]
    """Returns a trace without what depends on time only: how data was cut into segments, which ACKs
    were sent alone, windows. What remains is each segment with SYN, FIN, RST, URG or an option but
    SACK, and how far both sides had come.
    """
    reached, kept = {}, []  # type: Dict[str, int], List[Any]
    for _, sender, flags, seq, _, length, urgent, options, _ in rows:
        reached[sender] = max(reached.get(sender, 0), seq + length)
        if options not in ("", "SACK") or has_control(flags):
            kept.append((sender, flags.replace("P", ""), urgent, options, sorted(reached.items())))
    return kept + [sorted(reached.items())]
