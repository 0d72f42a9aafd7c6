"""From a name and a port to a connected TCP socket, under a deadline.

Rules: every address of the name is tried in the resolver's order. Only the operating system's words
become reasons.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from typing import Any

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, StageListener
from fleetaudit.transport.ssh_command import shell_join

from .link import LOOK_S

Address = tuple[int, tuple[Any, ...]]


def connect_tcp(
    target: SshTarget, deadline: Deadline, hint: str, on_stage: StageListener
) -> socket.socket:
    """Returns a connected, non-blocking socket; raises `TransportError` (stage "resolve", or
    "connect" with `hint`).
    """
    failures: list[str] = []
    codes = set[int]()
    found = _resolve(target, deadline)
    on_stage("resolve", ", ".join(str(address[0]) for _, address in found))
    for family, address in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Whatever happens between here and the return, the descriptor must not stay behind.
            code = _bound(sock, target) or _connect(
                sock, address, deadline.within(target.connect_timeout_s)
            )
            if code == 0:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        except BaseException:
            sock.close()
            raise
        sock.close()
        codes.add(code)
        failures.append(f"{address[0]} port {target.port}: {_words(code, target)}")
    raise TransportError(
        "connect",
        "; ".join(failures),
        hint=hint,
        kind=_kind(codes),
        transient=codes <= {errno.ECONNRESET, errno.ECONNABORTED, errno.EAGAIN},
    )


def _bound(sock: socket.socket, target: SshTarget) -> int:
    """Returns 0 once the socket has the address of its own that ssh_config wants, else the errno."""
    config = target.ssh_config
    if not config or not config.bind_address:
        return 0
    try:
        sock.bind((config.bind_address, 0))
    except socket.gaierror:  # its number is none of errno(3)'s
        return errno.EADDRNOTAVAIL
    except OSError as e:
        return e.errno or errno.EADDRNOTAVAIL
    return 0


def _connect(sock: socket.socket, address: tuple[Any, ...], until: Deadline) -> int:
    """Returns 0 once connected, else the errno."""
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code != errno.EINPROGRESS:
        return code
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    while not poll.poll(min(until.remaining(), LOOK_S) * 1000):
        if not until.remaining():
            return errno.ETIMEDOUT
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


_KINDS: dict[int, FailureKind] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
}


def _kind(codes: set[int]) -> FailureKind:
    """Returns the kind of the attempt that came furthest: `_KINDS` has the furthest first."""
    return next((kind for code, kind in _KINDS.items() if code in codes), "")


def _words(code: int, target: SshTarget) -> str:
    if code == errno.ETIMEDOUT:
        return f"no answer within {target.connect_timeout_s:g} s"
    return os.strerror(code).lower()


def _resolve(target: SshTarget, deadline: Deadline) -> list[Address]:
    try:
        return _lookup(target, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass  # it is a name
    answer: list[list[Address] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answer.append(_lookup(target, 0))
        except (OSError, UnicodeError) as e:
            answer.append(e)

    # getaddrinfo(3) can be given no limit, so it waits in a thread of its own, which its own limits
    # end.
    thread = threading.Thread(target=ask, name=f"resolve {target.address}", daemon=True)
    thread.start()
    while thread.is_alive() and deadline.remaining():
        thread.join(min(deadline.remaining(), LOOK_S))
    hint = shell_join(["getent", "ahosts", target.address])
    if not answer:
        raise TransportError(
            "resolve",
            f"the name {target.address!r} was not resolved in time",
            hint=hint,
            kind="timed out",
        )
    match answer[0]:
        case list() as found:
            return found
        case socket.gaierror() as e:
            raise TransportError(
                "resolve",
                f"the name {target.address!r} has no address: {e.strerror}",
                hint=hint,
                kind="name not found",
                transient=e.errno == socket.EAI_AGAIN,
            )
        case e:
            raise TransportError(
                "resolve",
                f"{target.address!r} is not a host name: {e}",
                hint=hint,
                kind="name not found",
            )


_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def _lookup(target: SshTarget, flags: int) -> list[Address]:
    family = _FAMILIES.get(target.ssh_config.family, 0) if target.ssh_config else 0
    found = socket.getaddrinfo(
        target.address, target.port, family, type=socket.SOCK_STREAM, flags=flags
    )
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))
