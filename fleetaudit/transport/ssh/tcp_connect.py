"""Resolves a name and connects a TCP socket to it, under a deadline.

Rules: every address of the name is tried in the resolver's order. Reasons have only the operating
system's own words.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import Any

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, StageListener, waiting
from fleetaudit.transport.ssh_command import shell_join
from fleetaudit.transport.ssh_options import config_of

Address = tuple[int, tuple[Any, ...]]
"""An address family, and an address for `socket.connect`."""

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_TRANSIENT = {
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
}
_KINDS: dict[int, FailureKind] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
}
"""The kind of each error; the first is that of the attempt that came furthest."""


def connect_tcp(
    target: SshTarget, deadline: Deadline, hint: str, on_stage: StageListener
) -> socket.socket:
    """Returns a connected, non-blocking socket with TCP_NODELAY.

    `on_stage` gets the stage "resolve" with the addresses. Each of them has the target's
    `connect_timeout_s`, all together have the deadline. Raises `TransportError` (stage "resolve",
    or "connect" with `hint` and the error of every address), transient if only trying again later
    can help.
    """
    addresses = _resolve(target, deadline)
    on_stage("resolve", ", ".join(str(address[0]) for _, address in addresses))
    errors: list[tuple[str, int]] = []
    for address in addresses:
        connected = _try(address, target, deadline)
        if isinstance(connected, socket.socket):
            return connected
        errors.append((address[1][0], connected))
    codes = {code for _, code in errors}
    reasons = (
        f"{address} port {target.port}: {_describe(code, target)}" for address, code in errors
    )
    raise TransportError(
        "connect",
        "; ".join(reasons),
        hint=hint,
        kind=_kind_of(codes),
        transient=codes <= _TRANSIENT,
    )


def _kind_of(codes: set[int]) -> FailureKind:
    """Returns the kind of the attempt that came furthest, "" if none of the errors has one.

    `codes` are the errnos of all addresses of one host. Each address may fail in another way.
    """
    return next((kind for code, kind in _KINDS.items() if code in codes), "")


def _try(address: Address, target: SshTarget, deadline: Deadline) -> socket.socket | int:
    """Returns a connected socket, or the errno of socket(2), bind(2) or connect(2).

    One address has the target's `connect_timeout_s`, or what is left of the deadline if that is
    less.
    """
    try:
        sock = socket.socket(address[0], socket.SOCK_STREAM)
    except OSError as e:  # such as too many open files
        return e.errno or errno.ENFILE
    try:
        until = deadline.within(target.connect_timeout_s)
        code = _bind(sock, target, until) or _connect(sock, address[1], until)
        if code == 0:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    except BaseException:
        # Whatever happens before the return, the descriptor must not stay open.
        sock.close()
        raise
    sock.close()
    return code


def _bind(sock: socket.socket, target: SshTarget, until: Deadline) -> int:
    """Returns 0 once the socket has the BindAddress of ssh_config, else the errno.

    Without a BindAddress the kernel chooses the address when it connects, and this returns 0. The
    port is always the kernel's choice. A BindAddress may be a name, which is resolved.
    """
    address = config_of(target).bind_address
    if not address:
        return 0
    try:
        waiting.call(partial(sock.bind, (address, 0)), until, f"bind to {address}")
    except socket.gaierror:  # its number is none of errno(3)'s
        return errno.EADDRNOTAVAIL
    except OSError as e:
        return e.errno or errno.EADDRNOTAVAIL
    return 0


def _connect(sock: socket.socket, address: tuple[Any, ...], until: Deadline) -> int:
    """Returns 0 once connected, else the errno; ETIMEDOUT if `until` comes first.

    A non-blocking connect(2) that needs time returns EINPROGRESS. Its result is then in SO_ERROR
    as soon as the socket is writable (connect(2), EINPROGRESS).
    """
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code != errno.EINPROGRESS:
        return code
    while not waiting.wait_for({sock.fileno(): waiting.WRITE}, until):
        if not until.remaining():
            return errno.ETIMEDOUT
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _describe(code: int, target: SshTarget) -> str:
    """Returns an errno as text: "connection refused", "no answer within 10 s"."""
    if code == errno.ETIMEDOUT:
        return f"no answer within {target.connect_timeout_s:g} s"
    return os.strerror(code).lower()


def _resolve(target: SshTarget, deadline: Deadline) -> list[Address]:
    """Returns the addresses of a target; raises `TransportError` (stage "resolve").

    A numeric address needs neither a name server nor a thread, so it is tried first. The error is
    transient if only the name server did not answer.
    """
    try:
        return _lookup(target, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass  # it is a name
    result = _lookup_in_time(target, deadline)
    if isinstance(result, list):
        return result
    kind, reason = _explain_lookup(target, result)
    raise TransportError(
        "resolve",
        reason,
        hint=shell_join(["getent", "ahosts", target.address]),
        kind=kind,
        transient=_is_temporary(result),
    )


def _explain_lookup(target: SshTarget, error: OSError | UnicodeError) -> tuple[FailureKind, str]:
    """Returns kind and reason of a name that could not be resolved.

    A `UnicodeError` comes from the encoding of host names (IDNA): an empty label, or one of more
    than 63 characters.
    """
    if isinstance(error, socket.gaierror):
        reason = f"the name {target.address!r} has no address: {error.strerror}"
        return "name not found", reason
    if isinstance(error, TimeoutError):
        return "timed out", f"the name {target.address!r} was not resolved in time"
    return "name not found", f"{target.address!r} is not a host name: {error}"


def _is_temporary(error: OSError | UnicodeError) -> bool:
    """Returns whether a name server did not answer, and may later (getaddrinfo(3), EAI_AGAIN)."""
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def _lookup_in_time(
    target: SshTarget, deadline: Deadline
) -> list[Address] | OSError | UnicodeError:
    """Returns the addresses of a name, or an error: `TimeoutError` if the deadline comes first."""
    try:
        # getaddrinfo(3) has no deadline; its own limits end the thread.
        return waiting.call(partial(_lookup, target, 0), deadline, f"resolve {target.address}")
    except (OSError, UnicodeError) as e:
        return e


def _lookup(target: SshTarget, flags: int) -> list[Address]:
    """Returns the addresses of a name or an address; raises `OSError` or `UnicodeError`."""
    family = _FAMILIES.get(config_of(target).family, 0)
    found = socket.getaddrinfo(
        target.address, target.port, family, type=socket.SOCK_STREAM, flags=flags
    )
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))
