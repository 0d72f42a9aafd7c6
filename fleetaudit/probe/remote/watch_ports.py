"""Tells ports that programs listen on from those that the kernel chose for their connections."""

import itertools
from typing import Dict, Iterator, Set, Tuple

from .constants import ERRORS, LISTEN, MAX_WORD
from .files import file_lines, parse_count, read_file
from .waiting import now
from .watch_owners import UNKNOWN, Owner

PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
MAX_PORT = 65535
RELIST_S = 0.2  # between two looks at the listeners of one namespace
MAX_NAMESPACES = 256


class ListeningPorts(object):
    """The ports that programs listen on. Every other port of ip_local_port_range is one that the
    kernel chose for a client: each is another one, so they count as port 0.
    """

    def __init__(self):
        # type: () -> None
        self.ports = {}  # type: Dict[str, Set[int]]  # by namespace
        self.listed = {}  # type: Dict[str, float]
        self.low, self.high = port_range()
        self.list("", "self")

    def list(self, namespace, process):
        # type: (str, str) -> None
        """Adds the ports of a namespace that a process is in, unless it was done just now."""
        if now() - self.listed.get(namespace, 0.0) < RELIST_S:
            return
        if len(self.ports) >= MAX_NAMESPACES:
            self.ports.clear()
        folder = "/proc/%s/net/" % process
        found = listening_in(folder + "tcp") | listening_in(folder + "tcp6")
        self.ports.setdefault(namespace, set()).update(found)
        self.listed[namespace] = now()

    def service(self, owner, pid, port):
        # type: (Owner, int, int) -> int
        """Returns a port, or 0 if it is a client's."""
        if self.low <= port <= self.high and not self.is_known(owner, port):
            place = {"": "self", UNKNOWN: "self"}.get(owner.namespace, str(pid))
            self.list(owner.namespace, place)
            port *= self.is_known(owner, port)
        return port

    def is_known(self, owner, port):
        # type: (Owner, int) -> bool
        """Returns whether a program of the owner's namespace listens on a port; of any known
        namespace if the owner's is not known.
        """
        if owner.namespace == UNKNOWN:
            return any(port in ports for ports in self.ports.values())
        return port in self.ports.get(owner.namespace, ())


def port_range():
    # type: () -> Tuple[int, int]
    """Returns the ports that the kernel chooses from."""
    try:
        low, high = read_file(PORT_RANGE, 64).split()
        return parse_count(low, 10, MAX_PORT), parse_count(high, 10, MAX_PORT)
    except (ValueError,) + ERRORS:
        return 32768, 60999


def listening_in(path):
    # type: (str) -> Set[int]
    """Returns the ports of listeners in a table of /proc/net, which lists them first."""
    try:
        rows = itertools.takewhile(lambda row: row[0] == LISTEN, table_rows(path))
        return {port for _, port, _, _ in rows}
    except (IndexError, ValueError) + ERRORS:
        return set()


def table_rows(path):
    # type: (str) -> Iterator[Tuple[int, int, int, int]]
    """Yields the state, local port, unread bytes and inode of each socket in a table of /proc/net;
    raises OSError, and IndexError or ValueError for an unknown format.
    """
    lines = file_lines(path)
    next(lines, None)  # the headings
    for line in lines:
        fields = line.split(None, 10)
        yield (
            parse_count(fields[3], 16),
            parse_count(fields[1].rpartition(b":")[2], 16, MAX_PORT),
            parse_count(fields[4].partition(b":")[2], 16, MAX_WORD),
            parse_count(fields[9]),
        )
