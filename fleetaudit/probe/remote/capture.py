"""Captures the segments of the probe's own connections on `lo`."""

import errno
import fcntl
import socket
import struct
import time
from typing import Any, Iterable, List, Tuple

from .bpf import attach_filter, loopback_filter
from .constants import (
    ERRORS,
    ETH_P_ALL,
    PACKET_STATISTICS,
    SIOCGSTAMPNS,
    SNAP,
    SO_RCVBUFFORCE,
    SOL_PACKET,
)
from .errors import call_or, errno_of
from .packets import Packet, parse_packet

CAPTURE_BUFFER = 32 * 1024 * 1024
NOTHING_MORE_CAPTURED = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENETDOWN)  # `lo` may be down
NO_TIME = b"\0" * struct.calcsize("ll")


class Capture(object):
    """One packet socket for the whole run: closing one costs a grace period of the kernel."""

    def __init__(self):
        # type: () -> None
        self.sock = sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.ports = ()  # type: Tuple[int, ...]
        self.addresses = ()  # type: Tuple[Any, ...]  # the filter's, if not those of the loopback
        try:
            attach_filter(sock, loopback_filter(()))  # before bind: no foreign packet passes
            for option in (socket.SO_RCVBUF, SO_RCVBUFFORCE):  # the second is for root only
                call_or(None, sock.setsockopt, socket.SOL_SOCKET, option, CAPTURE_BUFFER)
            sock.bind(("lo", ETH_P_ALL))
            sock.setblocking(False)
            self.timestamp()
        except Exception:
            sock.close()
            raise

    def watch(self, ports):
        # type: (Iterable[int]) -> None
        """Captures the connections from and to these ports, and no others."""
        ports = tuple(sorted(ports))
        if ports != self.ports:
            attach_filter(self.sock, loopback_filter(ports, *self.addresses))
            self.ports = ports

    def timestamp(self):
        # type: () -> float
        """Returns when the kernel saw the packet that was read last. The first call switches
        timestamps on.
        """
        answer = call_or(NO_TIME, fcntl.ioctl, self.sock, SIOCGSTAMPNS, NO_TIME)
        seconds, fraction = struct.unpack("ll", answer)
        if not seconds:
            return time.time()
        return float(seconds + fraction // 1000 / 1e6)

    def drain(self, port, into):
        # type: (int, List[Packet]) -> None
        """Reads what was captured, and appends the segments from and to `port` to `into`."""
        while True:
            try:
                data = self.sock.recv(SNAP)
            except ERRORS as e:
                if errno_of(e) not in NOTHING_MORE_CAPTURED:
                    raise
                return
            packet = parse_packet(data, self.timestamp())
            if packet is not None and port in (packet.source, packet.target):
                into.append(packet)

    def take_lost(self):
        # type: () -> int
        """Returns how many packets found no room since the last call."""
        answer = self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        lost = struct.unpack("II", answer)[1]  # type: int
        return lost
