"""The view of who resets: the programs, what the kernel counted, and what helps."""

from __future__ import annotations

import msgspec

from .listed import ListedHosts
from .summary import Sentence


class ResetLine(msgspec.Struct, frozen=True, kw_only=True):
    """The resets of one program, port and reason.

    `count` is the number as text, "at least 40" if some are not counted; `share` is its part of the
    largest count, from 0 to 1. `units`, `namespaces` and `peers`, the networks of peers with their
    counts, are the first ones, with their number if some are left out.
    """

    program: str
    port: str
    reason: str
    count: str
    share: float
    rate: str
    units: tuple[str, ...]
    namespaces: tuple[str, ...]
    peers: tuple[str, ...]
    at: ListedHosts


class UnreadLine(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets of one program and port with unread data; `effect` says what a close does."""

    program: str
    port: str
    sockets: int
    bytes: int
    units: tuple[str, ...]
    effect: str
    at: ListedHosts


class NotWatchedLine(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that could not be watched; `hint` is what to do next, typed if `is_command`."""

    problem: str
    hint: str
    is_command: bool
    at: ListedHosts


class ReasonCure(msgspec.Struct, frozen=True, kw_only=True):
    """What the resets of one reason mean, and what helps against them."""

    reason: str
    meaning: str
    text: str


class ResetsView(msgspec.Struct, frozen=True, kw_only=True):
    """Who resets. What is not listed is counted by the `more_…` fields.

    `headline` has the numbers of the whole, `qualifiers` are sentences about what they are worth:
    the kernel's own count, and what was lost or not read. `notes` are sentences of hosts, each with
    its hosts as text.
    """

    headline: Sentence
    qualifiers: tuple[str, ...]
    lines: tuple[ResetLine, ...]
    more_lines: int
    unread: tuple[UnreadLine, ...]
    more_unread: int
    has_unread: bool
    cures: tuple[ReasonCure, ...]
    not_watched: tuple[NotWatchedLine, ...]
    more_not_watched: int
    notes: tuple[str, ...]
