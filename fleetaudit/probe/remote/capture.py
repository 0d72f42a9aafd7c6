"""Captures the segments of the probe's own connections."""

import errno
import fcntl
import socket
import struct
import time

from .bpf import attach, filter_for
from .constants import (
    ERRORS,
    ETH_P_ALL,
    PACKET_STATISTICS,
    SIOCGSTAMPNS,
    SNAP,
    SO_RCVBUFFORCE,
    SOL_PACKET,
)
from .errors import number_of, would_block
from .packets import packet_of


class Capture(object):
    """One packet socket on `lo` for the whole run: closing one costs a grace period of the kernel."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            attach(self.sock, filter_for(()))  # before bind, so that not one foreign packet gets in
            for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
                try:
                    self.sock.setsockopt(socket.SOL_SOCKET, option, 32 * 1024 * 1024)
                    break
                except ERRORS:
                    pass
            self.sock.bind(("lo", ETH_P_ALL))
            self.sock.setblocking(False)
            self.stamp()
        except Exception:
            self.sock.close()
            raise
        self.ports = ()

    def watch(self, ports):
        """Lets these listeners' connections in, and none else."""
        ports = tuple(sorted(ports))
        if ports != self.ports:
            attach(self.sock, filter_for(ports))
            self.ports = ports

    def stamp(self):
        """Returns when the kernel saw the packet that was read last, to the microsecond (the first call switches
        stamps on)."""
        try:
            seconds, fraction = struct.unpack(
                "ll", fcntl.ioctl(self.sock, SIOCGSTAMPNS, b"\0" * struct.calcsize("ll"))
            )
            return seconds + fraction // 1000 / 1e6
        except ERRORS:
            return time.time()

    def drain(self, port, into):
        """Reads what came by, and appends the segments of the connection with client port `port` to `into`."""
        while True:
            try:
                data = self.sock.recv(SNAP)
            except ERRORS as e:
                if (
                    would_block(e) or number_of(e) == errno.ENETDOWN
                ):  # `lo` is down: nothing will come
                    return
                raise
            packet = packet_of(data, self.stamp())
            if packet is not None and port in (packet.source, packet.target):
                into.append(packet)

    def lost(self):
        """Returns how many packets found no room since this was last asked."""
        return struct.unpack("II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
