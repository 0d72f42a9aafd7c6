"""Reads the kernel's TCP counters."""

import os

from .constants import ERRORS
from .errors import name_of
from .files import count_of

# What each trial watches, and what is reported of the host's own life since boot.
ABORTS = (
    "TCPAbortOnClose",
    "TCPAbortOnData",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "TCPAbortOnTimeout",
    "TCPAbortFailed",
)
COUNTERS = ABORTS + ("OutRsts", "EstabResets", "MPFastcloseTx", "MPRstTx")
WATCHED = COUNTERS + ("InCsumErrors",)  # by each trial
HEADINGS = (b"TcpExt:", b"Tcp:", b"MPTcpExt:")
NEEDED = ("OutRsts", "TCPAbortOnClose")  # without these two the counters are no witness
EXPOSURE = COUNTERS + (
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


class Counters(object):
    """The kernel's TCP counters of the namespace that this was made in. Columns vary by kernel: parsed by name.

    `notes` get a line for a file that names a counter and has no number for it; that counter is unknown, not 0.
    """

    def __init__(self, names, notes=None):
        self.names = frozenset(names)
        self.notes = [] if notes is None else notes
        self.columns = {}
        self.files = []
        for path in ("/proc/net/netstat", "/proc/net/snmp"):
            try:
                self.files.append((path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
            except ERRORS as e:
                self.notes.append("%s cannot be read: %s" % (path, name_of(e)))

    def read(self):
        """Returns the counters by name, None where /proc tells none."""
        found = {}
        for path, fd in self.files:
            try:
                os.lseek(fd, 0, os.SEEK_SET)
                lines = os.read(fd, 65536).split(b"\n")[:-1]  # the last is empty, or was cut
            except ERRORS as e:
                lines, missing = [], [name_of(e)]
            else:
                missing = (
                    [] if any(line.startswith(HEADINGS) for line in lines) else ["any counter"]
                )
            for heading, values in zip(lines, lines[1:] + [b""]):
                if heading.startswith(HEADINGS):
                    missing += self.take(heading, values.split(), found)
            if missing and len(self.notes) < 20:
                self.notes.append(("%s has no number for: %s" % (path, ", ".join(missing)))[:1000])
        return found or None

    def take(self, heading, values, found):
        """Adds the counters of one heading and the line below it to `found`; returns the names without a number."""
        if heading not in self.columns:
            names = heading.decode("ascii", "replace").split()
            self.columns[heading] = [(i, n) for i, n in enumerate(names) if n in self.names]
        if not self.columns[heading]:  # the line with the values
            return []
        missing = []
        same = values[:1] == heading.split(None, 1)[:1]
        for i, name in self.columns[heading]:
            try:
                found[name] = count_of(values[i] if same else b"")
            except (IndexError, ValueError):
                missing.append(name)
        return missing

    def close(self):
        for _, fd in self.files:
            os.close(fd)
        self.files = []
