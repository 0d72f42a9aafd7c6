"""Names the program behind a process: its executable, unit or container, and network namespace.

A process is looked up when its reset is read. One that has ended by then is known by what was seen
of it before: all processes are looked up at the beginning, and the kernel reports who forks and who
executes a program. Only processes that reset are reported.
"""

import collections
import os
import re
from typing import Any, Dict, Set, Tuple

from .constants import ERRORS, LISTEN
from .errors import call_or
from .files import file_lines, parse_count, read_file
from .waiting import now

MAX_KNOWN = 32768  # processes
MAX_PATH = 256  # characters that are reported
LOOK_S = 0.5  # for all processes, at the beginning
MAX_LOOKS = 50  # processes that are looked up after one wait because they executed a program
CONTAINER = re.compile(
    r"(docker|cri-containerd|crio|libpod|containerd|lxc|kubepods)[^\n]*?[-/:]([0-9a-f]{12})[0-9a-f]{20,52}"
)
UNIT = re.compile(r"([^/\n]+\.(?:service|scope|socket|mount))(?:/|$)", re.M)
PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
RELIST_S = 0.2  # between two looks at the listeners of one namespace
MAX_NAMESPACES = 256

Owner = collections.namedtuple("Owner", ("executable", "command", "unit", "namespace"))
UNKNOWN = "unknown"  # the namespace of a process that ended before it was seen
NOBODY = Owner("", "", "", UNKNOWN)
REST = Owner("", "other", "", UNKNOWN)  # of rows that are too many


def unit_of(text):
    # type: (str) -> str
    """Returns the container or systemd unit in the text of /proc/PID/cgroup, "" if neither. A
    container's id has 12 digits, as its tools print it.
    """
    found = CONTAINER.search(text)
    if found:
        return "%s-%s" % found.groups()
    units = UNIT.findall(text)
    return units[-1][:MAX_PATH] if units else ""


def link_of(path):
    # type: (str) -> str
    """Returns where a link of /proc leads, "" if it cannot be read; of a long path the end."""
    raw = call_or(b"", os.readlink, path.encode("ascii"))  # type: bytes
    text = raw.decode("utf-8", "replace")
    if text.endswith(" (deleted)"):  # replaced by an update, and still running
        text = text[: -len(" (deleted)")]
    return text if len(text) <= MAX_PATH else "..." + text[3 - MAX_PATH :]


def process_ids():
    # type: () -> Any
    return [int(name) for name in call_or([], os.listdir, "/proc") if name.isdigit()]


class Owners(object):
    """The programs of processes, by number."""

    def __init__(self):
        # type: () -> None
        self.known = {}  # type: Dict[int, Owner]
        self.own_namespace = link_of("/proc/self/ns/net")
        self.looks = 0

    def look_at_all(self):
        # type: () -> None
        """Looks all processes up, for at most LOOK_S."""
        end = now() + LOOK_S
        for pid in process_ids():
            if now() > end:
                break
            self.remember(pid, self.read(pid))

    def read(self, pid):
        # type: (int) -> Owner
        """Returns what /proc has of a process now; "" for each thing that it has not."""
        folder = "/proc/%d/" % pid
        command = call_or("", read_file, folder + "comm", 64)
        namespace = link_of(folder + "ns/net") or UNKNOWN
        return Owner(
            link_of(folder + "exe"),
            command.rstrip("\n")[:MAX_PATH],
            unit_of(call_or("", read_file, folder + "cgroup", 8192)),
            "" if namespace == self.own_namespace else namespace,
        )

    def remember(self, pid, owner):
        # type: (int, Owner) -> None
        if len(self.known) >= MAX_KNOWN:
            self.known.clear()
        self.known[pid] = owner

    def find(self, pid, command=""):
        # type: (int, str) -> Owner
        """Returns the program of a process that runs, ends or has ended. `command` is its name as
        the kernel reported it with an event. A process that ends has no executable any more.
        """
        seen, before = self.read(pid), self.known.get(pid, NOBODY)
        if not seen.executable:
            name = seen.command or before.command or command
            seen = before._replace(command=name[:MAX_PATH])
        self.remember(pid, seen)
        return seen

    def forked(self, pid, parent):
        # type: (int, int) -> None
        """Remembers that a process began as a copy of another one."""
        self.remember(pid, self.known.get(parent) or self.find(parent))

    def renamed(self, pid, command, executed):
        # type: (int, str, bool) -> None
        """Remembers that a process got another name, and whether by executing a program."""
        before = self.known.get(pid, NOBODY)._replace(command=command)
        if not executed:
            self.remember(pid, before)
            return
        self.looks += 1
        seen = self.read(pid) if self.looks <= MAX_LOOKS else NOBODY
        named = before._replace(executable="")
        self.remember(pid, seen if seen.executable else named)


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
        ports = self.ports.setdefault(namespace, set())
        for table in ("tcp", "tcp6"):
            ports |= listening_in("/proc/%s/net/%s" % (process, table))
        self.listed[namespace] = now()

    def service(self, owner, pid, port):
        # type: (Owner, int, int) -> int
        """Returns a port, or 0 if it is a client's."""
        if not self.low <= port <= self.high or self.is_known(owner, port):
            return port
        is_elsewhere = owner.namespace not in ("", UNKNOWN)
        place = (owner.namespace, str(pid)) if is_elsewhere else ("", "self")
        self.list(*place)
        return port if self.is_known(owner, port) else 0

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
        return parse_count(low, 10, 65535), parse_count(high, 10, 65535)
    except (ValueError,) + ERRORS:
        return 32768, 60999


def listening_in(path):
    # type: (str) -> Set[int]
    """Returns the ports of listeners in a table of /proc/net, which lists them first."""
    ports = set()
    try:
        for number, line in enumerate(file_lines(path)):
            fields = line.split(None, 4)
            if number and parse_count(fields[3], 16) != LISTEN:
                break
            if number:
                ports.add(parse_count(fields[1].rpartition(b":")[2], 16, 65535))
    except (IndexError, ValueError) + ERRORS:
        pass
    return ports


def owner_reply(owner):
    # type: (Owner) -> Dict[str, str]
    """Returns an owner as the reply has it."""
    return {
        "executable": owner.executable,
        "command": owner.command,
        "unit": owner.unit,
        "namespace": owner.namespace,
    }
