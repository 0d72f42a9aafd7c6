"""Opens listeners on loopback and accepts from them."""

import errno
import os
import select
import socket
from typing import Any, Optional, Tuple

from .constants import ERRORS, IPPROTO_MPTCP, SO_REUSEPORT
from .errors import StepFailed, TimedOut, unsupported_if
from .waiting import wait_for_events

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
NO_REUSEPORT = (errno.ENOPROTOOPT,)
NO_MPTCP = (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL)
PROTOCOLS = {"mptcp": (IPPROTO_MPTCP, NO_MPTCP)}  # and the errors of a kernel without it


def open_listener(family, kind="tcp", backlog=16, port=None):
    # type: (str, str, int, Optional[int]) -> socket.socket
    """Returns a socket that listens on a free loopback port; raises OSError or Unsupported. It
    shares its port by SO_REUSEPORT if `port` is a number: that of another one, or 0.
    """
    sock = new_socket(FAMILIES[family], kind)
    try:
        if kind == "mapped":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if port is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        sock.bind((loopback_address(family, kind), port or 0))
        sock.listen(backlog)
    except ERRORS as e:
        sock.close()
        raise unsupported_if(e, NO_REUSEPORT, "this kernel has no SO_REUSEPORT")
    return sock


def new_socket(family, kind):
    # type: (int, str) -> socket.socket
    protocol, lacking = PROTOCOLS.get(kind, (0, ()))
    try:
        return socket.socket(family, socket.SOCK_STREAM, protocol)
    except ERRORS as e:
        raise unsupported_if(e, lacking, "this kernel has no MPTCP, or net.mptcp.enabled is 0")


def local_address(sock):
    # type: (socket.socket) -> Tuple[int, str, int]
    address = sock.getsockname()
    return (int(sock.family), address[0], address[1])


def loopback_address(family, kind):
    # type: (str, str) -> str
    if family == "ipv4":
        return "127.0.0.1"
    return "::ffff:127.0.0.1" if kind == "mapped" else "::1"


def accept_from(listener, address):
    # type: (Any, Tuple[str, int]) -> socket.socket
    """Returns the accepted end of the connection from `address`; a connection of another program is
    closed. Raises StepFailed.
    """
    for _ in range(8):
        if not wait_for_events(listener, select.POLLIN):
            raise TimedOut("no connection came to be accepted")
        sock, source = listener.accept()  # type: socket.socket, Any
        sock.setblocking(True)
        if source[:2] == address:
            return sock
        sock.close()
    raise StepFailed("other programs connect to the port of this test")


def lack_of_raw_sockets():
    # type: () -> str
    """Returns what a packet socket needs and this process lacks."""
    if os.geteuid() == 0:
        return "needs CAP_NET_RAW, which root lacks here"
    return "needs CAP_NET_RAW or user namespaces; set become: true"
