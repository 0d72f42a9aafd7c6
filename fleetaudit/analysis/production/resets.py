"""Folds what hosts saw while they were watched into rows: program, port, reason, count, rate. Pure.

Rules:
- A program is its executable's path, wherever it runs: units and containers are listed, not rows of
  their own. "(deleted)" after the path is no part of it: an upgrade replaced the file.
- Port 0 stands for all ports that the kernel chose for connections of the program to others: each
  is another one, so they are one row.
- Equal runs give equal rows: the most resets first, then by program, port and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from msgspec import UNSET

from fleetaudit.analysis.groups import count_order, group
from fleetaudit.model import Audited, Owner, Resets, UnreadOwner, Watched
from fleetaudit.text.host_ranges import HostRanges, fold_hosts

from .model import (
    OTHER_PROGRAMS,
    HostResets,
    NotWatched,
    ProgramPort,
    ResetRow,
    UnreadRow,
    WatchedHost,
    WatchTable,
)

MOST_PEERS = 32
_DELETED = " (deleted)"
_REST = Owner(command="other")
"""The owner of a row that a probe has for all programs that have no room for one of their own."""


def rows_if_watched(host: Audited) -> tuple[HostResets, ...] | None:
    """Returns the rows of a host, None if it was not to be watched, or could not be."""
    if host.watch is UNSET or host.watch.problem:
        return None
    return host_resets(host.watch)


def watch_table(audited: Iterable[Audited]) -> WatchTable:
    """Returns who resets on the hosts of a run that were to be watched.

    A host that could not be watched is in `not_watched` only. The time of the watch, the counts and
    the texts are the hosts' own.
    """
    asked = [(host.name, host.watch) for host in audited if host.watch is not UNSET]
    seen = [(name, watched) for name, watched in asked if not watched.problem]
    failed = [(name, watched) for name, watched in asked if watched.problem]
    hosts = tuple(
        WatchedHost(host=name, watched=watched, rows=host_resets(watched)) for name, watched in seen
    )
    return WatchTable(
        asked=len(asked),
        hosts=hosts,
        rows=_fleet_rows(hosts),
        unread=_unread_rows(seen),
        has_unread=any(watched.unread is not None for _, watched in seen),
        not_watched=_not_watched(failed),
        notes=_notes(seen),
    )


# ---- one host


def host_resets(watched: Watched) -> tuple[HostResets, ...]:
    """Returns the rows of one host, those with most resets first."""
    groups = group(((_program(each), each.reason), each) for each in watched.resets)
    rows = [_host_row(watched, *key, found) for key, found in groups.items()]
    return tuple(sorted(rows, key=_order))


def _program(found: Resets | UnreadOwner) -> ProgramPort:
    """Returns the program and the port of a row that a host reports."""
    return ProgramPort(_executable(found.owner), found.port or None)


def _executable(owner: Owner) -> str:
    """Returns the path of a program, or else the kernel's name of its task."""
    if owner == _REST:
        return OTHER_PROGRAMS
    return owner.executable.removesuffix(_DELETED) or owner.command


def _host_row(
    watched: Watched, program: ProgramPort, reason: str, found: Sequence[Resets]
) -> HostResets:
    """Returns one row of a host; `found` are its resets of each owner and port."""
    count = sum(map(attrgetter("count"), found))
    return HostResets(
        program=program,
        reason=reason,
        count=count,
        per_minute=_per_minute(count, watched.seconds),
        units=_unique(map(attrgetter("owner.unit"), found)),
        namespaces=_unique(map(attrgetter("owner.namespace"), found)),
        peers=_peers(found),
    )


def _per_minute(count: int, seconds: float) -> float | None:
    """Returns a count as a rate, None for a watch without a length."""
    return 60 * count / seconds if seconds > 0 else None


def _peers(found: Iterable[Resets | HostResets]) -> dict[str, int]:
    """Returns the networks of peers with their counts, the largest first."""
    peers = Counter[str]()
    for each in found:
        peers.update(each.peers)
    return dict(sorted(peers.items(), key=count_order)[:MOST_PEERS])


def _order(row: HostResets | ResetRow) -> tuple[int, str, int, str]:
    """Returns the key that sorts rows; ephemeral ports come after all others."""
    return -row.count, row.program.executable, _port_order(row.program), row.reason


def _port_order(program: ProgramPort) -> int:
    """Returns the number that sorts by port; ephemeral ports come after all others."""
    return 0x10000 if program.port is None else program.port


