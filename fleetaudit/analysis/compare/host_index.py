"""Every selected host in a line, for search, filters and one host's own page. Pure.

Rules: a host is in it exactly once, in inventory order, audited or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleetaudit.analysis.causes import is_command
from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Change,
    Drift,
    HostResult,
    NotAudited,
    NotSelected,
)

from .common import (
    Alike,
    BuildKey,
    build_key,
    grouped,
    system_of,
)
from .hosts import findings_words
from .view_model import HostLine, HostState, Production


def hosts_of(
    hosts: Iterable[HostResult],
    *,
    builds: Iterable[BuildKey],
    anchors: Mapping[str, str],
    felt: Iterable[Production],
    alike: Iterable[Alike],
    drift: Drift | None,
) -> tuple[HostLine, ...]:
    """Returns a line a host; `anchors` are those of profiles and causes by the hosts' names,
    `alike` the audited hosts by their behaviour.
    """
    places = {key: i for i, key in enumerate(builds)}
    told = {p.host: p for p in felt}
    untold = {h.name for hosts in alike if _untold(hosts[0]) for h in hosts}
    changed = grouped(drift.changes if drift else (), lambda change: change.host)
    return tuple(
        _line(
            host,
            places,
            anchors[host.name],
            told.get(host.name),
            changed.get(host.name, ()),
            host.name in untold,
        )
        for host in hosts
    )


def _line(
    host: HostResult,
    places: Mapping[BuildKey, int],
    anchor: str,
    told: Production | None,
    changes: Iterable[Change],
    untold: bool,
) -> HostLine:
    build: int | None = None
    about: tuple[str, ...]
    state: HostState
    if isinstance(host, NotSelected):
        about, state = (host.reason,), "not selected"
    elif isinstance(host, NotAudited):
        about, state = (f"{host.stage}: {host.reason}",), "not audited"
    else:
        measured = (
            "in the host’s namespace" if host.isolation == "host" else "in a private namespace"
        )
        about = (
            system_of(host),
            f"Python {host.python}" if host.python else "",
            measured,
            *host.notes,
        )
        if host.void:
            about += (f"void: {host.void}",)
        build, state = places[build_key(host)], _state(host, untold)
    return HostLine(
        name=host.name,
        state=state,
        anchor=anchor,
        groups=host.groups,
        build=build,
        about=tuple(filter(None, about)),
        findings=findings_words(host),
        changes=tuple((c.effect, c.kind, c.what, c.before, c.after, c.since) for c in changes),
        per_thousand=told.per_thousand if told else None,
        unread_sockets=told.unread_sockets if told else None,
        hint=host.hint,
        typed=is_command(host.hint),
    )


def _untold(host: Audited) -> bool:
    return any(o.ending == "inconclusive" or len(o.endings) > 1 for o in host.observations)


def _state(host: Audited, untold: bool) -> HostState:
    if host.void:
        return "void"
    open_ = [f.severity for f in host.findings if f.waived is None]
    if open_:
        return max(open_, key=SEVERITIES.index)
    return "untold" if untold else "met"
