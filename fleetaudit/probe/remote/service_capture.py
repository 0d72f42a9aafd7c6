"""Captures the segments of one connection to a service, as evidence."""

import socket
import struct
import time
from typing import Any, List, Tuple

from .capture import Capture
from .constants import ERRORS, REFUSED
from .errors import Unsupported, errno_of, message_of
from .listeners import lack_of_raw_sockets
from .packets import Packet
from .trace import trace_rows

IPV4_LOOPBACK = 0x7F000001
MAX_PACKETS = 4000  # of one connection that are kept
EDGE = 500  # how many of the first and last ones, at least


class ServiceCapture(object):
    """Captures what goes to and from one own port after the other; `note` says why it cannot.

    The port is one that only this client has on its address, so nothing of other programs is read.
    """

    def __init__(self, address):
        # type: (str) -> None
        """Opens the capture where that is possible; an address "" needs none."""
        self.note, self.capture = "", None  # type: str, Any
        self.port, self.began, self.dropped = 0, 0.0, 0
        self.packets = []  # type: List[Packet]
        if address:
            self.open(address)

    def open(self, address):
        # type: (str) -> None
        """Opens the packet socket, or notes why that is not possible."""
        try:
            self.capture = Capture()
            self.capture.addresses = filter_words(address)
        except (Unsupported,) + ERRORS as e:
            self.note = "no packet socket: " + message_of(e)
            if errno_of(e) in REFUSED:
                self.note = "a packet capture " + lack_of_raw_sockets()

    def begin(self, sock, address):
        # type: (Any, str) -> None
        """Binds a client's socket, and captures its segments from now on; raises OSError."""
        if not self.capture:
            return
        sock.bind((address, 0))
        self.port, self.packets, self.began = int(sock.getsockname()[1]), [], time.time()
        self.dropped = 0
        self.capture.watch([self.port])
        self.capture.take_lost()

    def drain(self):
        # type: () -> None
        """Takes what was captured up to now. The middle of a long connection is dropped."""
        if not self.capture:
            return
        self.capture.drain(self.port, self.packets)
        if len(self.packets) > MAX_PACKETS:
            self.dropped += len(self.packets) - 2 * EDGE
            del self.packets[EDGE:-EDGE]

    def evidence(self, port):
        # type: (int) -> Tuple[List[Any], str]
        """Returns the rows of the segments between this client and the service's port, and a note
        about them.
        """
        if not self.capture:
            return [], self.note
        self.drain()
        own = [each for each in self.packets if port in (each.source, each.target)]
        rows = trace_rows(own, self.port, "peer", self.began)[0]
        counts = (
            (len(own) - len(rows) + self.dropped, "%d segments in the middle are left out"),
            (self.capture.take_lost(), "%d segments found no room in the capture"),
        )
        return rows, "; ".join([note % count for count, note in counts if count])

    def close(self):
        # type: () -> None
        """Ends the capture."""
        if self.capture:
            self.capture.sock.close()


def filter_words(address):
    # type: (str) -> Tuple[Any, ...]
    """Returns what the filter of bpf.py needs to pass what an address sends to itself."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return IPV4_LOOPBACK, struct.unpack("!4I", packed)
    return struct.unpack("!I", socket.inet_pton(socket.AF_INET, address))
