"""Makes the view of who resets from the table of all hosts. Pure.

Rules: a number is "at least" if something was lost or not read. Of a host that
could not be watched, only the reason and the next command are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from operator import attrgetter

from fleetaudit.analysis.causes import is_command
from fleetaudit.analysis.production import (
    NotWatched,
    ProgramPort,
    ResetRow,
    UnreadRow,
    WatchTable,
    at_least,
    describe_resets,
    on_hosts,
)
from fleetaudit.analysis.remediation import RESET_MEANINGS, RESET_REMEDIES
from fleetaudit.model import UNREAD_DATA, Watched
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.phrases import agree, and_more, count_noun, surround

from .listed_rows import list_hosts, name_first
from .sentences import linked_number, make_sentence
from .view_model import (
    ListedHosts,
    NotWatchedLine,
    ReasonCure,
    ResetLine,
    ResetsView,
    Sentence,
    TextPart,
    UnreadLine,
)

MOST_LINES = 50
MOST_UNREAD = 20
MOST_PROBLEMS = 12
MOST_NOTES = 12
OTHER = "other"


def view_resets(table: WatchTable) -> ResetsView | None:
    """Returns who resets, None if no host was to be watched."""
    if not table.asked:
        return None
    rows, unread = table.rows[:MOST_LINES], table.unread[:MOST_UNREAD]
    failed = table.not_watched[:MOST_PROBLEMS]
    reset_hosts = list_hosts(rows, [*map(_reset_texts, rows)], "resets")
    unread_hosts = list_hosts(unread, [*map(_program_texts, unread)], "unreadby")
    failed_hosts = list_hosts(failed, [(row.problem, row.hint) for row in failed], "unwatched")
    most = max(map(attrgetter("count"), rows), default=0)
    return ResetsView(
        headline=_headline(table),
        qualifiers=tuple(_qualifiers([host.watched for host in table.hosts])),
        lines=tuple(_line(row, most, at) for row, at in zip(rows, reset_hosts, strict=True)),
        more_lines=len(table.rows) - len(rows),
        unread=tuple(map(_unread_line, unread, unread_hosts)),
        more_unread=len(table.unread) - len(unread),
        has_unread=table.has_unread,
        cures=tuple(map(_cure, dict.fromkeys(map(_known_reason, rows)))),
        not_watched=tuple(map(_not_watched_line, failed, failed_hosts)),
        more_not_watched=len(table.not_watched) - len(failed),
        notes=tuple(starmap(_note, table.notes[:MOST_NOTES])),
    )


# ---- the first sentence


def _headline(table: WatchTable) -> Sentence:
    """Returns how many resets there were on how many hosts, and of how many nobody knows."""
    if not table.hosts:
        return make_sentence(_unknown_hosts(table), ".")
    resets = describe_resets(table, "reset")
    return make_sentence(resets, on_hosts(table), *and_unknown_hosts(table), ".")


def and_unknown_hosts(table: WatchTable) -> tuple[str | TextPart, ...]:
    """Returns how many hosts could not be watched after other hosts, () if there are none."""
    return ("; ", _unknown_hosts(table)) if table.not_watched else ()


def _unknown_hosts(table: WatchTable) -> TextPart:
    """Returns how many hosts could not be watched."""
    failed = count_noun(table.asked - len(table.hosts), "host")
    return linked_number(f"{failed} could not be watched", "not-watched")


# ---- what the numbers are worth


def _qualifiers(seen: Sequence[Watched]) -> Iterator[str]:
    """Yields what the kernels counted themselves, and what is missing in the counts."""
    known = [watched for watched in seen if watched.aborts_on_close is not None]
    if known:
        yield _compare_with_kernel(known, len(seen) - len(known))
    stack = sum(watched.told_by == "stack" for watched in seen)
    if stack:
        hosts = count_noun(stack, "host")
        yield f"On {hosts} the reasons come from stack traces: this kernel does not say them."
    sampled, lost = sum(watched.sampled for watched in seen), sum(map(attrgetter("lost"), seen))
    if sampled:
        hosts = count_noun(sampled, "host")
        yield f"On {hosts} there were too many resets to read all: the counts are a part of them."
    if lost:
        yield f"{count_noun(lost, 'event was', 'events were')} lost before they could be read."


def _compare_with_kernel(known: Sequence[Watched], unknown: int) -> str:
    """Returns the resets for unread data that the kernels counted, and how many are named.

    The counter is that of the host's own network namespace, so resets in others do not count here.
    """
    counted = sum(watched.aborts_on_close or 0 for watched in known)
    named = sum(map(_named_in_own_namespace, known))
    unread = f" The counter could not be read on {count_noun(unknown, 'host')}." * bool(unknown)
    are_named = f"{named:,} {agree(named, 'is', 'are')} named"
    more = f"and {are_named}: some may be those of other namespaces"
    parts = {True: f"of which {are_named}", False: more}
    return (
        f"In the {agree(len(known), 'host’s', 'hosts’')} own network"
        f" {agree(len(known), 'namespace', 'namespaces')} the kernel counted {counted:,} for unread"
        f" data (TCPAbortOnClose), {parts[named <= counted]}.{unread}"
    )


def _named_in_own_namespace(watched: Watched) -> int:
    """Returns how many resets for unread data are named in the host's own network namespace."""
    own = [of for of in watched.resets if of.reason == UNREAD_DATA and not of.owner.namespace]
    return sum(of.count for of in own)


