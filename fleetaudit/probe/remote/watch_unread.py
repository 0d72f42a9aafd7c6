"""Names the programs whose sockets hold unread data now: a restart would reset their peers."""

import os
from typing import Any, Dict, List, Optional, Tuple

from .constants import CLOSE_WAIT, ERRORS, LISTEN, MAX_WORD
from .errors import call_or
from .files import file_lines, parse_count
from .proc_net import TABLES
from .waiting import now
from .watch_owners import NOBODY, REST, Owner, owner_reply, process_ids
from .watch_tally import MAX_ROWS, Tally

TABLE_S, FILES_S = 0.5, 1.0  # for the tables of sockets, and for the open files of all processes
MAX_UNREAD = 10000  # sockets
SOCKET_LINK = "socket:["


class UnreadSockets(object):
    """The sockets of the host's namespace with unread data: port and bytes, by inode. A connection
    that nobody has accepted yet has no inode, and stands for its listener.
    """

    def __init__(self):
        # type: () -> None
        self.found = []  # type: List[Tuple[int, int, int]]  # inode, port, bytes
        self.listeners = {}  # type: Dict[int, int]  # inode by port
        self.is_partial = False
        self.end = now() + TABLE_S

    def read(self):
        # type: () -> None
        """Raises OSError, IndexError and ValueError for a table that is not as Linux writes it."""
        for family in sorted(TABLES):
            if os.path.exists(TABLES[family]):
                for number, line in enumerate(file_lines(TABLES[family])):
                    if number:
                        self.add(line)
                    if number % 256 == 255 and now() > self.end:
                        self.is_partial = True
                        return

    def add(self, line):
        # type: (bytes) -> None
        fields = line.split(None, 10)
        state = parse_count(fields[3], 16)
        port = parse_count(fields[1].rpartition(b":")[2], 16, 65535)
        unread = parse_count(fields[4].partition(b":")[2], 16, MAX_WORD)
        inode = parse_count(fields[9])
        if state == LISTEN:
            self.listeners[port] = inode
        elif unread and state <= CLOSE_WAIT and len(self.found) < MAX_UNREAD:
            self.found.append((inode or self.listeners.get(port, 0), port, unread))

    def processes(self):
        # type: () -> Dict[int, int]
        """Returns the process of each inode; of several that share a socket, the first."""
        missing = {inode for inode, _, _ in self.found if inode}
        found = {}  # type: Dict[int, int]
        end = now() + FILES_S
        for pid in process_ids():
            if not missing or now() > end:
                break
            folder = "/proc/%d/fd/" % pid
            for name in call_or([], os.listdir, folder):
                inode = socket_inode(folder + name)
                if inode in missing:
                    missing.discard(inode)
                    found[inode] = pid
        self.is_partial = self.is_partial or bool(missing)
        return found


def socket_inode(path):
    # type: (str) -> int
    """Returns the inode of an open file that is a socket, else 0."""
    link = call_or("", os.readlink, path)
    digits = link[len(SOCKET_LINK) : -1] if link.startswith(SOCKET_LINK) else ""
    return int(digits) if digits.isdigit() else 0


def unread_owners(tally, notes):
    # type: (Tally, List[str]) -> Optional[List[Dict[str, Any]]]
    """Returns the sockets with unread data by program and port, None if they cannot be listed."""
    sockets = UnreadSockets()
    try:
        sockets.read()
    except (IndexError, ValueError) + ERRORS as e:
        notes.append("the sockets with unread data cannot be listed: %s" % type(e).__name__)
        return None
    processes = sockets.processes()
    rows = {}  # type: Dict[Tuple[Owner, int], List[int]]
    for inode, port, unread in sockets.found:
        pid = processes.get(inode, 0)
        owner = tally.find(pid) if pid else NOBODY
        key = (owner, tally.ports.service(owner, pid, port))
        if key not in rows and len(rows) >= MAX_ROWS - 1:
            key = (REST, 0)
        row = rows.setdefault(key, [0, 0])
        row[0], row[1] = row[0] + 1, row[1] + unread
    if sockets.is_partial:
        notes.append("not every socket with unread data was found, or has a known program")
    return [
        unread_row(key, rows[key]) for key in sorted(rows, key=lambda key: (-rows[key][0], key))
    ]


def unread_row(key, numbers):
    # type: (Tuple[Owner, int], List[int]) -> Dict[str, Any]
    owner, port = key
    row = {"owner": owner_reply(owner), "port": port}  # type: Dict[str, Any]
    row.update({"sockets": numbers[0], "bytes": numbers[1]})
    return row
