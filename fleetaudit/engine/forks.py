"""How many hosts run at once: as many as asked for, else hundreds, within what this machine has.

The default, `DEFAULT_FORKS`: a host of the default playbook waits for its probe for seconds and
costs this process milliseconds, so one loop serves a thousand at once. 10,000 hosts in 10 minutes
need 133 that take 8 s each; 250 leave room for slow ones. Measured, 250 waiting hosts take 12 MiB.
More would gain little, and cost more where it is not ours: in firewalls and jump hosts.

Rules: the default is cut by free memory; a host that is a process of this machine (local, or the
system's ssh) also needs cores. What is asked for is cut by nothing but the limit of open files,
which is raised as far as it may be. A guest needs a whole core: more guests at once than cores
would only wait, and their deadlines with them.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fleetaudit.log import get_logger
from fleetaudit.model import HostPlan, NoTarget, Plan
from fleetaudit.text.phrases import count_noun
from fleetaudit.transport.registry import transport_of

log = get_logger(__name__)

DEFAULT_FORKS = 250
CHILDREN_PER_CORE = 16
"""How many processes that mostly wait share a core; a probe works for 0.3 s of its 8."""
RESERVED_FILES = 24
"""Descriptors of the run itself: its journal and log, the loop, files that are being read."""

Kind = Literal["connection", "child", "guest"]
"""What a host is to this machine: a connection, a child process, or a guest under QEMU."""
KINDS: tuple[Kind, ...] = ("connection", "child", "guest")
_FILES: dict[Kind, int] = {"connection": 4, "child": 8, "guest": 8}
"""The most descriptors of one host: of a connection its socket or those of a ProxyCommand, and one
for the agent; of a child its pipes, its log and the descriptor that reports its end.
"""
_MEMORY: dict[Kind, int] = {"connection": 1 << 20, "child": 16 << 20, "guest": 0}
"""The bytes that one host may need. A guest has a setting of its own, and cores limit guests."""


@dataclass(frozen=True, slots=True)
class Forks:
    """How many hosts run at once: in all, and of each kind; and why it is not what was asked for,
    or the default, "" if it is.
    """

    total: int
    kinds: dict[Kind, int]
    why: str = ""


def kind_of(host: HostPlan) -> Kind:
    """Returns what a host is to this machine; a host without a target counts as a connection."""
    if isinstance(host.target, NoTarget):
        return "connection"
    transport = transport_of(host.target)
    if transport.boots:
        return "guest"
    return "child" if transport.is_process(host.target) else "connection"


def choose_forks(asked: int | None, plan: Plan) -> Forks:
    """Returns how many hosts of the plan run at once, at least 1, and what limits them.

    `asked` is what the user wants; None asks for the default, which free memory limits, too. Open
    files limit either. Of guests at most one a core runs at once, and of child processes without
    `asked` a few a core, because both keep the processor busy.
    """
    kinds = {kind_of(host) for host in plan.hosts} or {"connection"}
    cores = os.cpu_count() or 1
    bounds = {"the limit of open files (ulimit -n)": _bound_of_files(kinds)}
    most: dict[Kind, int] = {**dict.fromkeys(KINDS, asked or DEFAULT_FORKS), "guest": cores}
    if asked is None:
        free = _free_memory() / 2
        bounds["free memory"] = free / _MEMORY["connection"]
        most["child"] = _whole(min(CHILDREN_PER_CORE * cores, free / _MEMORY["child"]))
    wanted = asked or DEFAULT_FORKS
    why, bound = min(bounds.items(), key=lambda item: item[1])
    if bound >= wanted:
        return Forks(wanted, most)
    return Forks(_whole(bound), most, why)


def _whole(bound: float) -> int:
    """Returns a bound as a number of hosts, at least 1."""
    return max(1, int(bound))


def log_forks(forks: Forks, asked: int | None, hosts: int) -> None:
    """Logs how many hosts run at once: with a warning if fewer than asked for."""
    if asked and forks.total < min(asked, hosts):
        log.warning("%d hosts at once instead of %d: %s", forks.total, asked, forks.why)
    elif forks.why:
        log.info("%d hosts at once instead of %d: %s", forks.total, DEFAULT_FORKS, forks.why)
    else:
        log.info("%s at once", count_noun(min(forks.total, hosts), "host"))


@contextlib.contextmanager
def raised_file_limit(forks: Forks) -> Iterator[None]:
    """Raises the soft limit of open files as far as the hosts need it and the hard one allows.

    No further, because child processes inherit it, and some close every number below it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _open_files() + RESERVED_FILES + forks.total * max(_FILES.values())
    raised = min(needed, _number(hard))
    if raised <= _number(soft):
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(raised), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _bound_of_files(kinds: set[Kind]) -> float:
    """Returns how many hosts of these kinds the hard limit of open files allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = _number(hard) - _open_files() - RESERVED_FILES
    return free / max(_FILES[kind] for kind in kinds)


def _number(limit: int) -> float:
    """Returns a limit as a number, infinity for none."""
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _open_files() -> int:
    """Returns how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _free_memory() -> float:
    """Returns the bytes that this process may still take, infinity if nothing says so.

    That is MemAvailable of proc(5), or less in a control group with a limit of its own.
    """
    return min(_read(_available), _read(_left_in_group))


def _read(read: Callable[[], float]) -> float:
    """Returns what a function reads, infinity if it cannot be read."""
    try:
        return read()
    except (OSError, ValueError, LookupError):
        return math.inf


def _available() -> float:
    """Returns MemAvailable in bytes."""
    text = Path("/proc/meminfo").read_text("ascii")
    return 1024 * int(text.partition("MemAvailable:")[2].split()[0])


def _left_in_group() -> float:
    """Returns what the limit of our control group leaves, in bytes (cgroup v2, memory.max).

    Only of the group at the root of what we see: that is ours in a container.
    """
    group = Path("/sys/fs/cgroup")
    most = int((group / "memory.max").read_text("ascii"))  # "max" is no number
    return most - int((group / "memory.current").read_text("ascii"))
