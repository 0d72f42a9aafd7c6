"""Names the programs behind sockets: executable, and systemd unit or container."""

import os
import re
from typing import Dict, Iterable, List, Set, Tuple

from .errors import call_or
from .files import read_file
from .waiting import now

CONTAINER = re.compile(
    r".*[/-](docker|libpod|crio|cri-containerd|kubepods)[/.-](?:.*/)?([0-9a-f]{12})[0-9a-f]{52}"
)
NAMED_CONTAINER = re.compile(r"/lxc(?:\.payload)?[./]([\w.-]+)")
UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?=/|$)")
MAX_PATH = 1024  # characters of a cgroup's path that are looked at, the last ones
SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")


def executable_of(pid):
    # type: (int) -> str
    """Returns the path of a process's executable, "" if it cannot be read: it has ended, or is
    another user's.
    """
    path = call_or("", os.readlink, "/proc/%d/exe" % pid)  # type: str
    if path.endswith(" (deleted)"):  # replaced by an upgrade, and still running
        path = path[: -len(" (deleted)")]
    return path[:256]


def command_of(pid):
    # type: (int) -> str
    """Returns the kernel's name of a process's first task, "" if it cannot be read."""
    text = call_or("", read_file, "/proc/%d/comm" % pid, 256)  # type: str
    return text.rstrip("\n")


def unit_of(pid):
    # type: (int) -> str
    """Returns the systemd unit or the container of a process, "" if it has neither."""
    return parse_cgroup(call_or("", read_file, "/proc/%d/cgroup" % pid, 16384))


def parse_cgroup(text):
    # type: (str) -> str
    """Returns the unit or container that /proc/PID/cgroup names (cgroups(7)), "" for neither. A
    container is named by its engine and the first 12 digits of its id: "docker-0123456789ab".
    """
    found = [""]
    for line in text.split("\n"):
        path = line.split(":", 2)[-1][-MAX_PATH:]
        container = CONTAINER.match(path)
        if container:
            return "-".join(container.groups())
        found += ["lxc-" + name for name in NAMED_CONTAINER.findall(path)[:1]]
        found += UNIT.findall(path)[-1:]
    return found[min(1, len(found) - 1)][:256]


def socket_owners(inodes, seconds):
    # type: (Iterable[int], float) -> Tuple[Dict[int, int], bool]
    """Returns the process of each socket by its inode, and whether all processes were looked at in
    so many seconds. Of several it is the one with the lowest number, and init only if
    nobody else has it. Without root, processes of
    other users cannot be looked at.
    """
    missing, found = set(inodes), {}  # type: Set[int], Dict[int, int]
    end = now() + seconds
    for pid in process_numbers():
        if not missing or now() > end:
            break
        for inode in missing.intersection(sockets_of(pid)):
            found[inode] = pid
        missing.difference_update(found)
    return found, now() <= end


def process_numbers():
    # type: () -> List[int]
    """Returns the numbers of all processes, the lowest first; but init last, which also holds the
    sockets that it opened for others (systemd.socket(5)).
    """
    numbers = [int(name) for name in call_or([], os.listdir, "/proc") if name.isdigit()]
    return sorted(numbers, key=lambda number: (number == 1, number))


def sockets_of(pid):
    # type: (int) -> Set[int]
    """Returns the inodes of a process's sockets, none if it cannot be looked at."""
    folder = "/proc/%d/fd/" % pid
    links = [call_or("", os.readlink, folder + name) for name in call_or([], os.listdir, folder)]
    matches = [SOCKET_LINK.match(link) for link in links]
    return {int(match.group(1)) for match in matches if match}
