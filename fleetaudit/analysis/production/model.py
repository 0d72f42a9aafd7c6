"""The rows of "Who resets": per program over the fleet, and per host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fleetaudit.model import Watched
from fleetaudit.model.base import Frozen
from fleetaudit.text.host_ranges import HostRanges

UNKNOWN_PROGRAM = "unknown program"
OTHER_PROGRAMS = "other programs"
"""Those for which a host's reply had no room."""
EPHEMERAL = "ephemeral"


class ProgramPort(NamedTuple):
    """A program and one of its local ports: what a reset is counted by.

    `executable` is its path; the kernel's name of its task if the path is unknown, "" if both are.
    `port` is None for the ports that the kernel gave its connections to others.
    """

    executable: str
    port: int | None

    @property
    def name(self) -> str:
        """The program without its folder: "haproxy"."""
        return self.executable.rpartition("/")[2] or UNKNOWN_PROGRAM

    @property
    def port_text(self) -> str:
        """The port as text: "8443", or "ephemeral"."""
        return EPHEMERAL if self.port is None else str(self.port)

    def __str__(self) -> str:
        """Returns the program and its port: "haproxy:8443", "curl:ephemeral"."""
        return f"{self.name}:{self.port_text}"


class HostResets(Frozen, frozen=True, kw_only=True):
    """The resets of one program, port and reason on one host.

    `per_minute` is None if the watch has no length. `units` are systemd units and containers,
    `namespaces` the network namespaces other than the host's own. `peers` are networks with their
    counts.
    """

    program: ProgramPort
    reason: str
    count: int
    per_minute: float | None
    units: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    peers: Mapping[str, int] = {}


class WatchedHost(Frozen, frozen=True, kw_only=True):
    """One host that was watched: its rows, those with most resets first.

    `watched` has what the rows do not: how long, how, what was lost, and the notes. If
    `is_partial`, each count is at least that: some events were lost or not read.
    """

    host: str
    watched: Watched
    rows: tuple[HostResets, ...]

    @property
    def is_partial(self) -> bool:
        """Whether there were more resets than the rows have."""
        return self.watched.is_partial


class ResetRow(Frozen, frozen=True, kw_only=True):
    """The resets of one program, port and reason over the fleet.

    `per_minute` is the sum of the hosts' rates, None if none is known. If `is_partial`, `count` and
    `per_minute` are at least that. `units` and `namespaces` are those of all hosts, each once.
    `names` are the hosts one by one. `peers` are networks with their counts.
    """

    program: ProgramPort
    reason: str
    count: int
    per_minute: float | None
    is_partial: bool
    units: tuple[str, ...]
    hosts: HostRanges
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    peers: Mapping[str, int] = {}


class UnreadRow(Frozen, frozen=True, kw_only=True):
    """The sockets of one program and port that held unread data, over the fleet.

    `names` are the hosts one by one.
    """

    program: ProgramPort
    sockets: int
    bytes: int
    units: tuple[str, ...]
    hosts: HostRanges
    names: tuple[str, ...] = ()


class NotWatched(Frozen, frozen=True, kw_only=True):
    """Hosts that could not be watched, by reason; `hint` is the next command to type.

    `names` are the hosts one by one.
    """

    problem: str
    hint: str
    hosts: HostRanges
    names: tuple[str, ...] = ()


class WatchTable(Frozen, frozen=True, kw_only=True):
    """Who resets over the fleet.

    `asked` is how many audited hosts were to be watched; each of them is in `hosts`, in the order
    of the inventory, or in `not_watched`. `rows` and `unread` begin with the largest. `notes` are
    the sentences of hosts that qualify their numbers, each with its hosts. `has_unread` is false if
    no host reported its sockets.
    """

    asked: int
    hosts: tuple[WatchedHost, ...]
    rows: tuple[ResetRow, ...]
    unread: tuple[UnreadRow, ...]
    has_unread: bool
    not_watched: tuple[NotWatched, ...]
    notes: tuple[tuple[str, HostRanges], ...]

    @property
    def resets(self) -> int:
        """How many resets all rows have together."""
        return sum(row.count for row in self.rows)

    @property
    def is_partial(self) -> bool:
        """Whether there were more resets than the rows have."""
        return any(host.is_partial for host in self.hosts)
