"""What changed between two runs, and since when: regressions, fixes, and what is unknown now. Pure.

Rules:
- A regression was met before and is not met now, and both are known. What is unknown in one of the
  runs is no regression by itself: its effect is “no longer told” or “told again”.
- Both runs are judged by the present expectation, so that an edited expectation does not look like
  a changed host.
- A name is one machine unless a machine-id contradicts it: another id under the same name is a
  rebuilt host, which is reported and not compared; the same id under a new name is a renamed host,
  which is compared. An id that several hosts of a run share (clones of one image) does not count,
  and names decide.
- Every host of either run is paired, rebuilt, gone or new, exactly once.
- Counters become rates over the time between the runs; there is no rate if they were reset in
  between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, get_args

import msgspec

from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    SEVERITIES,
    Audited,
    AuditRun,
    Change,
    ChangeKind,
    Drift,
    Effect,
    Finding,
    HostResult,
    NotAudited,
    ResetRate,
)
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of

from .comparable import comparison_notes, why_not_comparable
from .counter_rates import reset_rates
from .host_changes import HostChanges, unpaired_changes
from .host_diff import RunContext
from .host_pairs import pair_hosts

__all__ = [
    "Change",
    "Drift",
    "ResetRate",
    "compute_drift",
    "encode",
    "json_schema",
    "set_first_seen",
]

_EFFECTS: tuple[Effect, ...] = get_args(Effect)
_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
_Findings = tuple[Finding, ...]
_Dates = Mapping[str, str]
_NO_DATES: _Dates = {}


def compute_drift(before: AuditRun, after: AuditRun) -> Drift:
    """Returns what changed from `before` to `after`, regressions first, then fixes, each in the
    order of the hosts.

    `hosts` counts the hosts that were compared, and `notes` are sentences about what a reader must
    know, such as another limit. `rates` are the resets of production in between. If the two runs
    cannot be compared, `refused` says why ("the two runs have no host in common"), and there are no
    changes. Both runs are judged by the expectations of `after`.
    """
    drift = Drift(
        before=before.run.id, after=after.run.id, since=before.run.started, until=after.run.started
    )
    pairs = pair_hosts(before.hosts, after.hosts)
    if reason := why_not_comparable(before, after, pairs):
        return msgspec.structs.replace(drift, refused=reason)
    context = RunContext.of(before, after)
    changes = list[Change]()
    changes_of = HostChanges(context)
    for pair in pairs.both:
        changes += changes_of.of(pair)
    changes += unpaired_changes(pairs, before.run, after.run, context)
    return msgspec.structs.replace(
        drift,
        hosts=len(pairs.both),
        notes=tuple(comparison_notes(before, after, pairs)),
        changes=_in_order(changes, after),
        rates=tuple(reset_rates(pairs.both, before.run, after.run)),
    )


def set_first_seen(
    hosts: Iterable[HostResult], earlier: Sequence[AuditRun], today: str
) -> tuple[HostResult, ...]:
    """Returns `hosts` with each finding's `since`: the date of an earlier run, or else `today` (RFC
    3339).

    `earlier` is newest first. The newest run that audited a host decides; for a host that was not
    audited, the newest run. A finding is the same if its id is, on the same machine.
    """
    hosts = tuple(hosts)
    dates = _earlier_dates(hosts, earlier)
    shared = dict[_Findings, _Findings]()

    def date_findings(findings: _Findings, since: _Dates) -> _Findings:
        dated = tuple(_with_date(finding, since.get(finding.id, today)) for finding in findings)
        return shared.setdefault(dated, dated)

    date_once = once_per_object(date_findings)
    return tuple(_with_findings(host, date_once(host.findings, dates.of(host))) for host in hosts)


class _EarlierDates(NamedTuple):
    """The dates of findings, by host and by id.

    `newest` are those of the newest run that has the host, `newest_audited` those of the newest run
    that audited it.
    """

    newest: dict[str, _Dates]
    newest_audited: dict[str, _Dates]

    def of(self, host: HostResult) -> _Dates:
        """Returns the dates for a host by id: of runs that audited it, if it is audited now."""
        dates = self.newest if isinstance(host, NotAudited) else self.newest_audited
        return dates.get(host.name, _NO_DATES)


def _earlier_dates(hosts: Sequence[HostResult], earlier: Sequence[AuditRun]) -> _EarlierDates:
    """Returns the dates of the findings of earlier runs; `earlier` is newest first."""
    newest, newest_audited = found = _EarlierDates({}, {})
    for run in earlier:
        dates_of = once_per_object(partial(_dates, run.run.started[:10]))
        for pair in pair_hosts(run.hosts, hosts).both:
            dates = dates_of(pair.before.findings)
            newest.setdefault(pair.after.name, dates)
            if isinstance(pair.before, Audited):
                newest_audited.setdefault(pair.after.name, dates)
    return found


def _dates(of_run: str, findings: Iterable[Finding]) -> _Dates:
    """Returns since when each finding of a host is known, by id; `of_run` if it has no date."""
    return {finding.id: finding.since or of_run for finding in findings}


def _with_date(finding: Finding, since: str) -> Finding:
    """Returns a finding with its date, the same one if it has that date already."""
    if finding.since == since:
        return finding
    return msgspec.structs.replace(finding, since=since)


def _with_findings(host: HostResult, findings: _Findings) -> HostResult:
    """Returns a host with other findings, the same host if it has these objects already."""
    if findings is host.findings:
        return host
    return msgspec.structs.replace(host, findings=findings)


def encode(drift: Drift) -> bytes:
    """Returns a drift as JSON, with a line feed at the end."""
    return escape_json(encode_json(drift)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a drift, as in `fleetaudit/schema/drift.schema.json`."""
    return json_schema_of(Drift, "fleetaudit-drift/1")


def _in_order(changes: Sequence[Change], after: AuditRun) -> tuple[Change, ...]:
    """Returns changes by effect, severity, kind and scenario.

    Of one effect the most severe come first and those without a severity last. Scenarios are in the
    order of the later run. Equal ones stay in the order of the later run's hosts.
    """
    order = {row.name: i for i, row in enumerate(after.scenarios)}

    def sort_key(change: Change) -> tuple[int, int, int, int, str]:
        severity = SEVERITIES.index(change.severity) if change.severity else -1
        scenario = order.get(_scenario_name(change), len(order))
        effect, kind = _EFFECTS.index(change.effect), _KINDS.index(change.kind)
        return effect, -severity, kind, scenario, change.what

    return tuple(sorted(changes, key=sort_key))


def _scenario_name(change: Change) -> str:
    """Returns the name of the scenario that a change is about, "" for other changes.

    That of "scenario:unread-close/ipv4" is "unread-close".
    """
    if change.kind != "scenario":
        return ""
    return change.what.removeprefix("scenario:").rpartition("/")[0]
