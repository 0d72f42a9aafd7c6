"""Makes what a host saw while it was watched, as a probe reports it."""

from __future__ import annotations

from msgspec.structs import replace

from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import Audited, Owner, Resets, UnreadOwner, Watch, Watched
from tests.support.runs import K612, Fleet

HAPROXY, NGINX, CURL = "/usr/sbin/haproxy", "/usr/sbin/nginx", "/usr/bin/curl"
NOT_ROOT = Watched(problem="watching needs root", hint="set become: true")


def owner(executable: str = HAPROXY, unit: str = "", **more: str) -> Owner:
    """Returns the owner of a socket; its command is the name of the program."""
    command = executable.rpartition("/")[2][:15]
    return replace(Owner(executable=executable, command=command, unit=unit), **more)


def resets(
    count: int = 1, port: int = 8443, reason: str = "unread data", of: Owner | None = None
) -> Resets:
    """Returns the resets of haproxy, or of another owner."""
    return Resets(owner=of or owner(), port=port, reason=reason, count=count)


def unread(sockets: int = 2, port: int = 8443, of: Owner | None = None) -> UnreadOwner:
    """Returns sockets with ten unread bytes each."""
    return UnreadOwner(owner=of or owner(), port=port, sockets=sockets, bytes=10 * sockets)


def watched(*found: Resets, seconds: float = 60.0) -> Watched:
    """Returns a watch of a minute that lost nothing."""
    count = sum(each.count for each in found)
    return Watched(
        seconds=seconds,
        method="perf_event_open",
        told_by="reason",
        events=count,
        named=count,
        resets=found,
        unread=(),
    )


def watched_host(name: str, watch: Watched, fleet: Fleet | None = None) -> Audited:
    """Returns an audited host that was watched."""
    return replace((fleet or Fleet()).host(name, K612), watch=watch)


def judged_host(name: str, watch: Watched, fleet: Fleet | None = None) -> Audited:
    """Returns a host that was watched because its plan says so, with its findings."""
    fleet = fleet or Fleet()
    plan = replace(fleet.plan(name), watch=Watch(seconds=60.0))
    return judge_host(watched_host(name, watch, fleet), plan)
