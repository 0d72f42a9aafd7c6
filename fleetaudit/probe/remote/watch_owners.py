"""Names the program behind a process: its executable, unit or container, and network namespace.

A process is looked up when its reset is read. One that has ended by then is known by what was seen
of it before: all processes are looked up at the beginning, and the kernel reports who forks and who
executes a program. Only processes that reset are reported.
"""

import collections
import os
from typing import Dict, Optional, Set

from .errors import call_or
from .namespace import namespace_id
from .owners import command_of, executable_of, process_numbers, unit_of
from .waiting import now

MAX_KNOWN = 32768  # processes
LOOK_S = 0.5  # for all processes, at the beginning
MAX_LOOKS = 50  # processes that are looked up after one wait because they executed a program
Owner = collections.namedtuple("Owner", ("executable", "command", "unit", "namespace"))
UNKNOWN = "unknown"  # the namespace of a process that ended before it was seen
NOBODY = Owner("", "", "", UNKNOWN)
REST = Owner("", "other", "", UNKNOWN)  # of rows that are too many


class Owners(object):
    """The programs of processes, by number."""

    def __init__(self):
        # type: () -> None
        self.known = {}  # type: Dict[int, Owner]
        self.changed = {}  # type: Dict[int, int]  # when a process last began a program, lately
        self.own_namespace = namespace_id()
        self.looks = 0
        self.gone = set()  # type: Set[int]  # looked up since the last wait, and known by guess

    def look_at_all(self):
        # type: () -> None
        """Looks all processes up, for at most LOOK_S."""
        end = now() + LOOK_S
        for pid in process_numbers():
            if now() > end:
                break
            self.remember(pid, self.read(pid))

    def read(self, pid):
        # type: (int) -> Owner
        """Returns what /proc has of a process now; "" for each thing that it has not."""
        namespace = call_or(UNKNOWN, os.readlink, "/proc/%d/ns/net" % pid)
        if namespace == self.own_namespace:
            namespace = ""
        return Owner(executable_of(pid), command_of(pid), unit_of(pid), namespace)

    def remember(self, pid, owner):
        # type: (int, Owner) -> None
        if len(self.known) >= MAX_KNOWN:
            self.known.clear()
        self.known[pid] = owner

    def find(self, pid, seen, command="", time=None):
        # type: (int, Owner, str, Optional[int]) -> Owner
        """Returns the program of a process that runs, ends or has ended. `seen` is what /proc has
        of it now, `command` its name as the kernel reported it with an event, `time` when that
        was. A process that ends has no executable any more; and one that has begun another program
        since then, or whose number another one has, was what was known of it before.
        """
        before = self.known.get(pid, NOBODY)
        if time is not None and self.changed.get(pid, 0) > time:
            self.gone.add(pid)
            return before
        if not seen.executable:
            self.gone.add(pid)
            name = seen.command or before.command or command
            seen = before._replace(command=name)
        self.remember(pid, seen)
        return seen

    def forked(self, pid, parent):
        # type: (int, int) -> None
        """Remembers that a process began as a copy of another one."""
        self.remember(pid, self.known.get(parent) or self.read(parent))

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
        is_still_it = seen.executable and seen.command == command  # else it is the next program
        self.remember(pid, seen if is_still_it else named)


def owner_reply(owner):
    # type: (Owner) -> Dict[str, str]
    """Returns an owner as the reply has it."""
    return {
        "executable": owner.executable,
        "command": owner.command,
        "unit": owner.unit,
        "namespace": owner.namespace,
    }
