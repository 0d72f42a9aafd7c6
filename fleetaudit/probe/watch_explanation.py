"""What the probe will do on a host to watch who resets, line by line, as `explanation.py`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TRACEFS = "/sys/kernel/tracing"
_PRIVATE = f"/proc/[0-9]*/root{_TRACEFS}"
_INSTANCE = f"{_TRACEFS}/instances/fleetaudit-*"
_ROOTS = (_TRACEFS, _PRIVATE)
"""tracefs of the host, and the one that a child process mounts for itself if there is none."""

Call = Mapping[str, Any]


def files_read(call: Call) -> Iterator[str]:
    """Yields the files that a watch may read."""
    if "watch" not in call:
        return
    yield "To watch who resets, as root; of processes only what names a program that resets or"
    yield "holds unread data:"
    for root in _ROOTS:
        yield f"{root}/events/tcp/tcp_send_reset/*  the kernel's tracepoint: its id and its fields"
        yield f"{root}/instances  names of folders, to remove one that a killed probe left"
        yield f"{root}/instances/fleetaudit-*  only if perf_event_open(2) is refused"
    yield "/proc  numbers of processes"
    yield "/proc/[0-9]*/exe  the path of a program"
    yield "/proc/[0-9]*/comm  its name"
    yield "/proc/[0-9]*/cgroup  its systemd unit or container"
    yield "/proc/[0-9]*/ns/net  its network namespace"
    yield "/proc/[0-9]*/fd/  which of its open files are sockets with unread data"
    yield "/proc/[0-9]*/net/tcp*  the ports that it listens on"
    yield "/proc/self/net/tcp*"
    yield "/proc/sys/net/ipv4/ip_local_port_range"
    yield "/proc/kallsyms  addresses of a few functions, if the tracepoint names no reason"
    yield "/proc/self/fd  its own open files"
    yield "/sys/devices/system/cpu/online"
    yield "/sys/kernel/security/lockdown  only if tracefs cannot be used"


def files_written(call: Call) -> Iterator[str]:
    """Yields what a watch may write."""
    if "watch" not in call:
        return
    yield "To watch, only if perf_event_open(2) is refused, a tracing instance of its own, which is"
    yield "removed at the end, or by its own child process if the probe is killed:"
    yield f"{_INSTANCE}/*"
    yield f"/proc/[0-9]*/root{_INSTANCE}/*"


def programs(call: Call) -> Iterator[str]:
    """Yields the programs that a watch may start."""
    if "watch" in call:
        yield "To watch where this Python has no ctypes and tracefs is not mounted:"
        yield "unshare  starts the following in a mount namespace of its own"
        yield "sh  runs them"
        yield "mount  mounts tracefs there"
        yield "rmdir  removes the tracing instance"


def namespaces(call: Call) -> Iterator[str]:
    """Yields the namespaces that a watch may make."""
    if "watch" in call:
        yield "To watch where tracefs is not mounted: a child process with a private mount"
        yield "namespace (CLONE_NEWNS), in which it mounts tracefs. The host's mounts stay."


def bounds(call: Call) -> Iterator[str]:
    """Yields the bounds of a watch."""
    if "watch" in call:
        yield f"Watch: {call['watch']['seconds']:g} s, in which the scenarios wait. What is read of"
        yield "a storm of resets is bounded in events and CPU time; the kernel counts the others."


def reply(call: Call) -> Iterator[str]:
    """Yields what comes back of a watch."""
    if "watch" not in call:
        return
    yield "Of the watch: programs that reset or hold unread data, with path, name, unit or"
    yield "container, network namespace, local port, reason and count."
    if call["watch"]["peers"]:
        yield "Of their peers: networks (/24 and /64) with counts; never an address."
    else:
        yield "Of their peers: nothing."
