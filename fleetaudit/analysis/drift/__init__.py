"""What changed between two runs, and since when: regressions, fixes, and what nobody can tell any
more. Pure.

Rules:
- A regression was met before and is not met now, both told. What could not be told on either side
  is no regression by itself: it is “no longer told”, or “told again”.
- Both sides are measured by what is wanted now, so that an edited expectation does not look like a
  changed host.
- A name is one machine as long as no machine-id speaks against it: another id under the same name
  is a rebuilt host, said and not laid side by side; the same id under a name that is new is a
  renamed host, and is. An id that several hosts of a run share (clones of one image) says nothing,
  and names decide.
- Every host of either run is paired, rebuilt, gone or new, exactly once.
- Counters become rates over the time between the runs, and none where they began anew in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

import msgspec

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    AuditRun,
    Change,
    ChangeKind,
    Drift,
    Effect,
    HostResult,
    NotAudited,
    ResetRate,
)
from fleetaudit.text.json_schema import encode_json, json_schema_of

from .comparable import notes, refused
from .counter_rates import rates
from .host_diff import RunContext
from .host_pairs import pair_up
from .hosts import hosts_that_differ, on_host

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


def compute_drift(before: AuditRun, after: AuditRun) -> Drift:
    """Returns what changed from `before` to `after`, regressions first, then fixes, each in the
    order of the hosts.
    """
    drift = Drift(
        before=before.run.id, after=after.run.id, since=before.run.started, until=after.run.started
    )
    pairs = pair_up(before.hosts, after.hosts)
    if why := refused(before, after, pairs):
        return msgspec.structs.replace(drift, refused=why)
    ground = RunContext.of(before, after)
    changes = [change for pair in pairs.both for change in on_host(pair, ground)]
    changes += hosts_that_differ(pairs, before.run, after.run, ground)
    return msgspec.structs.replace(
        drift,
        hosts=len(pairs.both),
        notes=tuple(notes(before, after, pairs)),
        changes=_in_order(changes, after),
        rates=tuple(rates(pairs.both, before.run, after.run)),
    )


def set_first_seen(
    hosts: Iterable[HostResult], earlier: Sequence[AuditRun], today: str
) -> tuple[HostResult, ...]:
    """Returns `hosts` with each finding's `since`: the date that an earlier run has for it, else
    `today` (RFC 3339).

    `earlier` is newest first; of each host the newest that audited it decides, of one that was not
    audited the newest of all. A finding is the same where its id is, on the same machine.
    """
    hosts = tuple(hosts)
    known, newest = dict[str, dict[str, str]](), dict[str, dict[str, str]]()
    for run in earlier:
        for pair in pair_up(run.hosts, hosts).both:
            dates = {f.id: f.since or run.run.started[:10] for f in pair.before.findings}
            newest.setdefault(pair.after.name, dates)
            if isinstance(pair.before, Audited):
                known.setdefault(pair.after.name, dates)

    def one(host: HostResult) -> HostResult:
        if not host.findings:
            return host
        dates = (newest if isinstance(host, NotAudited) else known).get(host.name, {})
        findings = (msgspec.structs.replace(f, since=dates.get(f.id, today)) for f in host.findings)
        return msgspec.structs.replace(host, findings=tuple(findings))

    return tuple(map(one, hosts))


def encode(drift: Drift) -> bytes:
    """Returns a drift as JSON, with a line's end."""
    return encode_json(drift) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a drift, as `fleetaudit/schema/drift.schema.json` has it."""
    return json_schema_of(Drift, "fleetaudit-drift/1")


def _in_order(changes: Sequence[Change], after: AuditRun) -> tuple[Change, ...]:
    scenarios = {row.name: i for i, row in enumerate(after.scenarios)}

    def place(change: Change) -> tuple[int, int, int, int, str]:
        severity = -1 if change.severity is None else SEVERITIES.index(change.severity)
        name = (
            change.what.removeprefix("scenario:").rpartition("/")[0]
            if change.kind == "scenario"
            else ""
        )
        at = scenarios.get(name, len(scenarios))
        return _EFFECTS.index(change.effect), -severity, _KINDS.index(change.kind), at, change.what

    return tuple(sorted(changes, key=place))  # stable: hosts stay in the later run's order
