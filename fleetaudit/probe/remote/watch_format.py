"""Reads the tracepoint tcp:tcp_send_reset: its fields as the kernel describes them, and its values.

Its fields: until 6.9 sport, daddr, daddr_v6; from then on two struct sockaddr and `reason`, whose
names for a program's own resets came with 6.12 (include/trace/events/tcp.h).
"""

import re
import socket
import struct
from typing import Optional

from .errors import Unsupported, call_or
from .files import parse_count
from .watch_reasons import ON_CLOSE, RESET_WORDS, UNSPECIFIED

MAX_FORMAT = 65536
FORMAT_FIELD = re.compile(
    r"^\s*field:[^;\n]*?(\w+)(?:\[\d+\])?;\s*offset:(\d{1,4});\s*size:(\d{1,4});", re.M
)
FORMAT_REASON = re.compile(r'\{ (\d{1,9}), "(\w{1,64})" \}')
FORMAT_NEEDS = {"common_flags", "saddr", "daddr"}
MAX_RAW = 4096
SOCKADDR = 28  # bytes of struct sockaddr_in6
INTERRUPTED = 0x08 | 0x10  # TRACE_FLAG_HARDIRQ, TRACE_FLAG_SOFTIRQ (include/linux/trace_events.h)
MAPPED = b"\0" * 10 + b"\xff\xff"


class ResetFormat(object):
    """The tracepoint's number, its fields, as (offset, bytes) by name, and names of reasons."""

    def __init__(self, number, text):
        # type: (str, str) -> None
        """Raises Unsupported for a text that describes something else, and ValueError."""
        self.number = parse_count(number, 10, 1 << 20)
        self.fields = {
            name: (int(offset), int(size)) for name, offset, size in FORMAT_FIELD.findall(text)
        }
        if not set(self.fields) >= FORMAT_NEEDS:
            raise Unsupported("the format of tcp:tcp_send_reset has other fields than expected")
        pairs = FORMAT_REASON.findall(text.rpartition("REC->reason,")[2])
        has_reason = "reason" in self.fields
        self.reasons = {int(number): name for number, name in pairs if has_reason}
        self.told_by = "reason" if ON_CLOSE in self.reasons.values() else "stack"

    def filter(self):
        # type: () -> str
        """Returns the kernel's filter for resets of programs, "" where it has no field for it."""
        words = RESET_WORDS if self.told_by == "reason" else (UNSPECIFIED,)
        numbers = sorted([number for number, name in self.reasons.items() if name in words])
        return "||".join(["reason==%d" % number for number in numbers])

    def integer(self, raw, name):
        # type: (bytes, str) -> int
        """Returns a field in the machine's order, 0 if it is not there."""
        offset, size = self.fields.get(name, (0, 0))
        code = {1: "=B", 2: "=H", 4: "=I"}.get(size, "")
        return int(struct.unpack_from(code, raw, offset)[0]) if code else 0

    def part(self, raw, name):
        # type: (bytes, str) -> bytes
        offset, size = self.fields.get(name, (0, 0))
        return raw[offset : offset + size]

    def reason(self, raw):
        # type: (bytes) -> str
        """Returns the kernel's name of the reason, "" if the event has none."""
        return str(self.reasons.get(self.integer(raw, "reason"), ""))

    def is_interrupt(self, raw):
        # type: (bytes) -> bool
        """Returns whether the event is of an interrupt, whose process has nothing to do with it."""
        return bool(self.integer(raw, "common_flags") & INTERRUPTED)

    def port(self, raw):
        # type: (bytes) -> int
        """Returns the local port."""
        if "sport" in self.fields:
            return self.integer(raw, "sport")
        return int(struct.unpack_from("!H", self.part(raw, "saddr"), 2)[0])

    def peer(self, raw):
        # type: (bytes) -> bytes
        """Returns the peer's address: 4 or 16 bytes."""
        if "sport" in self.fields:
            return self.part(raw, "daddr_v6") or self.part(raw, "daddr")
        address = self.part(raw, "daddr").ljust(SOCKADDR, b"\0")
        is_v4 = struct.unpack_from("=H", address)[0] == socket.AF_INET
        return address[4:8] if is_v4 else address[8:24]


def peer_network(address):
    # type: (bytes) -> str
    """Returns the network of an address: /24 of IPv4, /64 of IPv6."""
    if address.startswith(MAPPED):
        address = address[len(MAPPED) :]
    if len(address) == 4:
        return socket.inet_ntoa(address[:3] + b"\0") + "/24"
    return socket.inet_ntop(socket.AF_INET6, address[:8].ljust(16, b"\0")) + "/64"


def address_of(text):
    # type: (str) -> Optional[bytes]
    """Returns the bytes of an address, None for any other text."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    found = call_or(None, socket.inet_pton, family, text)  # type: Optional[bytes]
    return found
