"""What a host reports about itself: kernel, distribution, sysctls, and exposure in production."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Count, Frozen, LongText, Seconds, ShortText

SysctlLine = Annotated[
    str,
    Meta(
        pattern=r"^(/etc/sysctl\.conf|/(etc|run|usr/local/lib|usr/lib|lib)/sysctl\.d/[A-Za-z0-9_.@+-]{1,200}\.conf)"
        r":[0-9]{1,6}$(?!\n)"
    ),
]
"""A line of a file that sets sysctls at boot: the path, a colon, the line from 1. No other file is
allowed, because a host sends it and it becomes part of a command.
"""
SysctlLines = Annotated[tuple[SysctlLine, ...], Meta(min_length=1, max_length=2)]


class Kernel(Frozen, frozen=True, kw_only=True):
    """uname -r, -v, -m."""

    release: ShortText
    version: ShortText
    machine: ShortText


class Os(Frozen, frozen=True, kw_only=True):
    """From os-release(5); empty strings where the host has none."""

    id: ShortText = ""
    version_id: ShortText = ""
    pretty_name: ShortText = ""


class Sysctl(Frozen, frozen=True, kw_only=True):
    """One sysctl: `value` is the host's, `default` what this kernel gives a new namespace, if
    known.

    `state` is "" if the sysctl was read, else "absent" or "unreadable: ERRNO". `used` is the value
    that the experiment ran under, if it is not `value`.
    """

    value: LongText | None = None
    default: LongText | None = None
    state: ShortText = ""
    used: LongText | None = None

    @property
    def exists(self) -> bool:
        """Whether the host has the sysctl, readable or not."""
        return self.value is not None or self.state.startswith("unreadable")

    @property
    def is_absent(self) -> bool:
        """Whether the host is known not to have the sysctl."""
        return bool(self.state) and not self.exists

    @property
    def text(self) -> str:
        """The value with one space between its numbers, or why there is none.

        Such as "4096 131072 6291456", "absent", "unreadable: EACCES", "not read".
        """
        if self.value is None:
            return self.state or "not read"
        return " ".join(self.value.split())


NOT_READ = Sysctl()
"""What is known of a sysctl that the host did not report."""


class UnreadSockets(Frozen, frozen=True, kw_only=True):
    """Sockets with a non-empty receive queue now; counts only, never addresses.

    `partial`: the scan reached its limit.
    """

    sockets: Count
    bytes: Count
    scanned: Count
    partial: bool = False


class Exposure(Frozen, frozen=True, kw_only=True):
    """The host's own counters since boot, by name: the resets that production already had.

    `unread_sockets` is null if it could not be read.
    """

    uptime_s: Seconds | None = None
    counters: Annotated[dict[ShortText, Count], Meta(max_length=64)] = {}
    unread_sockets: UnreadSockets | None = None
