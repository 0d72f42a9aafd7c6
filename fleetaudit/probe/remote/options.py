"""Sets socket options by name."""

import errno
import socket
import struct

from .constants import ERRORS
from .errors import NotHere, name_of, number_of

OPTIONS = {  # the step language's names: level and number (TCP_* by number: Python's names came one by one)
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "SO_LINGER": (socket.SOL_SOCKET, socket.SO_LINGER),
    "SO_OOBINLINE": (socket.SOL_SOCKET, socket.SO_OOBINLINE),
    "SO_RCVBUF": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    "SO_RCVLOWAT": (socket.SOL_SOCKET, socket.SO_RCVLOWAT),
    "SO_SNDBUF": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    "TCP_CORK": (6, 3),
    "TCP_DEFER_ACCEPT": (6, 9),
    "TCP_FASTOPEN": (6, 23),
    "TCP_LINGER2": (6, 8),
    "TCP_MAXSEG": (6, 2),
    "TCP_NODELAY": (6, 1),
    "TCP_QUICKACK": (6, 12),
    "TCP_REPAIR": (6, 19),
    "TCP_USER_TIMEOUT": (6, 18),
    "TCP_WINDOW_CLAMP": (6, 10),
}


def set_on(sock, name, *values):
    """Sets a socket option; raises NotHere where the kernel has none of that name or does not let us."""
    try:
        sock.setsockopt(*(OPTIONS[name] + (struct.pack("i" * len(values), *values),)))
    except ERRORS as e:
        if number_of(e) in (errno.EPERM, errno.EACCES):
            raise NotHere("%s needs CAP_NET_ADMIN or user namespaces; set become: true" % name)
        if number_of(e) in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            raise NotHere("this kernel has no %s here (%s)" % (name, name_of(e)))
        raise
