"""Holds what all trials share, and finds out what this host allows."""

import errno
import socket
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from .bpf import REJECT_ALL, assemble, attach_filter
from .capture import Capture
from .constants import ERRORS, REFUSED, SCARCE
from .counters import OF_TRIALS, Counters
from .errors import StepFailed, Unsupported, call_or, errno_of, message_of
from .fence import Fence
from .listeners import accept_from, lack_of_raw_sockets, open_listener
from .packets import Packet
from .proc_net import NO_SOCKET, find_listed
from .sock_diag import SockDiag
from .system import close_quietly, stay_on_this_cpu
from .times import pack
from .trace import deviates
from .waiting import TIMEOUT, now

MAX_CHECKS = 6  # of one family: a host may be stalled for a while
NO_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # of socket(2) and bind(2)
NOWHERE = (socket.AF_INET, "127.0.0.1", 0)


class Laboratory(object):
    """Listeners, the packet socket, counters, and why some of them are missing."""

    def __init__(self, private, available_ulp):
        # type: (bool, Sequence[str]) -> None
        self.private, self.available_ulp = private, available_ulp
        stay_on_this_cpu()
        self.counters = Counters(OF_TRIALS, [])
        self.listeners = {}  # type: Dict[Tuple[str, str], socket.socket]
        self.checks = {}  # type: Dict[str, int]  # by family: how often it was tried
        self.problems = {}  # type: Dict[str, str]  # by family: why no connection can be made
        self.repeated = []  # type: List[str]  # trials that were run again
        self.capture = None  # type: Optional[Capture]
        self.no_capture = self.wire_note = ""
        self.open_capture()
        self.fence = Fence(private)
        self.symbols = ""  # of the kernel, once they are needed
        self.raw_sockets = {}  # type: Dict[int, socket.socket]
        self.cheap_listing = None  # type: Optional[bool]  # None: not measured yet
        self.sock_diag, self.no_sock_diag = None, ""  # type: Optional[SockDiag], str
        try:
            self.sock_diag = SockDiag()
        except (Unsupported,) + ERRORS as e:
            self.no_sock_diag = message_of(e)

    def abilities(self):
        # type: () -> Tuple[Any, ...]
        """Returns what this laboratory can do; another one may take its place if that is equal."""
        return (self.no_capture, self.no_sock_diag, self.fence.sock is None)

    def close(self):
        # type: () -> None
        """Closes what a laboratory has open before its first trial."""
        self.counters.close()
        for part in (self.capture, self.fence, self.sock_diag):
            close_quietly(getattr(part, "sock", None))

    def open_capture(self):
        # type: () -> None
        """Opens the packet socket, or notes why that is not possible."""
        try:
            self.capture = Capture()
        except (Unsupported,) + ERRORS as e:
            self.no_capture = self.wire_note = "no packet socket: " + message_of(e)
            if errno_of(e) in REFUSED:
                self.no_capture = lack_of_raw_sockets()
                self.wire_note = "a packet capture " + self.no_capture

    def check_family(self, family):
        # type: (str) -> None
        """Raises Unsupported if no connection can be made over a family. What failed is tried twice
        for each scenario, up to MAX_CHECKS.
        """
        for _ in range(2):
            if family == "unix" or self.problems.get(family) == "":
                return
            if self.checks.get(family, 0) < MAX_CHECKS:
                self.problems[family] = self.try_family(family)
                self.checks[family] = self.checks.get(family, 0) + 1
        if self.problems[family]:
            raise Unsupported(self.problems[family])

    def try_family(self, family):
        # type: (str) -> str
        """Returns why no connection can be made over a family, "" if one can; raises OSError."""
        name = {"ipv6": "IPv6"}.get(family, "IPv4")
        try:
            self.connect_once(self.listener(family))
            return ""
        except (StepFailed,) + ERRORS as e:
            if errno_of(e) in NO_FAMILY and (family, "tcp") not in self.listeners:
                self.checks[family] = MAX_CHECKS
                return "no %s loopback address: %s is switched off on this host" % (name, name)
            if errno_of(e) in SCARCE:
                raise
            return "no connection over %s loopback: %s" % (name, message_of(e))

    def connect_once(self, listener):
        # type: (socket.socket) -> None
        """Makes one connection, and measures its delay; raises OSError or StepFailed."""
        began = now()
        client = socket.socket(listener.family, socket.SOCK_STREAM)
        try:
            client.settimeout(TIMEOUT.seconds())
            client.connect(listener.getsockname()[:2])
            server = accept_from(listener, client.getsockname()[:2])
            TIMEOUT.record_delay(now() - began)
            close_quietly(server, abort=True)
        finally:
            close_quietly(client, abort=True)

    def listener(self, family, kind="tcp"):
        # type: (str, str) -> socket.socket
        """Returns the listener that all plain trials of a family and kind share."""
        key = (family, kind)
        if key not in self.listeners:
            self.listeners[key] = open_listener(family, kind)
            self.watch_ports()
        return self.listeners[key]

    def watch_ports(self, extra=()):
        # type: (Iterable[int]) -> None
        """Captures the shared listeners' connections, and those of `extra` ports."""
        if self.capture:
            shared = [sock.getsockname()[1] for sock in self.listeners.values()]
            self.capture.watch(shared + list(extra))

    def add_headers(self, trials, packets, expect):
        # type: (List[Dict[str, Any]], List[List[Packet]], Sequence[str]) -> None
        """Adds headers to the trials of a scenario that differ or deviate."""
        for trial, captured in zip(trials, packets):
            if trial["connection"] and (len(trials) > 1 or deviates(trial, expect)):
                headers = pack(b"".join([packet.headers for packet in captured]))
                trial["connection"]["headers"] = headers

    def find_by_diag(self, near, far):
        # type: (Tuple[int, str, int], Tuple[int, str, int]) -> Optional[Tuple[int, int, int]]
        """Returns what sock_diag(7) says of a socket, as `find_listed`; None without an answer."""
        found = None  # type: Optional[Tuple[int, int, int]]
        if self.sock_diag:
            found = call_or(None, self.sock_diag.find, near, far)
        return found

    def find_in_tables(self, near, far):
        # type: (Tuple[int, str, int], Tuple[int, str, int]) -> Optional[Tuple[int, int, int]]
        """Returns the same from /proc/net, None if it cannot be read in time."""
        try:
            return find_listed(near, far)
        except (IndexError, ValueError) + ERRORS:
            return None

    def find(self, near, far):
        # type: (Tuple[int, str, int], Tuple[int, str, int]) -> Optional[Tuple[int, int, int]]
        return self.find_by_diag(near, far) or self.find_in_tables(near, far)

    def rx_queue(self, near, far, steps):
        # type: (Tuple[int, str, int], Tuple[int, str, int], Sequence[Any]) -> Optional[int]
        """Returns a closer's unread bytes by the cheapest way that counts them all; None if that is
        too expensive, or no table lists the socket any more.
        """
        found = self.find_by_diag(near, far)
        if found is None and (needs_rx_queue(steps) or self.is_listing_cheap()):
            found = self.find_in_tables(near, far)
        return found[2] if found and found != NO_SOCKET else None

    def is_listing_cheap(self):
        # type: () -> bool
        """Returns whether /proc/net/tcp is listed within 2 ms; measured once for all trials."""
        if self.cheap_listing is None:
            began = now()
            self.find_in_tables(NOWHERE, NOWHERE)
            self.cheap_listing = now() - began < 0.002
        return self.cheap_listing

    def raw_socket(self, family):
        # type: (int) -> socket.socket
        """Returns a raw TCP socket for sending: its filter lets nothing in."""
        if family not in self.raw_sockets:
            sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
            attach_filter(sock, assemble(REJECT_ALL))
            self.raw_sockets[family] = sock
        return self.raw_sockets[family]


def needs_rx_queue(steps):
    # type: (Sequence[Any]) -> bool
    """Returns whether FIONREAD does not count all unread bytes: urgent ones, and after a FIN."""
    return any(step[1] in ("send-urgent", "resend-fin") for step in steps)
