"""Makes the profiles: hosts with the same behaviour share one, and no host is left out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fleetaudit.analysis.judge import describe_endings
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    Audited,
    Finding,
    Observation,
    ScenarioRow,
)
from fleetaudit.text.host_ranges import fold_hosts

from .behaviour_groups import outcome_key
from .columns import differing_scenarios
from .common import (
    FAMILY_NAMES,
    BehaviourGroup,
    build_key,
    fold_names,
    group_by,
    join_endings,
    join_families,
    system_name,
    verdict_of,
)
from .comparison_input import ComparisonInput
from .scenario_groups import observations_by_name
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


class Profiles(msgspec.Struct, frozen=True, kw_only=True):
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


class _Outcome(NamedTuple):
    """Families with the same outcome, and their row without a trace; `traced` is the scenario if
    one may be shown.
    """

    families: Sequence[Observation]
    row: VerdictRow
    traced: ScenarioRow | None


class _ProfileMaker:
    """Makes profiles one after the other; traces that one of them shows are not made again."""

    def __init__(self, source: ComparisonInput, columns: Sequence[Column]) -> None:
        notable = {column.scenario for column in columns if column.notable}
        self.source = source
        self.unanimous = {column.scenario for column in columns} - notable
        self.traces = TraceStore(source.builds, differing_scenarios(columns))
        self._rows_of_scenario = once_per_object(self._make_rows)
        self._columns = group_by(columns, lambda column: column.scenario)
        self._endings_of_scenario = once_per_object(self._make_endings)
        numbers = dict[Hashable, int]()
        self._findings_number = once_per_object(
            lambda findings: numbers.setdefault(view_findings(findings), len(numbers))
        )

    def make(self, anchor: str, group: BehaviourGroup) -> Profile:
        """Returns the profile of one behaviour group."""
        first = group[0]
        known_traces = len(self.traces)
        rows = self._verdict_rows(first)
        endings = self._endings(first)
        return Profile(
            anchor=anchor,
            build=self.source.builds[build_key(first)],
            first=first.name,
            hosts=fold_names(group),
            on_host=first.isolation == "host",
            void=first.void,
            members=self._members(group),
            tally=_tally(rows),
            endings=endings,
            not_run=_reasons_not_run(first),
            verdicts=rows,
            traces=self.traces.since(known_traces),
        )

    def _members(self, group: BehaviourGroup) -> tuple[Member, ...]:
        """Returns the hosts by what distinguishes them besides behaviour."""
        return tuple(map(_member, group_by(group, self._member_key).values()))

    def _member_key(self, host: Audited) -> Hashable:
        """Returns what hosts of a profile must share to be one member."""
        findings = self._findings_number(host.findings)
        return host.groups, system_name(host), host.measured_by, host.notes, findings

    def _verdict_rows(self, host: Audited) -> tuple[VerdictRow, ...]:
        """Returns the verdicts on a host; families of a scenario with one outcome share a row."""
        by_scenario, is_void = observations_by_name(host), bool(host.void)
        rows = list[VerdictRow]()
        for name, row in self.source.scenarios.items():
            if of_scenario := by_scenario.get(name):
                outcomes = self._rows_of_scenario(is_void, row, *of_scenario)
                rows += [self._with_trace(outcome, host) for outcome in outcomes]
        return tuple(rows)

    def _endings(self, host: Audited) -> tuple[str, ...]:
        """Returns the ending of a host in each column, in the order of the columns."""
        by_scenario, is_void = observations_by_name(host), bool(host.void)
        endings = list[str]()
        for name, row in self.source.scenarios.items():
            endings += self._endings_of_scenario(is_void, row, *by_scenario.get(name, ()))
        return tuple(endings)

    def _make_endings(
        self, is_void: bool, row: ScenarioRow, *observations: Observation
    ) -> list[str]:
        """Returns the endings in the columns of one scenario."""
        columns = self._columns.get(row.name, ())
        return [_ending_in(column, observations, is_void) for column in columns]

    def _make_rows(
        self, is_void: bool, row: ScenarioRow, *observations: Observation
    ) -> list[_Outcome]:
        """Returns the outcomes of one scenario."""
        return [
            _Outcome(
                families=families,
                row=self._verdict_row(is_void, row, families),
                traced=row if self.traces.is_shown(families[0], row) else None,
            )
            for families in group_by(observations, outcome_key).values()
        ]

    def _with_trace(self, outcome: _Outcome, host: Audited) -> VerdictRow:
        """Returns the row of an outcome on a host, with the anchor of its trace if it has one.

        Without a trace it is the same row for all hosts. The host of the trace is named if it is
        another one.
        """
        if outcome.traced is None:
            return outcome.row
        trace = self.traces.find(host, outcome.families, outcome.traced)
        if trace is None:
            return outcome.row
        other = "" if trace.host == host.name else trace.host
        return msgspec.structs.replace(outcome.row, trace=trace.anchor, trace_host=other)

    def _verdict_row(
        self, is_void: bool, row: ScenarioRow, families: Sequence[Observation]
    ) -> VerdictRow:
        """Returns the row of one scenario; `families` have the same outcome."""
        first = families[0]
        verdict: Verdict = "void" if is_void else verdict_of(first, row)
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
            trace="",
            trace_host="",
            unanimous=verdict in ("met", "not run") and row.name in self.unanimous,
        )


def _ending_in(column: Column, observations: Iterable[Observation], is_void: bool) -> str:
    """Returns the ending in a column as its cells count it.

    It is "void" on a void host, "mixed" if trials disagree, and "" if the host has none.
    """
    families = column.families.split(" and ")
    found = [o for o in observations if FAMILY_NAMES[o.family] in families]
    if not found:
        return ""
    if is_void:
        return "void"
    # The families of a column agree on each host.
    return "mixed" if found[-1].is_mixed else found[-1].ending


def _reasons_not_run(host: Audited) -> tuple[str, ...]:
    """Returns the reasons why scenarios were not run on a host, each once; () on a void host."""
    if host.void:
        return ()
    return tuple(dict.fromkeys(o.reason for o in host.observations if o.ending == "not run"))


def _tally(rows: Iterable[VerdictRow]) -> tuple[tuple[Verdict, int], ...]:
    """Returns (verdict, rows) of the verdicts worth noting, worst first."""
    counts = Counter(row.verdict for row in rows)
    return tuple((verdict, counts[verdict]) for verdict in _NOTABLE if verdict in counts)


def _member(hosts: Sequence[Audited]) -> Member:
    """Returns hosts that differ in nothing as one member; all of them are named."""
    first = hosts[0]
    return Member(
        hosts=fold_hosts((host.name for host in hosts), limit=len(hosts)),
        groups=first.groups,
        system=system_name(first),
        probe=first.program,
        python=first.python,
        notes=first.notes,
        findings=view_findings(first.findings),
    )


def view_findings(findings: Iterable[Finding]) -> tuple[HostFinding, ...]:
    """Returns the findings of a host as the page shows them."""
    return tuple((f.severity, f.id, f.expected, f.observed, f.waived, f.since) for f in findings)
