"""Opens listeners on loopback and accepts from them."""

import errno
import os
import select
import socket

from .constants import ERRORS, IPPROTO_MPTCP, NEEDS_RAW
from .errors import Failed, NotHere, TimedOut, name_of, number_of
from .waiting import awaited


def new_listener(family, kind="tcp", backlog=16):
    """Returns a socket that listens on a free port of this family's loopback address; raises OSError or NotHere."""
    protocol = IPPROTO_MPTCP if kind == "mptcp" else 0
    try:
        sock = socket.socket(
            socket.AF_INET if family == "ipv4" else socket.AF_INET6, socket.SOCK_STREAM, protocol
        )
    except ERRORS as e:
        if kind == "mptcp" and number_of(e) in (
            errno.EPROTONOSUPPORT,
            errno.ENOPROTOOPT,
            errno.EINVAL,
        ):
            raise NotHere("this kernel has no MPTCP, or net.mptcp.enabled is 0 (%s)" % name_of(e))
        raise
    try:
        if kind == "mapped":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address_of(family, kind), 0))
        sock.listen(backlog)
    except ERRORS:
        sock.close()
        raise
    return sock


def address_of_socket(sock):
    """Returns the local address of a socket as (family, text, port)."""
    return (sock.family,) + tuple(sock.getsockname()[:2])


def address_of(family, kind):
    """Returns the loopback address of a family."""
    return "127.0.0.1" if family == "ipv4" else "::ffff:127.0.0.1" if kind == "mapped" else "::1"


def accept_from(listener, wanted):
    """Returns the accepted end of the connection from `wanted`, (text, port), whose socket may be gone by now; whoever
    else found the port is hung up on. Raises Failed."""
    for _ in range(8):
        if not awaited(listener, select.POLLIN):
            raise TimedOut("no connection came to be accepted")
        sock, address = listener.accept()
        sock.setblocking(True)
        if address[:2] == wanted:
            return sock
        sock.close()
    raise Failed("other programs connect to the port of this test")


def needs_raw():
    """Returns in words what a packet socket needs that this process lacks."""
    return NEEDS_RAW if os.geteuid() else "needs CAP_NET_RAW, which root lacks here"
