"""Who resets, as text for a terminal: over the fleet, and on one host.

Rules: pure, and plain text; text from hosts passes `terminal_line`. Rows that are not shown are
counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from msgspec import UNSET

from fleetaudit.analysis.production import (
    HostResets,
    ResetRow,
    UnreadRow,
    WatchedHost,
    WatchTable,
    at_least,
    describe_resets,
    on_hosts,
    watch_table,
)
from fleetaudit.model import Audited, Watched
from fleetaudit.text.phrases import agree, and_more, count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .text_lines import align, command_line, join_hosts, rest_line, wrap

MOST_ROWS = 12
MOST_PROGRAMS = 4
"""How many programs of a host are named in its line."""
MOST_UNITS = 3
_MOST_PATH, _MOST_REASON, _MOST_UNIT = 100, 40, 64
_METHODS = {"reason": "the tracepoint names the reasons", "stack": "reasons by the stack trace"}


def watch_lines(table: WatchTable, width: int) -> list[str]:
    """Returns who resets over the fleet, then on each host; [] if no host was to be watched."""
    if not table.asked:
        return []
    return [
        *wrap([f"Who resets: {_headline(table)}"], width),
        *_table(map(_fleet_row, table.rows[:MOST_ROWS])),
        *rest_line(len(table.rows) - MOST_ROWS, "more row"),
        *_hosts(table, width),
        *_unread(table.unread, width),
        *wrap(_notes(table), width, "  "),
    ]


def host_watch_lines(host: Audited, width: int) -> list[str]:
    """Returns what was seen while one host was watched; [] if it was not to be.

    A host that could not be watched has its reason, and its hint in a line of its own.
    """
    if host.watch is UNSET:
        return []
    if host.watch.problem:
        return _not_watched(host.watch, width)
    table = watch_table([host])
    rows = table.hosts[0].rows
    lines = wrap([f"Who resets: {_headline(table)}"], width)
    lines += _table(map(_host_row, rows))
    lines += wrap(_peers(rows), width, "      ")
    lines += _unread(table.unread, width)
    return [*lines, *wrap(_method(host.watch), width, "  ")]


def _not_watched(watched: Watched, width: int) -> list[str]:
    """Returns why a host could not be watched, and the next command to type."""
    lines = wrap([f"Not watched: {terminal_line(watched.problem, 400)}"], width)
    return [*lines, command_line("  next", watched.hint)] if watched.hint else lines


# ---- the first line


def _headline(table: WatchTable) -> str:
    """Returns how many resets there were on how many hosts, and where nobody knows.

    Of a run that watched one host, it does not say on how many.
    """
    failed = table.asked - len(table.hosts)
    unknown = surround("; ", failed, f" {agree(failed, 'host', 'hosts')} could not be watched")
    if not table.hosts:
        one, many = "the one host", f"none of {table.asked:,} hosts"
        verb = agree(failed, "could not be watched", "could be watched")
        return f"unknown, {agree(failed, one, many)} {verb}."
    return f"{describe_resets(table, 'reset')}{on_hosts(table)}{unknown}."


# ---- rows


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns a line per row, with its cells in columns."""
    return [line.rstrip() for line in align([*rows], "  ")]


def _fleet_row(row: ResetRow) -> tuple[str, ...]:
    """Returns program, port, reason, count, rate and hosts of a row of the fleet."""
    where = f"{join_hosts(row.hosts)}{surround('  (', _join_units(row.units), ')')}"
    return (
        *_subject(row),
        f"{at_least(row.is_partial)}{row.count:,}",
        _rate(row.per_minute),
        where,
    )


def _host_row(row: HostResets) -> tuple[str, ...]:
    """Returns program, port, reason, count, rate, units and namespaces of a row of a host."""
    where = ", ".join(filter(None, (_join_units(row.units), _join_units(row.namespaces))))
    return (*_subject(row), f"{row.count:,}", _rate(row.per_minute), where)


def _subject(row: ResetRow | HostResets) -> tuple[str, str, str]:
    """Returns the program, its port and the reason."""
    program = row.program
    path = terminal_line(program.executable, _MOST_PATH) or program.name
    return path, program.port_text, terminal_line(row.reason, _MOST_REASON)


def _rate(per_minute: float | None) -> str:
    """Returns a rate, "" if it is unknown."""
    return "" if per_minute is None else f"{per_minute:,.1f}/min"


def _join_units(units: Sequence[str]) -> str:
    """Returns the first units, and how many more there are."""
    named = ", ".join(terminal_line(unit, _MOST_UNIT) for unit in units[:MOST_UNITS])
    return named + and_more(len(units) - MOST_UNITS)


def _hosts(table: WatchTable, width: int) -> list[str]:
    """Returns a line for each host that resets, if there are several watched hosts."""
    hosts = [*filter(attrgetter("rows"), table.hosts)]
    if len(table.hosts) < 2 or not hosts:
        return []
    return [
        "By host:",
        *wrap(map(_host_line, hosts[:MOST_ROWS]), width, "  "),
        *rest_line(len(hosts) - MOST_ROWS, "more host"),
    ]


def _host_line(host: WatchedHost) -> str:
    """Returns the programs of one host: "web1: haproxy:8443 30 (unread data)"."""
    named = ", ".join(map(_program, host.rows[:MOST_PROGRAMS]))
    return f"{terminal_line(host.host)}: {named}{and_more(len(host.rows) - MOST_PROGRAMS)}"


def _program(row: HostResets) -> str:
    """Returns one program of a host with its resets."""
    name = terminal_line(str(row.program), _MOST_PATH)
    return f"{name} {row.count:,} ({terminal_line(row.reason, _MOST_REASON)})"


def _peers(rows: Iterable[HostResets]) -> Iterator[str]:
    """Yields the networks of the peers of each row that has some."""
    for row in rows:
        if row.peers:
            counts = (f"{terminal_line(name, 64)} {n:,}" for name, n in row.peers.items())
            yield f"peers of {terminal_line(str(row.program), _MOST_PATH)}: {', '.join(counts)}"


# ---- what else was seen


def _unread(rows: Sequence[UnreadRow], width: int) -> list[str]:
    """Returns the programs whose sockets hold unread data."""
    if not rows:
        return []
    return [
        "Unread data now; a close, as by a restart of the program, resets the peers:",
        *wrap(map(_unread_row, rows[:MOST_ROWS]), width, "  "),
        *rest_line(len(rows) - MOST_ROWS, "more row"),
    ]


def _unread_row(row: UnreadRow) -> str:
    """Returns one program with its sockets, bytes and hosts."""
    name = terminal_line(str(row.program), _MOST_PATH)
    counts = f"{count_noun(row.sockets, 'socket')}, {count_noun(row.bytes, 'byte')}"
    return f"{name}: {counts}: {join_hosts(row.hosts)}"


def _notes(table: WatchTable) -> Iterator[str]:
    """Yields the notes of the hosts."""
    for note, hosts in table.notes[:MOST_ROWS]:
        yield f"{terminal_line(note, 400)}: {join_hosts(hosts)}"


def _method(watched: Watched) -> Iterator[str]:
    """Yields how one host was watched, how its counter moved, and its notes."""
    how = surround("by ", watched.method), _METHODS.get(watched.told_by, "")
    yield surround("watched ", ", ".join(filter(None, how)))
    if watched.aborts_on_close is not None:
        yield f"TCPAbortOnClose moved by {watched.aborts_on_close:,}"
    for note in watched.notes:
        yield terminal_line(note, 400)
