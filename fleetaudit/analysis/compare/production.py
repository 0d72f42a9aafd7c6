"""The counters of hosts since boot: resets on close, and sockets with unread data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleetaudit.model import Audited, Exposure

from .view_model import Production


def rank_production(hosts: Iterable[Audited], anchors: Mapping[str, str]) -> tuple[Production, ...]:
    """Returns the counters of the hosts that reported them, most aborts per connection first.

    `anchors` are those of the profiles, by the name of the host. Hosts with an unknown rate come
    last. The counters are those of /proc/net/netstat and /proc/net/snmp since boot.
    """
    found = [
        _production(host, host.exposure, anchors[host.name])
        for host in hosts
        if host.exposure is not None
    ]
    return tuple(sorted(found, key=_order))


def _production(host: Audited, exposure: Exposure, anchor: str) -> Production:
    """Returns the counters of one host."""
    connections = _connections(exposure.counters)
    aborts = exposure.counters.get("TCPAbortOnClose")
    sockets, unread_bytes, partial = _unread(exposure)
    return Production(
        host=host.name,
        anchor=anchor,
        connections=connections,
        aborts=aborts,
        per_thousand=_per_thousand(aborts, connections),
        uptime_days=_uptime_days(exposure),
        unread_sockets=sockets,
        unread_bytes=unread_bytes,
        partial=partial,
    )


def _unread(exposure: Exposure) -> tuple[int | None, int | None, bool]:
    """Returns sockets and bytes that are unread, and whether there are more than were counted.

    Without a report of the sockets it is (None, None, False).
    """
    unread = exposure.unread_sockets
    if unread is None:
        return None, None, False
    return unread.sockets, unread.bytes, unread.partial


def _connections(counters: Mapping[str, int]) -> int | None:
    """Returns the connections that were opened and accepted, None if one number is missing.

    The numbers are ActiveOpens and PassiveOpens.
    """
    try:
        return counters["ActiveOpens"] + counters["PassiveOpens"]
    except KeyError:
        return None


def _per_thousand(aborts: int | None, connections: int | None) -> float | None:
    """Returns the aborts per 1,000 connections, None if unknown.

    It is also unknown without connections, and with fewer of them than aborts.
    """
    if aborts is None or not connections or aborts > connections:
        return None
    return 1000 * aborts / connections


def _uptime_days(exposure: Exposure) -> float | None:
    """Returns the time since boot in days, None if unknown."""
    if exposure.uptime_s is None:
        return None
    return exposure.uptime_s / 86400


def _order(production: Production) -> tuple[float, int]:
    """Sorts by aborts, then by sockets; the sort is stable, so equals stay in inventory order.

    A rate is negated, so 1.0 comes after every known rate.
    """
    sockets = production.unread_sockets or 0
    if production.per_thousand is None:
        return 1.0, -sockets
    return -production.per_thousand, -sockets
