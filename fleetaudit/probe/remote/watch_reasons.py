"""Tells why the kernel sent a RST: by the tracepoint's own reason, or by the functions that called.

In net/ipv4, a RST that a program causes is sent by tcp_send_active_reset(), which names its reason
since 6.12. Every other RST answers a segment, for which no program is to blame.
"""

import os
import re
from typing import Dict, List, Optional, Sequence, Tuple

from .errors import call_or
from .files import READ_FLAGS, read_descriptor

# What is reported for the names of enum sk_rst_reason that concern a program (include/net/
# rstreason.h). TCP_STATE stands for every tcp_disconnect() and tcp_abort(): the caller tells.
# TCP_ABORT_ON_LINGER is TCP_LINGER2 below 0, which asks for no lingering after the FIN.
RESET_WORDS = {
    "TCP_ABORT_ON_CLOSE": "unread data",
    "TCP_ABORT_ON_DATA": "data after close",
    "TCP_ABORT_ON_LINGER": "linger 0",
    "TCP_ABORT_ON_MEMORY": "memory",
    "TCP_DISCONNECT_WITH_DATA": "disconnect",
    "TCP_KEEPALIVE_TIMEOUT": "keepalive",
    "TCP_STATE": "",
}
ON_CLOSE, UNSPECIFIED = "TCP_ABORT_ON_CLOSE", "NOT_SPECIFIED"
ACTIVE_RESET, DISCONNECT, FASTCLOSE = (
    "tcp_send_active_reset",
    "tcp_disconnect",
    "mptcp_do_fastclose",
)
# What calls tcp_send_active_reset(), and what calls tcp_disconnect().
CALLER_WORDS = {
    "__tcp_close": "unread data",
    "tcp_close": "unread data",
    "tcp_keepalive_timer": "keepalive",
    "tcp_out_of_resources": "memory",
    "tcp_retransmit_timer": "memory",
    "tcp_probe_timer": "memory",
    "tcp_write_timeout": "memory",
    "tcp_write_timer_handler": "memory",
}
DISCONNECT_WORDS = {
    "__tcp_close": "linger 0",
    "tcp_close": "linger 0",
    "inet_child_forget": "exit of a child socket",
    "inet_csk_listen_stop": "exit of a child socket",
}
SYMBOLS = sorted({ACTIVE_RESET, DISCONNECT, FASTCLOSE} | set(CALLER_WORDS) | set(DISCONNECT_WORDS))
# A compiler splits functions into parts: "tcp_probe_timer.part.0".
SYMBOL_PATTERN = r"^([0-9a-f]{8,16}) [tTwW] (%s)(?:\.[\w.]+)?\n" % "|".join(SYMBOLS)
SYMBOL_LINE = re.compile(SYMBOL_PATTERN.encode("ascii"), re.M)
SYMBOL_ADDRESS = re.compile(b"^([0-9a-f]{8,16}) ", re.M)
KALLSYMS, MAX_KALLSYMS, KALLSYMS_CHUNK = "/proc/kallsyms", 1 << 26, 1 << 18
MAX_RANGES = 4 * len(SYMBOLS)
LOOK_AHEAD = 2048  # bytes after a symbol in which the next one is
MAX_ADDRESSES = 4096


def reset_word(reason, callers):
    # type: (str, Sequence[str]) -> Optional[str]
    """Returns the word for a RST; None if it answers a segment. `reason` is the kernel's name of
    it, "" before 6.10; `callers` are functions, the innermost first, "" for an unknown one.
    """
    if FASTCLOSE in callers:
        return "other"
    word = RESET_WORDS.get(reason)
    if word:
        return word
    if ACTIVE_RESET not in callers:
        return None if word is None else "other"
    outward = list(callers)[::-1]  # 5.10.218 reports the innermost function twice
    return caller_word(outward[: outward.index(ACTIVE_RESET)][::-1])


def caller_word(callers):
    # type: (List[str]) -> str
    """Returns the word for a RST by the functions that called tcp_send_active_reset()."""
    first, second = (callers + ["", ""])[:2]
    if first == DISCONNECT:
        return DISCONNECT_WORDS.get(second, "disconnect")
    return CALLER_WORDS.get(first, "other")


class Symbols(object):
    """The few functions of the kernel whose names matter, by their addresses. They are read from
    /proc/kallsyms once; `are_hidden` if the kernel shows no addresses.
    """

    def __init__(self, path=KALLSYMS):
        # type: (str) -> None
        self.path, self.is_read = path, False
        self.ranges = []  # type: List[Tuple[int, int, str]]
        self.names = {}  # type: Dict[int, str]

    def are_hidden(self):
        # type: () -> bool
        self.read()
        return ACTIVE_RESET not in [name for _, _, name in self.ranges]

    def name(self, address):
        # type: (int) -> str
        """Returns the function that an address is in, "" if it is none of SYMBOLS."""
        if address not in self.names:
            if len(self.names) >= MAX_ADDRESSES:
                self.names.clear()
            self.names[address] = self.find(address)
        return self.names[address]

    def find(self, address):
        # type: (int) -> str
        self.read()
        names = [name for start, end, name in self.ranges if start <= address < end]
        return (names + [""])[0]

    def read(self):
        # type: () -> None
        """Reads the addresses once; they stay unknown if that fails."""
        if not self.is_read:
            self.is_read = True
            call_or(None, self.read_all)

    def read_all(self):
        # type: () -> None
        """Adds the symbols of the file, at most MAX_KALLSYMS bytes; raises OSError. Each chunk is
        read with the end of the one before, since a symbol ends where the next one begins.
        """
        fd, rest = os.open(self.path, READ_FLAGS), b""
        try:
            for _ in range(MAX_KALLSYMS // KALLSYMS_CHUNK):
                chunk = read_descriptor(fd, KALLSYMS_CHUNK)
                text = rest + chunk
                self.add(text, len(text) - LOOK_AHEAD * bool(chunk))
                rest = text[-2 * LOOK_AHEAD :].partition(b"\n")[2]
                if not chunk:
                    break
        finally:
            os.close(fd)

    def add(self, text, limit):
        # type: (bytes, int) -> None
        """Adds the symbols of whole lines that begin before `limit`, but none without address."""
        for match in SYMBOL_LINE.finditer(text):
            start, name = int(match.group(1), 16), match.group(2).decode("ascii")
            if start and match.start() < limit:
                following = text[match.end() : match.end() + LOOK_AHEAD]
                self.ranges.append((start, symbol_end(start, following), name))
        del self.ranges[MAX_RANGES:]


def symbol_end(start, following):
    # type: (int, bytes) -> int
    """Returns the first address after `start` in the lines that follow: several functions may have
    one address.
    """
    addresses = [int(digits, 16) for digits in SYMBOL_ADDRESS.findall(following)]
    return min([each for each in addresses if each > start] or [start + LOOK_AHEAD])
