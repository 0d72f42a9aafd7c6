"""Who resets: what the kernel of a host showed about the RSTs of its programs during a watch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import Count, Frozen, LongText, PortNumber, Seconds, ShortText

UNREAD_DATA = "unread data"
WATCH_REASONS = (
    UNREAD_DATA,
    "linger 0",
    "memory",
    "keepalive",
    "disconnect",
    "exit of a child socket",
    "data after close",
    "other",
)
"""Why a program's connection was reset, in words; "unread data" is TCPAbortOnClose."""


class Watch(Frozen, frozen=True, kw_only=True):
    """What a play asks: to watch for so many seconds, and whether peers' networks are reported."""

    seconds: float
    peers: bool = False


class Owner(Frozen, frozen=True, kw_only=True):
    """The program behind a socket.

    `executable` is its path, "" if it had ended before it could be read; `command` is the kernel's
    name of its task (comm). `unit` is the systemd unit or the container, from its cgroup, "" if
    neither. `namespace` is the kernel's name of its network namespace ("net:[4026531840]"), "" for
    the host's own, "unknown" for a process that had ended, or if the kernel reset by itself.
    """

    executable: ShortText = ""
    command: ShortText = ""
    unit: ShortText = ""
    namespace: ShortText = ""


class Resets(Frozen, frozen=True, kw_only=True):
    """The RSTs that one program sent from one local port for one reason.

    `port` is 0 for the ports that the kernel chose for connections of the program to others.
    `peers` are networks of peers with their counts, only if the play asked for them.
    """

    owner: Owner
    port: PortNumber
    reason: ShortText
    count: Count
    peers: Annotated[dict[ShortText, Count], Meta(max_length=32)] = {}


class UnreadOwner(Frozen, frozen=True, kw_only=True):
    """The sockets of one program and local port that hold unread data now.

    `port` is as in `Resets`.
    """

    owner: Owner
    port: PortNumber
    sockets: Count
    bytes: Count


class Watched(Frozen, frozen=True, kw_only=True):
    """What was seen while a host was watched; with a `problem`, why nothing could be.

    `seconds` is how long it was watched. `method` is how the kernel was asked, and `told_by` how a
    reason is known: the tracepoint's own field, or the caller in the stack trace. `events` is how
    many RSTs the kernel counted, `named` how many of them are in `resets`: fewer if there were too
    many to read (`sampled`), or if some were `lost`. `aborts_on_close` is by how much the kernel's
    own counter TCPAbortOnClose moved in the host's namespace, null if it could not be read.
    `unread` is null if the owners of sockets could not be read. `notes` qualify all of it. `hint`
    is the next command to type after a `problem`.
    """

    seconds: Seconds = 0.0
    method: Literal["perf_event_open", "tracefs", ""] = ""
    told_by: Literal["reason", "stack", ""] = ""
    events: Count = 0
    named: Count = 0
    lost: Count = 0
    sampled: bool = False
    aborts_on_close: Count | None = None
    resets: Annotated[tuple[Resets, ...], Meta(max_length=1000)] = ()
    unread: Annotated[tuple[UnreadOwner, ...], Meta(max_length=1000)] | None = None
    notes: Annotated[tuple[LongText, ...], Meta(max_length=20)] = ()
    problem: LongText = ""
    hint: LongText = ""
    cpu_s: Seconds = 0.0

    @property
    def is_partial(self) -> bool:
        """Whether there were more resets than those that have a row."""
        return self.sampled or self.lost > 0
