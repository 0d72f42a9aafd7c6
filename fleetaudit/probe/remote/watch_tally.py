"""Counts resets by program, local port and reason, within bounds."""

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .waiting import now
from .watch_format import peer_network
from .watch_owners import NOBODY, Owner, Owners, owner_reply
from .watch_ports import ListeningPorts
from .watch_reasons import reset_word
from .watch_rows import OTHER, BoundedRows

MAX_PEERS = 32  # networks of one row
MAX_RESETS = 100000  # that are read; the kernel counts the others
CPU_SHARE, CPU_SPARE_S = 0.1, 2.0  # of one CPU, that a watch may use
UNREAD_WORD = "unread data"


class Budget(object):
    """How many resets may be read by now: half of MAX_RESETS at once, the others over the whole
    time, so that one storm does not hide who comes after it. Too much CPU time stops reading, too.
    """

    def __init__(self, seconds):
        # type: (float) -> None
        self.seconds, self.began, self.cpu = seconds, now(), cpu_seconds()

    def allows(self, number):
        # type: (int) -> bool
        """Returns whether more may be read after so many."""
        elapsed = now() - self.began
        resets = MAX_RESETS * (1 + elapsed / self.seconds) / 2
        cpu = CPU_SPARE_S + CPU_SHARE * elapsed
        return number < resets and cpu_seconds() - self.cpu < cpu


def cpu_seconds():
    # type: () -> float
    """Returns the CPU time of this process and of the children that it waited for."""
    return float(sum(os.times()[:4]))


class Tally(object):
    """The resets so far. `named` have a row, `left_out` are no program's or this program's own,
    `lost` are those that found no room. `guessed` are of processes that had ended, which may have
    been in another namespace than the process that they began as.
    """

    def __init__(self, peers):
        # type: (bool) -> None
        self.owners, self.ports = Owners(), ListeningPorts()
        self.with_peers = peers
        self.rows = BoundedRows()
        self.peers = {}  # type: Dict[Tuple[Owner, int, str], Dict[str, int]]
        self.named = self.guessed = self.left_out = self.lost = 0
        self.recent = {}  # type: Dict[int, Owner]  # what /proc has of processes

    def begin_round(self):
        # type: () -> None
        """Forgets what was looked up for the resets of the last wait: processes end."""
        self.recent.clear()
        self.owners.looks = 0
        self.owners.gone.clear()

    def add(self, process, place, reason, callers, time=None):
        # type: (Tuple[int, str], Tuple[int, Optional[bytes]], str, Sequence[str], Optional[int]) -> None
        """Adds one reset. `process` has the number and perhaps the name that came with it; the
        number is 0 where the kernel sent it by itself, for instance at the end of a timer. `place`
        has the local port and the peer's address; `time` is when it was sent, if that is known.
        """
        (pid, command), (port, peer) = process, place
        word = reset_word(reason, callers)
        if word is None or pid == os.getpid():
            self.left_out += 1
            return
        owner = self.find(pid, command, time)
        self.named += 1
        self.guessed += pid in self.owners.gone
        key = self.rows.add((owner, self.ports.service(owner, pid, port), word), [1])
        if self.with_peers and peer:
            add_bounded(self.peers.setdefault(key, {}), peer_network(peer))

    def look(self, pid):
        # type: (int) -> Owner
        """Returns what /proc has of a process; read once for all resets of one wait."""
        if pid not in self.recent:
            self.recent[pid] = self.owners.read(pid)
        return self.recent[pid]

    def find(self, pid, command="", time=None):
        # type: (int, str, Optional[int]) -> Owner
        """Returns the program of a process, as it was at that time if that is known."""
        return self.owners.find(pid, self.look(pid), command, time) if pid else NOBODY

    def unread(self, *namespaces):
        # type: (str) -> int
        """Returns the resets for unread data in these namespaces; "" is the host's own."""
        counts = [0]
        for (owner, _, word), numbers in self.rows.counts.items():
            if word == UNREAD_WORD and owner.namespace in namespaces:
                counts += numbers
        return sum(counts)

    def reply(self):
        # type: () -> List[Dict[str, Any]]
        """Returns the rows, the most resets first."""
        rows = []
        for key, (count,) in self.rows.sorted():
            owner, port, word = key
            row = {"owner": owner_reply(owner), "port": port, "reason": word}
            row.update({"count": count, "peers": self.peers.get(key, {})})
            rows.append(row)
        return rows


def add_bounded(networks, network):
    # type: (Dict[str, int], str) -> None
    """Counts a network, or the last one of MAX_PEERS, which is for all others."""
    if network not in networks and len(networks) >= MAX_PEERS - 1:
        network = OTHER
    networks[network] = networks.get(network, 0) + 1
