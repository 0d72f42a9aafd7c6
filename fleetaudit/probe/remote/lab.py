"""Holds what all trials share."""

import errno
import select
import socket
import time

from .bpf import attach, program_of
from .capture import Capture
from .constants import ERRORS, GONE, MAX_HEADERS, SCARCE
from .counters import WATCHED, Counters
from .errors import Failed, NotHere, Scarce, name_of, number_of, reason_of
from .files import read_or
from .listeners import accept_from, needs_raw, new_listener
from .sock_diag import Diagnosis, listed
from .system import safe_close, stay_on_this_cpu
from .trace import deviates, packed
from .waiting import TIMEOUT, awaited, now


class Laboratory(object):
    """Where the trials run: listeners, the packet socket, counters, and what of all that is to be had."""

    def __init__(self, private, available_ulp):
        self.private = private
        self.available_ulp = available_ulp
        stay_on_this_cpu()
        self.counters = Counters(WATCHED)
        self.listeners = {}
        self.checked, self.tries = (
            {},
            {},
        )  # by family: why no connection could be made, "" where one could; how often
        self.repeated = []
        self.capture, self.no_capture, self.wire_note = None, "", ""
        self.capture_where_possible()
        self.fence, self.fences_lost = self.fence_socket(), 0
        self.fences = []  # when each datagram was sent; its number is its text
        # With receive packet steering each flow has a CPU of its own, and the fence may come before what it follows.
        self.steered = not private and read_or("/sys/class/net/lo/queues/rx-0/rps_cpus", "").strip(
            "0,\n"
        )
        self.raw = {}
        self.room = MAX_HEADERS
        self.listing_is_cheap = None  # not known yet
        try:
            self.diagnosis, self.no_diagnosis = Diagnosis(), ""
        except (NotHere,) + ERRORS as e:
            self.diagnosis, self.no_diagnosis = None, reason_of(e)

    def capture_where_possible(self):
        try:
            self.capture = Capture()
        except (NotHere,) + ERRORS as e:
            refused = number_of(e) in (errno.EPERM, errno.EACCES)
            self.no_capture = needs_raw() if refused else "no packet socket: " + reason_of(e)
            self.wire_note = "a packet capture " + self.no_capture if refused else self.no_capture

    def fence_socket(self):
        """Returns a UDP socket connected to itself: what it sends comes back after all that was sent before."""
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            return sock
        except ERRORS:
            return None

    def settle(self):
        """Waits until loopback has delivered what is on its way, in order on one CPU; returns whether it has."""
        if self.fence is None:
            return False
        try:
            if self.fence_returns() or self.fence_returns():
                return True
            self.fences_lost += 1
        except ERRORS as e:
            self.fences_lost += 1 if number_of(e) in SCARCE else 2
        if self.fences_lost >= 2:
            self.fence = None  # a firewall drops it: wait for it no more
        return False

    def fence_returns(self):
        """Returns whether a datagram came back in time. One that comes back late shows how slow the host is."""
        self.fences.append(now())
        number = len(self.fences)
        self.fence.send(b"%d" % number)
        while awaited(self.fence, select.POLLIN):
            came = int(self.fence.recv(16))
            TIMEOUT.delayed(now() - self.fences[came - 1])
            if came == number:
                self.fences_lost = 0
                if self.steered:
                    time.sleep(TIMEOUT.stretched(0.002))
                return True
        return False

    def check(self, family):
        """Raises NotHere where no connection can be made over a family at all.

        What failed is tried twice for each scenario, six times at most: a host may be stalled for a while.
        """
        for _ in range(2):
            if family == "unix" or self.checked.get(family) == "":
                return
            if self.tries.get(family, 0) < 6:
                self.checked[family] = self.try_family(family)
                self.tries[family] = self.tries.get(family, 0) + 1
        if self.checked[family]:
            raise NotHere(self.checked[family])

    def try_family(self, family):
        """Returns why no connection can be made over a family, "" where one can."""
        name = "IPv6" if family == "ipv6" else "IPv4"
        client, began = None, now()
        try:
            listener = self.listener(family)
            client = socket.socket(listener.family, socket.SOCK_STREAM)
            client.settimeout(TIMEOUT.seconds())
            client.connect(listener.getsockname()[:2])
            server = accept_from(listener, client.getsockname()[:2])
            TIMEOUT.delayed(now() - began)
            safe_close(server, abort=True)
            return ""
        except ERRORS as e:
            if number_of(e) in SCARCE:
                raise Scarce("this host gives the probe too little to work with (%s)" % name_of(e))
            if number_of(e) in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                self.tries[family] = 6
                return "no %s loopback address: %s is switched off on this host" % (name, name)
            return "no connection over %s loopback: %s" % (name, reason_of(e))
        except Failed as e:
            return "no connection over %s loopback: %s" % (name, e)
        finally:
            if client is not None:
                safe_close(client, abort=True)

    def listener(self, family, kind="tcp"):
        """Returns the listener that all plain trials of a family and kind share."""
        key = (family, kind)
        if key not in self.listeners:
            self.listeners[key] = new_listener(family, kind)
            self.watch()
        return self.listeners[key]

    def watch(self, extra=()):
        """Lets the capture see the shared listeners' connections and `extra` ports."""
        if self.capture:
            self.capture.watch([s.getsockname()[1] for s in self.listeners.values()] + list(extra))

    def add_headers(self, trials, packets, expect):
        """Adds the headers of a scenario's trials as they were captured, where trials differ or deviate."""
        differ = len(trials) > 1
        for trial, kept in zip(trials, packets):
            if trial["connection"] and (differ or deviates(trial, expect)):
                headers = packed(kept)
                if len(headers) <= self.room:
                    self.room -= len(headers)
                    trial["connection"]["headers"] = headers

    def diagnosed(self, near, far):
        """Returns what the kernel says of the socket with these addresses (see Diagnosis.look), None where it is not
        asked. One socket that cannot be asked about says nothing of the next."""
        if self.diagnosis:
            try:
                return self.diagnosis.look(near, far)
            except ERRORS:
                pass
        return None

    def listed(self, near, far):
        """Returns the same from the tables of /proc/net, None where they cannot be read to their end in good time."""
        try:
            return listed(near, far)
        except (IndexError, ValueError) + ERRORS:
            return None

    def rx_queue(self, near, far, steps):
        """Returns a closer's rx_queue by the cheapest way that tells it; None rather than at too high a price, and
        where the connection is over, which leaves data in a socket that no table lists."""
        found = self.diagnosed(near, far)
        if found is None and (
            self.is_listing_cheap() or any(s[1] in ("send-urgent", "resend-fin") for s in steps)
        ):
            found = self.listed(
                near, far
            )  # else FIONREAD tells the same, but for urgent bytes and a FIN
        return found[2] if found and found[0] != GONE else None

    def is_listing_cheap(self):
        """Returns whether /proc/net/tcp is listed within 2 ms here; measured once, so that all trials do alike."""
        if self.listing_is_cheap is None:
            began = now()
            self.listed((socket.AF_INET, "127.0.0.1", 0), (socket.AF_INET, "127.0.0.1", 0))
            self.listing_is_cheap = now() - began < 0.002
        return self.listing_is_cheap

    def raw_socket(self, family):
        """Returns a raw TCP socket, for sending alone: its own filter lets nothing in."""
        if family not in self.raw:
            sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
            attach(sock, program_of([("", 0x06, 0, "", "")]))
            self.raw[family] = sock
        return self.raw[family]
