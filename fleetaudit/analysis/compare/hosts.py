"""Host by host: those that behave alike share one profile, each trace is kept once, and nobody is
left out. Pure.

Rules: packets are shown where something deviates, could not be told, has no expectation, or kernels
differ; the rest is one line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetaudit.analysis.judge import describe_endings, expectation_status
from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    HostResult,
    Observation,
    PeerWitness,
    ScenarioRow,
    Severity,
    step_text,
)
from fleetaudit.probe.segments import syn_scale, window_bytes
from fleetaudit.text.host_ranges import fold_hosts

from .behaviour_groups import outcome
from .common import (
    FAMILY_WORDS,
    BuildKey,
    Ground,
    build_key,
    expect_words,
    families_words,
    grouped,
    names_of,
    system_of,
    tone_of,
)
from .view_model import (
    Column,
    Member,
    Production,
    Profile,
    Tone,
    Trace,
    TraceRow,
    Verdict,
)

MOST_TRACES = 60
"""How many traces are shown; `fleetaudit explain` prints any other."""
HostFinding = tuple[Severity, str, str, str, str | None, str]
TraceKey = tuple[BuildKey, str, Family, Ending]
STATES = {
    1: "ESTABLISHED",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
}
"""tcpi_state by number, from include/net/tcp_states.h; those that a peer can be in after an ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The profiles, the profile of each audited host by name, and every trace that is shown by
    where it was seen.
    """

    profiles: tuple[Profile, ...]
    anchors: Mapping[str, str]
    traces: Mapping[TraceKey, Trace]


def profiles_of(ground: Ground, columns: Sequence[Column]) -> Shown:
    """Returns the profiles, in the order of their first hosts; every audited host is a member of
    exactly one.
    """
    differing = {c.scenario for c in columns if c.differs}
    alike = {c.scenario for c in columns} - {c.scenario for c in columns if c.notable}
    once, traces_by, anchors = dict[Hashable, Trace](), dict[TraceKey, Trace](), dict[str, str]()
    profiles = list[Profile]()
    for i, hosts in enumerate(ground.alike, 1):
        first, anchor = hosts[0], f"profile-{i}"
        verdicts, traces = list[Verdict](), list[Trace]()
        by_scenario = grouped(first.observations, lambda o: o.scenario)
        for name, row in ground.rows.items():
            for together in _alike(by_scenario.get(name, ())):
                o, shown = together[0], None
                if (
                    name in differing or expectation_status(o, row.expect) not in ("met", "not run")
                ) and _has_evidence(o):
                    key = (first.isolation, bool(first.void), _shape(o))
                    shown = once.get(key)
                    if shown is None and len(once) < MOST_TRACES:
                        shown = once[key] = _trace(f"trace-{len(once) + 1}", first, o, row, ground)
                        traces.append(shown)
                    if shown is not None and not first.void:
                        for same in together:
                            traces_by.setdefault(
                                (build_key(first), name, same.family, same.ending), shown
                            )
                verdicts.append(
                    _verdict(together, row, ground.anchors[name], first, shown, name in alike)
                )
        anchors |= dict.fromkeys((h.name for h in hosts), anchor)
        profiles.append(
            Profile(
                anchor=anchor,
                build=ground.builds[build_key(first)],
                first=first.name,
                hosts=names_of(hosts),
                on_host=first.isolation == "host",
                void=first.void,
                members=_members(hosts),
                tally=_tally(verdicts),
                verdicts=tuple(verdicts),
                traces=tuple(traces),
            )
        )
    return Shown(profiles=tuple(profiles), anchors=anchors, traces=traces_by)


def _tally(verdicts: Iterable[Verdict]) -> tuple[tuple[Tone, int], ...]:
    tones = Counter(v.tone for v in verdicts)
    notable: tuple[Tone, ...] = ("error", "warning", "info", "untold")
    return tuple((tone, tones[tone]) for tone in notable if tone in tones)


def _alike(observations: Iterable[Observation]) -> Iterable[list[Observation]]:
    """The families of one scenario that may share a line."""
    return grouped(observations, outcome).values()


def _verdict(
    together: Sequence[Observation],
    row: ScenarioRow,
    anchor: str,
    host: Audited,
    trace: Trace | None,
    alike: bool,
) -> Verdict:
    o = together[0]
    tone: Tone = "void" if host.void else tone_of(o, row)
    words = {
        "met": "as expected",
        "untold": "could not be told",
        "observed": "no expectation",
        "silent": "not run",
        "void": "void",
    }
    return Verdict(
        scenario=row.name,
        title=row.title,
        anchor=anchor,
        families=families_words(o.family for o in together),
        seen=describe_endings(o),
        expect=expect_words(row.expect),
        verdict=words.get(tone, f"not as expected ({tone})"),
        tone=tone,
        trials=o.trials,
        reason=o.reason,
        trace=trace.anchor if trace else "",
        trace_host=trace.host if trace and trace.host != host.name else "",
        alike=alike and tone in ("met", "silent"),
    )


def _members(hosts: Sequence[Audited]) -> tuple[Member, ...]:
    groups = grouped(
        hosts, lambda h: (h.groups, system_of(h), h.python, h.notes, findings_words(h))
    )
    return tuple(
        Member(
            hosts=fold_hosts((h.name for h in members), limit=len(members)),
            groups=key[0],
            system=key[1],
            python=key[2],
            notes=key[3],
            findings=key[4],
        )
        for key, members in groups.items()
    )


def findings_words(host: HostResult) -> tuple[HostFinding, ...]:
    """Returns severity, id, expected, observed, waiver and first date of each finding of a host."""
    return tuple(
        (f.severity, f.id, f.expected, f.observed, f.waived, f.since) for f in host.findings
    )


def _has_evidence(o: Observation) -> bool:
    e = o.evidence
    return bool(e.wire or e.wire_note or e.peer or e.kernel or e.steps)


def _shape(o: Observation) -> Hashable:
    """The evidence without its clock: two hosts that sent the same segments need one table."""
    e = o.evidence
    wire = (
        None
        if e.wire is None
        else tuple((s.sender, s.flags, s.seq, s.ack, s.length, s.urgent) for s in e.wire)
    )
    counters = None if e.kernel is None else tuple(sorted(e.kernel.items()))
    peer = (
        None
        if e.peer is None
        else (e.peer.state, e.peer.poll, e.peer.recv, e.peer.so_error, e.peer.poll_added)
    )
    return (
        o.scenario,
        o.family,
        o.ending,
        wire,
        e.wire_note,
        peer,
        counters,
        tuple(sorted(e.queue.items())),
    )


def _trace(anchor: str, host: Audited, o: Observation, row: ScenarioRow, ground: Ground) -> Trace:
    e = o.evidence
    return Trace(
        anchor=anchor,
        title=f"{row.name} over {FAMILY_WORDS[o.family]}",
        host=host.name,
        build=ground.builds[build_key(host)],
        seen=describe_endings(o),
        tone="void" if host.void else tone_of(o, row),
        on_host=host.isolation == "host",
        rows=tuple(sorted(_moments(o, row), key=lambda r: (r.at_us, r.who != "step"))),
        wire_note=e.wire_note or ("" if e.wire else "No segment was captured."),
        omitted=e.wire_omitted,
        peer=_peer_words(e.peer),
        kernel=None if e.kernel is None else tuple(sorted(e.kernel.items())),
        queue=tuple(sorted(e.queue.items())),
        bytes=tuple(sorted(e.bytes.items())),
    )


def _moments(o: Observation, row: ScenarioRow) -> Iterator[TraceRow]:
    for at_us, index in o.evidence.steps:
        yield TraceRow(at_us=at_us, who="step", text=step_text(row.steps, index))
    connection = o.evidence.connection
    for s in o.evidence.wire or ():
        yield TraceRow(
            at_us=s.at_us,
            who=s.sender,
            text=_flag_words(s.flags),
            flags=s.flags,
            seq=f"{s.seq}:{s.seq + s.length}" if s.length else str(s.seq),
            ack=s.ack,
            length=s.length,
            urgent=s.urgent,
            options=s.options,
            window=s.window,
            offered=window_bytes(s, connection),
            scale=syn_scale(s, connection),
        )


_FLAGS = {
    "S": "SYN",
    "F": "FIN",
    "R": "RST",
    "P": "push",
    ".": "ACK",
    "U": "URG",
    "E": "ECE",
    "W": "CWR",
}


def _flag_words(flags: str) -> str:
    return " ".join(_FLAGS.get(letter, letter) for letter in flags)


def _peer_words(peer: PeerWitness | None) -> tuple[tuple[str, str], ...]:
    if peer is None:
        return ()
    state = "" if peer.state is None else f"{peer.state} {STATES.get(peer.state, '')}".strip()
    said = (
        ("tcpi_state", state),
        ("poll", _events(peer.poll)),
        *((f"added by step {index + 1}", _events(events)) for index, events in peer.poll_added),
        ("recv", ", then ".join(peer.recv)),
        ("SO_ERROR", peer.so_error),
    )
    return tuple((name, words) for name, words in said if words)


def _events(names: Sequence[str]) -> str:
    return ", ".join(f"POLL{name}" for name in names) or "nothing"


def production_of(ground: Ground, anchors: Mapping[str, str]) -> tuple[Production, ...]:
    """Returns the hosts that told their counters, those that abort most of their connections first;
    `anchors` are those of their profiles.
    """
    told = [p for h in ground.audited if (p := _production(h, anchors[h.name]))]
    return tuple(sorted(told, key=_felt))


def _production(host: Audited, anchor: str) -> Production | None:
    if host.exposure is None:
        return None
    counters, unread = host.exposure.counters, host.exposure.unread_sockets
    opened = [counters[name] for name in ("ActiveOpens", "PassiveOpens") if name in counters]
    connections = sum(opened) if len(opened) == 2 else None
    aborts = counters.get("TCPAbortOnClose")
    return Production(
        host=host.name,
        anchor=anchor,
        connections=connections,
        aborts=aborts,
        per_thousand=1000 * aborts / connections if aborts is not None and connections else None,
        uptime_days=None if host.exposure.uptime_s is None else host.exposure.uptime_s / 86400,
        unread_sockets=unread.sockets if unread else None,
        unread_bytes=unread.bytes if unread else None,
        partial=bool(unread and unread.partial),
    )


def _felt(p: Production) -> tuple[float, int]:
    """Sorts the hosts that abort most first; the sort is stable, so equals stay in inventory order."""
    return -(p.per_thousand if p.per_thousand is not None else -1.0), -(p.unread_sockets or 0)
