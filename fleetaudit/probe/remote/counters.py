"""Reads the kernel's TCP counters on the host; the controller checks the ending against them."""

import os
from typing import Dict, Iterable, List, Tuple

from .constants import ERRORS
from .errors import error_name
from .files import READ_FLAGS, note_unreadable, parse_count

ABORTS = (
    "TCPAbortOnClose",
    "TCPAbortOnData",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "TCPAbortOnTimeout",
    "TCPAbortFailed",
)
REPORTED = ABORTS + ("OutRsts", "EstabResets", "MPFastcloseTx", "MPRstTx")
OF_TRIALS = REPORTED + ("InCsumErrors",)
SINCE_BOOT = REPORTED + (
    "ListenDrops",
    "ListenOverflows",
    "ActiveOpens",
    "PassiveOpens",
    "CurrEstab",
    "MPFastcloseRx",
    "MPRstRx",
    "MPCapableSYNRX",
    "MPCapableSYNTX",
)
NEEDED = ("OutRsts", "TCPAbortOnClose")  # without these two the counters prove nothing
COUNTER_FILES = ("/proc/net/netstat", "/proc/net/snmp")
HEADINGS = (b"TcpExt:", b"Tcp:", b"MPTcpExt:")


class Counters(object):
    """The TCP counters of the namespace that this was made in. Columns differ between kernels, so
    they are found by name. A counter without a number is unknown, not 0, and noted.
    """

    def __init__(self, names, notes):
        # type: (Iterable[str], List[str]) -> None
        self.names = frozenset(names)
        self.notes = notes
        self.columns = {}  # type: Dict[bytes, List[Tuple[int, str]]]
        self.files = []  # type: List[Tuple[str, int]]
        for path in COUNTER_FILES:
            try:
                self.files.append((path, os.open(path, READ_FLAGS)))
            except ERRORS as e:
                note_unreadable(self.notes, path, e)

    def read(self):
        # type: () -> Dict[str, int]
        """Returns the known counters by name."""
        found = {}  # type: Dict[str, int]
        for path, fd in self.files:
            missing = self.read_table(fd, found)
            if missing and len(self.notes) < 20:
                self.notes.append(("%s has no number for: %s" % (path, ", ".join(missing)))[:1000])
        return found

    def read_table(self, fd, found):
        # type: (int, Dict[str, int]) -> List[str]
        """Adds the counters of one file to `found`; returns the names without a number."""
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            lines = os.read(fd, 65536).split(b"\n")[:-1]  # the last is empty, or was cut
        except ERRORS as e:
            return [error_name(e)]
        missing, headings = [], 0
        for heading, values in zip(lines, lines[1:] + [b""]):
            if heading.startswith(HEADINGS):
                headings += 1
                missing += self.read_row(heading, values.split(), found)
        return missing if headings else ["any counter"]

    def read_row(self, heading, values, found):
        # type: (bytes, List[bytes], Dict[str, int]) -> List[str]
        """Adds the counters of a heading and the line of values below it to `found`; returns the
        names without a number.
        """
        if values[:1] != heading.split(None, 1)[:1]:
            values = []
        missing = []
        for i, name in self.columns_of(heading):
            try:
                found[name] = parse_count(values[i])
            except (IndexError, ValueError):
                missing.append(name)
        return missing

    def columns_of(self, heading):
        # type: (bytes) -> List[Tuple[int, str]]
        """Returns the number and name of each counted column."""
        if heading in self.columns:
            return self.columns[heading]
        names = heading.decode("ascii", "replace").split()
        columns = [(i, name) for i, name in enumerate(names) if name in self.names]
        if columns:  # else it is a line with values
            self.columns[heading] = columns
        return columns

    def close(self):
        # type: () -> None
        for _, fd in self.files:
            os.close(fd)
        self.files = []
