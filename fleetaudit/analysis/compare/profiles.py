"""Makes the profiles: hosts with the same behaviour share one, and no host is left out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetaudit.analysis.judge import describe_endings
from fleetaudit.model import (
    Audited,
    HostResult,
    Observation,
    ScenarioRow,
)
from fleetaudit.text.host_ranges import fold_hosts

from .behaviour_groups import outcome_key
from .columns import differing_scenarios
from .common import (
    BehaviourGroup,
    ComparisonInput,
    build_key,
    fold_names,
    group_by,
    join_endings,
    join_families,
    system_name,
    verdict_of,
)
from .traces import TraceKey, TraceStore
from .view_model import (
    Column,
    HostFinding,
    Member,
    Profile,
    Trace,
    Verdict,
    VerdictRow,
)

VERDICT_TEXTS: dict[Verdict, str] = {
    "met": "as expected",
    "info": "not as expected (info)",
    "warning": "not as expected (warning)",
    "error": "not as expected (error)",
    "unknown": "unknown",
    "no expectation": "no expectation",
    "not run": "not run",
    "void": "void",
}
_NOTABLE: tuple[Verdict, ...] = ("error", "warning", "info", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """All profiles, the anchor of the profile of each audited host, and the traces by ending."""

    profiles: tuple[Profile, ...]
    anchors: Mapping[str, str]
    traces: Mapping[TraceKey, Trace]


def make_profiles(source: ComparisonInput, columns: Sequence[Column]) -> Profiles:
    """Returns the profiles in the order of their first hosts.

    Every audited host is a member of exactly one.
    """
    maker = _ProfileMaker(source, columns)
    profiles = [maker.make(f"profile-{i}", group) for i, group in enumerate(source.groups, 1)]
    anchors = dict[str, str]()
    for profile, group in zip(profiles, source.groups, strict=True):
        anchors |= dict.fromkeys((host.name for host in group), profile.anchor)
    return Profiles(profiles=tuple(profiles), anchors=anchors, traces=maker.traces.by_ending)


class _ProfileMaker:
    """Makes profiles one after the other; traces that one of them shows are not made again."""

    def __init__(self, source: ComparisonInput, columns: Sequence[Column]) -> None:
        notable = {column.scenario for column in columns if column.notable}
        self.source = source
        self.unanimous = {column.scenario for column in columns} - notable
        self.traces = TraceStore(source.builds, differing_scenarios(columns))

    def make(self, anchor: str, group: BehaviourGroup) -> Profile:
        """Returns the profile of one behaviour group."""
        first = group[0]
        known_traces = len(self.traces)
        rows = self._verdict_rows(first)
        return Profile(
            anchor=anchor,
            build=self.source.builds[build_key(first)],
            first=first.name,
            hosts=fold_names(group),
            on_host=first.isolation == "host",
            void=first.void,
            members=_members(group),
            tally=_tally(rows),
            verdicts=rows,
            traces=self.traces.since(known_traces),
        )

    def _verdict_rows(self, host: Audited) -> tuple[VerdictRow, ...]:
        """Returns the verdicts on a host; families of a scenario with one outcome share a row."""
        by_scenario = group_by(host.observations, lambda o: o.scenario)
        rows = list[VerdictRow]()
        for name, row in self.source.scenarios.items():
            for families in group_by(by_scenario.get(name, ()), outcome_key).values():
                trace = self.traces.find(host, families, row)
                rows.append(self._verdict_row(host, families, row, trace))
        return tuple(rows)

    def _verdict_row(
        self, host: Audited, families: Sequence[Observation], row: ScenarioRow, trace: Trace | None
    ) -> VerdictRow:
        """Returns the row of one scenario; `families` have the same outcome."""
        first = families[0]
        verdict: Verdict = "void" if host.void else verdict_of(first, row)
        anchor, trace_host = _trace_link(trace, host)
        return VerdictRow(
            scenario=row.name,
            title=row.title,
            anchor=self.source.anchors[row.name],
            families=join_families(o.family for o in families),
            observed=describe_endings(first),
            expect=join_endings(row.expect),
            verdict=verdict,
            verdict_text=VERDICT_TEXTS[verdict],
            trials=first.trials,
            reason=first.reason,
            trace=anchor,
            trace_host=trace_host,
            unanimous=verdict in ("met", "not run") and row.name in self.unanimous,
        )


def _trace_link(trace: Trace | None, host: Audited) -> tuple[str, str]:
    """Returns the anchor of a trace, and its host if that is not `host`.

    Both are "" without a trace, and the second is "" if the trace is that of `host`.
    """
    if trace is None:
        return "", ""
    return trace.anchor, "" if trace.host == host.name else trace.host


def _tally(rows: Iterable[VerdictRow]) -> tuple[tuple[Verdict, int], ...]:
    """Returns (verdict, rows) of the verdicts worth noting, worst first."""
    counts = Counter(row.verdict for row in rows)
    return tuple((verdict, counts[verdict]) for verdict in _NOTABLE if verdict in counts)


def _members(group: BehaviourGroup) -> tuple[Member, ...]:
    """Returns the hosts by what distinguishes them besides behaviour; all of them are named."""
    groups = group_by(group, _member_key)
    return tuple(
        Member(
            hosts=fold_hosts((host.name for host in hosts), limit=len(hosts)),
            groups=hosts[0].groups,
            system=system_name(hosts[0]),
            python=hosts[0].python,
            notes=hosts[0].notes,
            findings=findings,
        )
        for (*_, findings), hosts in groups.items()
    )


def _member_key(
    host: Audited,
) -> tuple[tuple[str, ...], str, str, tuple[str, ...], tuple[HostFinding, ...]]:
    """Returns what hosts of a profile must share to be one member."""
    return host.groups, system_name(host), host.python, host.notes, host_findings(host)


def host_findings(host: HostResult) -> tuple[HostFinding, ...]:
    """Returns the findings of a host as the page shows them."""
    return tuple(
        (f.severity, f.id, f.expected, f.observed, f.waived, f.since) for f in host.findings
    )
