"""Finds out when loopback has delivered what was sent."""

import select
import socket
import time
from typing import List

from .constants import ERRORS, SCARCE
from .errors import call_or, errno_of
from .files import read_file
from .waiting import TIMEOUT, now, wait_for_events

STEERING = "/sys/class/net/lo/queues/rx-0/rps_cpus"


class Fence(object):
    """A UDP socket connected to itself: what it sends comes back after everything sent before,
    since loopback delivers in order on one CPU. With receive packet steering each flow has its own
    CPU, so a while is added.
    """

    def __init__(self, private):
        # type: (bool) -> None
        self.sock = call_or(None, connect_to_itself)
        self.sent_at = []  # type: List[float]  # by datagram, whose text is its number
        self.lost = 0
        self.is_steered = not private and call_or("", read_file, STEERING).strip("0,\n") != ""

    def settle(self):
        # type: () -> bool
        """Waits until loopback has delivered what is on its way; returns whether it has."""
        if self.sock is None:
            return False
        try:
            if self.comes_back(self.sock) or self.comes_back(self.sock):
                return True
            self.lost += 1
        except ERRORS as e:
            self.lost += 1 if errno_of(e) in SCARCE else 2
        if self.lost >= 2:
            self.sock = None  # a firewall drops it: do not wait for it again
        return False

    def comes_back(self, sock):
        # type: (socket.socket) -> bool
        """Returns whether a datagram comes back in time. A late one shows a slow host."""
        self.sent_at.append(now())
        number = len(self.sent_at)
        sock.send(b"%d" % number)
        while wait_for_events(sock, select.POLLIN):
            received = int(sock.recv(16))
            TIMEOUT.record_delay(now() - self.sent_at[received - 1])
            if received == number:
                self.lost = 0
                if self.is_steered:
                    time.sleep(TIMEOUT.stretched(0.002))
                return True
        return False


def connect_to_itself():
    # type: () -> socket.socket
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.connect(sock.getsockname())
    return sock
