"""Finds the program that listens on a port of the host."""

import socket
from typing import Dict, List

from .constants import ERRORS, LISTEN
from .files import file_lines, parse_count
from .owners import executable_of, socket_owners, unit_of
from .proc_net import TABLES, table_address

LISTENING = ("%02X" % LISTEN).encode("ascii")
SEARCH_S = 5.0  # for all of /proc


def listener_of(address, port):
    # type: (str, int) -> Dict[str, str]
    """Returns the executable and the unit of the program that listens there, "" for what cannot be
    read: without root, nothing of other users' programs.
    """
    owners, _ = socket_owners(listening_inodes(address, port), SEARCH_S)
    pids = sorted(owners.values())
    if not pids:
        return {"executable": "", "unit": ""}
    return {"executable": executable_of(pids[0]), "unit": unit_of(pids[0])}


def listening_inodes(address, port):
    # type: (str, int) -> List[int]
    """Returns the inodes of the sockets that accept what is sent to an address: those that are
    bound to it before those that are bound to all.
    """
    found = {}  # type: Dict[bytes, int]
    accepting = accepting_addresses(address, port)
    for path in sorted(TABLES.values()):
        try:
            found.update(listeners_in(path, accepting))
        except (ValueError, IndexError) + ERRORS:
            continue
    bound = [found[each] for each in accepting if each in found]
    return bound[:1]


def listeners_in(path, accepting):
    # type: (str, List[bytes]) -> Dict[bytes, int]
    """Returns the inode of each listener with one of these addresses; raises OSError, ValueError
    and IndexError.
    """
    found = {}
    for line in file_lines(path):
        fields = line.split(None, 10)
        if len(fields) > 9 and fields[1] in accepting and fields[3] == LISTENING:
            found[fields[1]] = parse_count(fields[9])
    return found


def accepting_addresses(address, port):
    # type: (str, int) -> List[bytes]
    """Returns the addresses, as /proc/net writes them, of listeners that accept for an address."""
    inet, inet6 = int(socket.AF_INET), int(socket.AF_INET6)
    candidates = [(inet6, address, port), (inet6, "::", port)]
    if ":" not in address:
        candidates = [(inet, address, port), (inet6, "::ffff:" + address, port)]
        candidates += [(inet, "0.0.0.0", port), (inet6, "::", port)]  # noqa: S104
    return [table_address(each) for each in candidates]
