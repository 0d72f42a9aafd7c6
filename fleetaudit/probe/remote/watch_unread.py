"""Names the programs whose sockets hold unread data now: a restart would reset their peers."""

import itertools
import os
from typing import Any, Dict, List, Optional, Tuple

from .constants import CLOSE_WAIT, ERRORS, LISTEN
from .owners import socket_owners
from .proc_net import TABLES
from .waiting import now
from .watch_owners import owner_reply
from .watch_ports import table_rows
from .watch_rows import BoundedRows
from .watch_tally import Tally

TABLE_S, FILES_S = 0.5, 1.0  # for the tables of sockets, and for the open files of all processes
MAX_UNREAD = 10000  # sockets
UNLISTED_NOTE = "the sockets with unread data cannot be listed: %s"
INCOMPLETE_NOTE = "not every socket with unread data was found, or not its program in time"


class UnreadSockets(object):
    """The sockets of the host's namespace with unread data: inode, port and bytes. A connection
    that nobody has accepted yet has no inode, and stands for its listener.
    """

    def __init__(self):
        # type: () -> None
        self.found = []  # type: List[Tuple[int, int, int]]
        self.listeners = {}  # type: Dict[int, int]  # inode by port
        self.is_complete = True
        self.end = now() + TABLE_S

    def read(self):
        # type: () -> None
        """Reads both tables; raises OSError, IndexError and ValueError for a table that is not as
        Linux writes it.
        """
        paths = [path for path in sorted(TABLES.values()) if os.path.exists(path)]
        rows = itertools.chain.from_iterable(map(table_rows, paths))
        for number, row in enumerate(rows):
            self.add(*row)
            if number % 256 == 255 and now() > self.end:
                self.is_complete = False
                break

    def add(self, state, port, unread, inode):
        # type: (int, int, int, int) -> None
        """Adds one socket, if it has unread data; listeners come first in a table."""
        if state == LISTEN:
            self.listeners.setdefault(port, inode)
        elif unread and state <= CLOSE_WAIT:
            self.found.append((inode or self.listeners.get(port, 0), port, unread))
            del self.found[MAX_UNREAD:]


def unread_owners(tally, notes):
    # type: (Tally, List[str]) -> Optional[List[Dict[str, Any]]]
    """Returns the sockets with unread data by program and port, None if they cannot be listed."""
    sockets = UnreadSockets()
    try:
        sockets.read()
    except (IndexError, ValueError) + ERRORS:
        notes.append(UNLISTED_NOTE % "/proc/net/tcp is not as Linux writes it")
        return None
    inodes = {inode for inode, _, _ in sockets.found} - {0}
    processes, is_complete = socket_owners(inodes, FILES_S)
    if not (is_complete and sockets.is_complete):
        notes.append(INCOMPLETE_NOTE)
    rows = BoundedRows()
    for inode, port, unread in sockets.found:
        pid = processes.get(inode, 0)
        owner = tally.find(pid)
        rows.add((owner, tally.ports.service(owner, pid, port), ""), (1, unread))
    return [unread_row(*row) for row in rows.sorted()]


def unread_row(key, numbers):
    # type: (Any, List[int]) -> Dict[str, Any]
    """Returns a row as the reply has it."""
    owner, port, _ = key
    row = {"owner": owner_reply(owner), "port": port}  # type: Dict[str, Any]
    row.update({"sockets": numbers[0], "bytes": numbers[1]})
    return row
