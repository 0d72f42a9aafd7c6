"""Makes traces from evidence, each once for all hosts with the same evidence. Pure.

Rules: a trace is made if the verdict deviates or is unknown, if there is no expectation, or if
kernels differ. `fleetaudit explain` prints every other one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

from fleetaudit.analysis.judge import describe_endings, expectation_status
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    Audited,
    Connection,
    Evidence,
    Family,
    Observation,
    PeerWitness,
    ScenarioRow,
    Segment,
    step_text,
)
from fleetaudit.probe.segments import syn_scale, window_bytes

from .common import (
    FAMILY_NAMES,
    BuildKey,
    build_key,
    verdict_of,
)
from .view_model import Build, Trace, TraceRow

MOST_TRACES = 60
"""How many traces a report has."""
TraceKey = tuple[BuildKey, str, Family, str]
"""Build, scenario, family and ending."""
TCP_STATES = {
    1: "ESTABLISHED",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
}
"""tcpi_state by number (include/net/tcp_states.h): those that a peer can be in after an ending."""
_FLAG_NAMES = {
    "S": "SYN",
    "F": "FIN",
    "R": "RST",
    "P": "PSH",
    ".": "ACK",
    "U": "URG",
    "E": "ECE",
    "W": "CWR",
}


class TraceStore:
    """The traces of a report: by their evidence, and by build, scenario, family and ending."""

    def __init__(self, builds: Mapping[BuildKey, Build], differing: Collection[str]) -> None:
        self.builds, self.differing = builds, differing
        self.by_ending = dict[TraceKey, Trace]()
        self._by_evidence = dict[Hashable, Trace]()
        numbers = dict[Hashable, int]()
        self._evidence_number = once_per_object(
            lambda observation: numbers.setdefault(_evidence_key(observation), len(numbers))
        )

    def __len__(self) -> int:
        return len(self._by_evidence)

    def since(self, count: int) -> tuple[Trace, ...]:
        """Returns the traces that were made after the first `count`."""
        return tuple(self._by_evidence.values())[count:]

    def find(
        self, host: Audited, families: Sequence[Observation], row: ScenarioRow
    ) -> Trace | None:
        """Returns the trace of an observation that is to be shown, None if none is shown.

        `families` are the observations with the same outcome; the trace is that of the first. None
        is shown if the report already has MOST_TRACES and none of them fits.
        """
        first = families[0]
        key = (host.isolation, bool(host.void), self._evidence_number(first))
        trace = self._by_evidence.get(key)
        if trace is None and len(self) < MOST_TRACES:
            anchor, build = f"trace-{len(self) + 1}", self.builds[build_key(host)]
            trace = self._by_evidence[key] = make_trace(anchor, host, build, first, row)
        if trace and not host.void:
            self._register(trace, build_key(host), families)
        return trace

    def is_shown(self, observation: Observation, row: ScenarioRow) -> bool:
        """Returns whether an observation is notable and has evidence, so that its trace is shown.

        It is notable if kernels differ in its scenario, or if its status is neither "met" nor "not
        run".
        """
        notable = row.name in self.differing or expectation_status(observation, row.expect) not in (
            "met",
            "not run",
        )
        return notable and _has_content(observation.evidence)

    def _register(self, trace: Trace, key: BuildKey, families: Sequence[Observation]) -> None:
        """Keeps a trace as the first of its ending, for each family."""
        for o in families:
            self.by_ending.setdefault((key, o.scenario, o.family, o.ending), trace)


def make_trace(
    anchor: str, host: Audited, build: Build, observation: Observation, row: ScenarioRow
) -> Trace:
    """Returns the trace of an observation of `host`; `row` is the scenario that judges it."""
    evidence = observation.evidence
    rows = sorted(_rows(evidence, row.steps), key=_row_order)
    note = "" if evidence.wire else "No segment was captured."
    return Trace(
        anchor=anchor,
        title=f"{row.name} over {FAMILY_NAMES[observation.family]}",
        host=host.name,
        build=build,
        observed=describe_endings(observation),
        verdict="void" if host.void else verdict_of(observation, row),
        on_host=host.isolation == "host",
        rows=tuple(rows),
        wire_note=evidence.wire_note or note,
        omitted=evidence.wire_omitted,
        peer=_describe_peer(evidence.peer),
        kernel=_sorted_items(evidence.kernel),
        queue=tuple(sorted(evidence.queue.items())),
        bytes=tuple(sorted(evidence.bytes.items())),
    )


def _has_content(evidence: Evidence) -> bool:
    """Returns whether any witness has anything to show."""
    return any((evidence.wire, evidence.wire_note, evidence.peer, evidence.kernel, evidence.steps))


def _sorted_items(counters: Mapping[str, int] | None) -> tuple[tuple[str, int], ...] | None:
    """Returns counters by name, None if they could not be read."""
    return None if counters is None else tuple(sorted(counters.items()))


def _evidence_key(observation: Observation) -> Hashable:
    """Returns the evidence without its clock: hosts with the same segments need only one trace.

    No capture (None) and a capture without segments are different evidence.
    """
    evidence = observation.evidence
    return (
        observation.scenario,
        observation.family,
        observation.ending,
        None if evidence.wire is None else tuple(map(_segment_key, evidence.wire)),
        evidence.wire_note,
        _peer_key(evidence.peer),
        _sorted_items(evidence.kernel),
        tuple(sorted(evidence.queue.items())),
    )


def _segment_key(segment: Segment) -> Hashable:
    """Returns a segment without its time, window and options."""
    return (
        segment.sender,
        segment.flags,
        segment.seq,
        segment.ack,
        segment.length,
        segment.urgent,
    )


def _peer_key(peer: PeerWitness | None) -> Hashable:
    """Returns what makes two reports of a peer the same."""
    if peer is None:
        return None
    return peer.state, peer.poll, peer.recv, peer.so_error, peer.poll_added


def _row_order(row: TraceRow) -> tuple[int, bool]:
    """Sorts by time; a step comes before the segments that it causes."""
    return row.at_us, row.who != "step"


def _rows(evidence: Evidence, steps: Sequence[str]) -> Iterator[TraceRow]:
    """Yields the steps, then the segments."""
    for at_us, index in evidence.steps:
        yield TraceRow(at_us=at_us, who="step", text=step_text(steps, index))
    for segment in evidence.wire or ():
        yield segment_row(segment, evidence.connection)


def segment_row(segment: Segment, connection: Connection | None) -> TraceRow:
    """Returns the row of a segment.

    The flags "F." are "FIN ACK" as text; a letter without a name stays.
    """
    return TraceRow(
        at_us=segment.at_us,
        who=segment.sender,
        text=" ".join(_FLAG_NAMES.get(letter, letter) for letter in segment.flags),
        flags=segment.flags,
        seq=sequence_range(segment),
        ack=segment.ack,
        length=segment.length,
        urgent=segment.urgent,
        options=segment.options,
        window=segment.window,
        offered=window_bytes(segment, connection),
        scale=syn_scale(segment, connection),
    )


def sequence_range(segment: Segment) -> str:
    """Returns the sequence numbers as tcpdump prints them: "1:11", or "1" without payload.

    The second number is the first one after the payload.
    """
    if not segment.length:
        return str(segment.seq)
    return f"{segment.seq}:{segment.seq + segment.length}"


def _describe_peer(peer: PeerWitness | None) -> tuple[tuple[str, str], ...]:
    """Returns (name, value) of what the peer's socket reported, () without a peer.

    What the socket did not report is omitted.
    """
    if peer is None:
        return ()
    added = [
        (f"added by step {index + 1}", _poll_events(events)) for index, events in peer.poll_added
    ]
    facts = (
        ("tcpi_state", tcp_state(peer.state)),
        ("poll", _poll_events(peer.poll)),
        *added,
        ("recv", ", then ".join(peer.recv)),
        ("SO_ERROR", peer.so_error),
    )
    return tuple(fact for fact in facts if fact[1])


def tcp_state(number: int | None) -> str:
    """Returns number and name of a tcpi_state, "" for None.

    8 is "8 CLOSE_WAIT", and a number that is not in TCP_STATES stays alone: "2".
    """
    return "" if number is None else f"{number} {TCP_STATES.get(number, '')}".strip()


def _poll_events(names: Sequence[str]) -> str:
    """Returns the events of poll(2) in words.

    ("IN", "RDHUP") is "POLLIN, POLLRDHUP", and () is "nothing".
    """
    return ", ".join(f"POLL{name}" for name in names) or "nothing"
