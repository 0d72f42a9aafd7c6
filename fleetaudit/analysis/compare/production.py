"""The counters of hosts since boot: resets on close, and sockets with unread data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleetaudit.model import Audited, Exposure

from .view_model import Production


def rank_production(hosts: Iterable[Audited], anchors: Mapping[str, str]) -> tuple[Production, ...]:
    """Returns the counters of the hosts that reported them, most aborts per connection first.

    `anchors` are those of the profiles, by the name of the host.
    """
    found = [_production(host, anchors[host.name]) for host in hosts]
    return tuple(sorted(filter(None, found), key=_order))


def _production(host: Audited, anchor: str) -> Production | None:
    """Returns the counters of one host, None if it reported none."""
    exposure = host.exposure
    if exposure is None:
        return None
    unread = exposure.unread_sockets
    connections = _connections(exposure.counters)
    aborts = exposure.counters.get("TCPAbortOnClose")
    return Production(
        host=host.name,
        anchor=anchor,
        connections=connections,
        aborts=aborts,
        per_thousand=_per_thousand(aborts, connections),
        uptime_days=_uptime_days(exposure),
        unread_sockets=unread.sockets if unread else None,
        unread_bytes=unread.bytes if unread else None,
        partial=bool(unread and unread.partial),
    )


def _connections(counters: Mapping[str, int]) -> int | None:
    """Returns the connections that were opened and accepted, None if one number is missing."""
    try:
        return counters["ActiveOpens"] + counters["PassiveOpens"]
    except KeyError:
        return None


def _per_thousand(aborts: int | None, connections: int | None) -> float | None:
    """Returns the aborts per 1,000 connections, None if unknown."""
    if aborts is None or not connections:
        return None
    return 1000 * aborts / connections


def _uptime_days(exposure: Exposure) -> float | None:
    """Returns the time since boot in days, None if unknown."""
    return None if exposure.uptime_s is None else exposure.uptime_s / 86400


def _order(production: Production) -> tuple[float, int]:
    """Sorts by aborts, then by sockets; the sort is stable, so equals stay in inventory order."""
    rate = -1.0 if production.per_thousand is None else production.per_thousand
    return -rate, -(production.unread_sockets or 0)
