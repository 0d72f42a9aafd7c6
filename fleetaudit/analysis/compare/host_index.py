"""Makes one entry per selected host, for search, filters and the view of one host. Pure.

Rules: every host is in it exactly once, in inventory order, audited or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain

import msgspec

from fleetaudit.analysis.causes import is_command
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    Audited,
    Change,
    ChangeKind,
    Drift,
    Effect,
    Finding,
    HostResult,
    NotAudited,
    NotSelected,
    Severity,
)
from fleetaudit.text.phrases import surround

from .common import (
    BehaviourGroup,
    BuildKey,
    build_key,
    group_by,
    system_name,
)
from .comparison_input import ComparisonInput
from .findings import worst_open
from .profiles import view_findings
from .view_model import (
    HostChange,
    HostEntry,
    HostFinding,
    HostState,
    Production,
    SysctlRows,
)

_NO_PRODUCTION = Production(
    host="",
    anchor="",
    connections=None,
    aborts=None,
    per_thousand=None,
    uptime_days=None,
    unread_sockets=None,
    unread_bytes=None,
    partial=False,
)
"""Stands for the counters of a host that reported none."""


class _Lookups(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry needs besides its host, by the name of the host or the key of its build."""

    builds: Mapping[BuildKey, int]
    anchors: Mapping[str, str]
    production: Mapping[str, Production]
    changes: Mapping[str, Sequence[Change]]
    change_rows: Mapping[int, int]
    sysctls: Mapping[str, SysctlRows]
    rows: Mapping[str, tuple[int, ...]]
    unknown: frozenset[str]
    findings: Callable[[tuple[Finding, ...]], tuple[HostFinding, ...]] = msgspec.field(
        default_factory=lambda: once_per_object(view_findings)
    )
    worst: Callable[[tuple[Finding, ...]], Severity | None] = msgspec.field(
        default_factory=lambda: once_per_object(worst_open)
    )


def index_hosts(
    hosts: Iterable[HostResult],
    source: ComparisonInput,
    *,
    anchors: Mapping[str, str],
    production: Iterable[Production],
    sysctls: Mapping[str, SysctlRows],
    rows: Mapping[str, tuple[int, ...]],
    drift: Drift | None,
    change_rows: Mapping[int, int],
) -> tuple[HostEntry, ...]:
    """Returns one entry per host, in the order of `hosts`.

    `anchors` are those of profiles and causes by host name, `NOT_SELECTED` included: every host has
    one. `sysctls` are the rows of audited hosts by host name (`sysctls.rows_by_host`), and `rows`
    those of resets and services (`listed_rows.rows_by_host`). `drift` is
    None if the run was compared with no other; `change_rows` is the row of each of its changes by
    id().
    """
    lookups = _Lookups(
        builds={key: i for i, key in enumerate(source.builds)},
        anchors=anchors,
        production={counters.host: counters for counters in production},
        changes=_changes_by_host(drift),
        change_rows=change_rows,
        sysctls=sysctls,
        rows=rows,
        unknown=_hosts_with_unknown(source.groups),
    )
    return tuple(_entry(host, lookups) for host in hosts)


def _changes_by_host(drift: Drift | None) -> Mapping[str, Sequence[Change]]:
    """Returns the changes since the earlier run by host, {} without one."""
    if drift is None:
        return {}
    return group_by(drift.changes, lambda change: change.host)


def _hosts_with_unknown(groups: Iterable[BehaviourGroup]) -> frozenset[str]:
    """Returns the names of hosts with an inconclusive ending, or trials that disagree."""
    unknown = chain.from_iterable(group for group in groups if _has_unknown(group[0]))
    return frozenset(host.name for host in unknown)


def _has_unknown(host: Audited) -> bool:
    """Returns whether an ending is inconclusive, or trials disagree."""
    return any(o.ending == "inconclusive" or o.is_mixed for o in host.observations)


def _entry(host: HostResult, lookups: _Lookups) -> HostEntry:
    """Returns the entry of one host."""
    production = lookups.production.get(host.name, _NO_PRODUCTION)
    return HostEntry(
        name=host.name,
        state=_state(host, lookups),
        anchor=lookups.anchors[host.name],
        groups=host.groups,
        build=_build(host, lookups.builds),
        about=_about(host),
        findings=lookups.findings(host.findings),
        changes=_changes(lookups.changes.get(host.name, ()), lookups.change_rows),
        per_thousand=production.per_thousand,
        unread_sockets=production.unread_sockets,
        hint=host.hint,
        hint_is_command=is_command(host.hint),
        sysctls=lookups.sysctls.get(host.name),
        rows=lookups.rows.get(host.name, ()),
    )


def _build(host: HostResult, builds: Mapping[BuildKey, int]) -> int | None:
    """Returns the index of the kernel of a host, None if the host was not audited."""
    if not isinstance(host, Audited):
        return None
    return builds[build_key(host)]


def _changes(changes: Iterable[Change], rows: Mapping[int, int]) -> tuple[HostChange, ...]:
    """Returns the changes of one host as the page shows them, each with its row."""
    return tuple((*_texts(change), rows.get(id(change), -1)) for change in changes)


def _texts(change: Change) -> tuple[Effect, ChangeKind, str, str, str, str]:
    """Returns the texts of a change in the order of `HostChange`."""
    return change.effect, change.kind, change.what, change.before, change.after, change.since


def _about(host: HostResult) -> tuple[str, ...]:
    """Returns what is known of a host besides its kernel, or why it was not audited."""
    if isinstance(host, NotSelected):
        return (host.reason,)
    if isinstance(host, NotAudited):
        return (f"{host.stage}: {host.reason}",)
    return _facts(system_name(host), host.measured_by, host.isolation, host.notes, host.void)


@lru_cache(maxsize=1024)  # hosts of one build have the same
def _facts(
    system: str, measured_by: str, isolation: str, notes: tuple[str, ...], void: str
) -> tuple[str, ...]:
    """Returns what is known of an audited host besides its kernel."""
    facts = (
        system,
        measured_by,
        _measured_in(isolation),
        *notes,
        surround("void: ", void),
    )
    return tuple(filter(None, facts))


def _measured_in(isolation: str) -> str:
    """Returns the network namespace of the experiment, in words."""
    if isolation == "host":
        return "in the host’s namespace"
    return "in a private namespace"


def _state(host: HostResult, lookups: _Lookups) -> HostState:
    """Returns the state of a host.

    The first that applies is returned: not selected, not audited, void, the worst severity of the
    findings that are not waived, "unknown", "met".
    """
    if isinstance(host, NotSelected):
        return "not selected"
    if isinstance(host, NotAudited):
        return "not audited"
    if host.void:
        return "void"
    severity = lookups.worst(host.findings)
    if severity:
        return severity
    if host.name in lookups.unknown:
        return "unknown"
    return "met"
