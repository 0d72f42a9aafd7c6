"""Sets socket options by their names in the step language."""

import errno
import socket
import struct
from typing import Any

from .constants import ERRORS, REFUSED
from .errors import StepFailed, Unsupported, errno_of, unsupported_if

NO_OPTION = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)
# TCP_* by number: Python got their names one by one.
OPTIONS = {
    "SO_KEEPALIVE": socket.SO_KEEPALIVE,
    "SO_LINGER": socket.SO_LINGER,
    "SO_OOBINLINE": socket.SO_OOBINLINE,
    "SO_RCVBUF": socket.SO_RCVBUF,
    "SO_RCVLOWAT": socket.SO_RCVLOWAT,
    "SO_SNDBUF": socket.SO_SNDBUF,
    "TCP_CORK": 3,
    "TCP_DEFER_ACCEPT": 9,
    "TCP_FASTOPEN": 23,
    "TCP_KEEPCNT": 6,
    "TCP_KEEPIDLE": 4,
    "TCP_KEEPINTVL": 5,
    "TCP_LINGER2": 8,
    "TCP_MAXSEG": 2,
    "TCP_NODELAY": 1,
    "TCP_QUICKACK": 12,
    "TCP_REPAIR": 19,
    "TCP_USER_TIMEOUT": 18,
    "TCP_WINDOW_CLAMP": 10,
}


def set_socket_option(sock, name, *values):
    # type: (Any, str, *int) -> None
    """Sets a socket option to one or more integers; raises Unsupported if the kernel refuses it,
    and StepFailed if one has no room in 32 bits.
    """
    level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
    try:
        packed = struct.pack("i" * len(values), *values)
    except struct.error:
        raise StepFailed("%s takes integers of 32 bits" % name)
    try:
        sock.setsockopt(level, OPTIONS[name], packed)
    except ERRORS as e:
        if errno_of(e) in REFUSED:
            problem = "%s needs CAP_NET_ADMIN or user namespaces; set become: true"
            raise Unsupported(problem % name)
        raise unsupported_if(e, NO_OPTION, "this kernel has no %s here" % name)