# ---- the fleet


def _fleet_rows(hosts: Iterable[WatchedHost]) -> tuple[ResetRow, ...]:
    """Returns the rows of all hosts, folded by program, port and reason."""
    groups = group(chain.from_iterable(map(_keyed_rows, hosts)))
    rows = [_fleet_row(*key, found) for key, found in groups.items()]
    return tuple(sorted(rows, key=_order))


class _RowOfHost(NamedTuple):
    """A row with its host."""

    host: WatchedHost
    row: HostResets


def _keyed_rows(host: WatchedHost) -> Iterator[tuple[tuple[ProgramPort, str], _RowOfHost]]:
    """Yields each row of a host with what it is folded by."""
    for row in host.rows:
        yield (row.program, row.reason), _RowOfHost(host, row)


def _fleet_row(program: ProgramPort, reason: str, found: Sequence[_RowOfHost]) -> ResetRow:
    """Returns one row of the fleet."""
    rates = [*filter(None, map(attrgetter("row.per_minute"), found))]
    names = tuple(map(attrgetter("host.host"), found))
    return ResetRow(
        program=program,
        reason=reason,
        count=sum(map(attrgetter("row.count"), found)),
        per_minute=sum(rates) if rates else None,
        is_partial=any(map(attrgetter("host.is_partial"), found)),
        units=_unique(chain.from_iterable(map(attrgetter("row.units"), found))),
        hosts=fold_hosts(names),
        namespaces=_unique(chain.from_iterable(map(attrgetter("row.namespaces"), found))),
        names=names,
        peers=_peers(map(attrgetter("row"), found)),
    )


def _unread_rows(seen: Iterable[tuple[str, Watched]]) -> tuple[UnreadRow, ...]:
    """Returns the sockets with unread data by program and port, most sockets first."""
    groups = group(chain.from_iterable(map(_keyed_unread, seen)))
    rows = [_unread_row(program, found) for program, found in groups.items()]
    return tuple(sorted(rows, key=_unread_order))


class _UnreadOfHost(NamedTuple):
    """Sockets with unread data, with the name of their host."""

    host: str
    unread: UnreadOwner


def _keyed_unread(seen: tuple[str, Watched]) -> Iterator[tuple[ProgramPort, _UnreadOfHost]]:
    """Yields the unread sockets of a host, each with what it is folded by."""
    name, watched = seen
    for each in watched.unread or ():
        yield _program(each), _UnreadOfHost(name, each)


def _unread_row(program: ProgramPort, found: Sequence[_UnreadOfHost]) -> UnreadRow:
    """Returns one row of sockets with unread data."""
    names = tuple(dict.fromkeys(map(attrgetter("host"), found)))
    return UnreadRow(
        program=program,
        sockets=sum(map(attrgetter("unread.sockets"), found)),
        bytes=sum(map(attrgetter("unread.bytes"), found)),
        units=_unique(map(attrgetter("unread.owner.unit"), found)),
        hosts=fold_hosts(names),
        names=names,
    )


def _unread_order(row: UnreadRow) -> tuple[int, int, str, int]:
    """Returns the key that sorts sockets with unread data."""
    return -row.sockets, -row.bytes, row.program.executable, _port_order(row.program)


def _not_watched(failed: Iterable[tuple[str, Watched]]) -> tuple[NotWatched, ...]:
    """Returns the hosts that could not be watched, by reason and hint, in order of appearance."""
    groups = group(((watched.problem, watched.hint), name) for name, watched in failed)
    return tuple(
        NotWatched(problem=problem, hint=hint, hosts=fold_hosts(names), names=tuple(names))
        for (problem, hint), names in groups.items()
    )


def _notes(seen: Iterable[tuple[str, Watched]]) -> tuple[tuple[str, HostRanges], ...]:
    """Returns the notes of the hosts, each once with its hosts."""
    groups = group(chain.from_iterable(map(_keyed_notes, seen)))
    return tuple((note, fold_hosts(names)) for note, names in groups.items())


def _keyed_notes(seen: tuple[str, Watched]) -> Iterator[tuple[str, str]]:
    """Yields each note of a host with the name of the host."""
    name, watched = seen
    for note in dict.fromkeys(watched.notes):
        yield note, name


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Returns the texts that are not empty, each once, sorted."""
    return tuple(sorted({*filter(None, texts)}))