# ---- rows


def _reset_texts(row: ResetRow) -> tuple[str, str]:
    """Returns the names of a row, the second with the path of its program."""
    short, long = _program_texts(row)
    return f"{short} {row.reason}", f"{long} {row.reason}"


def _program_texts(row: ResetRow | UnreadRow) -> tuple[str, str]:
    """Returns the names of a program: "haproxy:8443", "/usr/sbin/haproxy:8443"."""
    return str(row.program), f"{row.program.executable}:{row.program.port_text}"


def _line(row: ResetRow, most: int, at: ListedHosts) -> ResetLine:
    """Returns one row of resets; `most` is the largest count of all rows."""
    return ResetLine(
        program=_path(row.program),
        port=row.program.port_text,
        reason=row.reason,
        count=f"{at_least(row.is_partial)}{row.count:,}",
        share=row.count / max(most, 1),
        rate="unknown" if row.per_minute is None else f"{row.per_minute:,.1f}",
        units=name_first(row.units),
        namespaces=name_first([*map(_namespace_number, row.namespaces)]),
        peers=name_first([f"{network} ({count:,})" for network, count in row.peers.items()]),
        at=at,
    )


def _namespace_number(name: str) -> str:
    """Returns the number of a network namespace as lsns prints it: "4026531840"."""
    return name.removeprefix("net:[").removesuffix("]")


def _path(program: ProgramPort) -> str:
    """Returns the path of a program, or the words for one that nobody knows."""
    return program.executable or program.name


def _unread_line(row: UnreadRow, at: ListedHosts) -> UnreadLine:
    """Returns the sockets of one program that hold unread data."""
    return UnreadLine(
        program=_path(row.program),
        port=row.program.port_text,
        sockets=row.sockets,
        bytes=row.bytes,
        units=name_first(row.units),
        effect=_effect_of_close(row),
        at=at,
    )


def _effect_of_close(row: UnreadRow) -> str:
    """Returns what a close of the sockets does: "a restart of haproxy resets 3 connections".

    A socket without a known program may be one that nobody has accepted yet.
    """
    connections = count_noun(row.sockets, "connection")
    if row.program.executable:
        return f"a restart of {row.program.name} resets {connections}"
    verb = agree(row.sockets, "it waits", "they wait")
    return f"a close resets {connections}; perhaps {verb} in an accept queue"


def _not_watched_line(row: NotWatched, at: ListedHosts) -> NotWatchedLine:
    """Returns hosts that could not be watched for one reason."""
    return NotWatchedLine(
        problem=row.problem, hint=row.hint, is_command=is_command(row.hint), at=at
    )


def _known_reason(row: ResetRow) -> str:
    """Returns the reason of a row, "other" for one that only its host knows."""
    return row.reason if row.reason in RESET_REMEDIES else OTHER


def _cure(reason: str) -> ReasonCure:
    """Returns what helps against resets of a known reason."""
    return ReasonCure(reason=reason, meaning=RESET_MEANINGS[reason], text=RESET_REMEDIES[reason])


def _note(note: str, hosts: HostRanges) -> str:
    """Returns a sentence of hosts, with their names."""
    return f"{note}{surround(': ', ', '.join(hosts.ranges))}{and_more(hosts.more)}"
