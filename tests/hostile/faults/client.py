"""The process that is measured: python -m tests.hostile.faults.client

Each line of stdin is a host as JSON, `Job`; the line of its answer is a `Measured`. The engine
audits the host, alone. What is left over is counted before and after: threads, descriptors, and
processes and zombies, also those that others left behind, because this is their subreaper.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
import time
from pathlib import Path

import msgspec

from fleetaudit.engine.control import EngineSettings
from fleetaudit.engine.scheduler import audit
from fleetaudit.model import Audited, HostPlan, NotAudited, Plan, Secret, SshTarget
from fleetaudit.playbook import load_playbook
from fleetaudit.transport.registry import Transports

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
SETTLE_S = 1.0


class Job(msgspec.Struct):
    """A host, its password apart because a target is not written with one, and its deadline."""

    target: SshTarget
    password: str
    deadline_s: float


class Measured(msgspec.Struct):
    """What became of a host, and what that cost: seconds, MiB, and what was left over."""

    stage: str
    reason: str
    kind: str
    hint: str
    bugs: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    left: list[str]


def scenario() -> HostPlan:
    """Returns a plan with one scenario, which takes a tenth of a second."""
    play = load_playbook(None).plays[0]
    return HostPlan(
        name="host",
        groups=(),
        target=SshTarget(address="127.0.0.1"),
        scenarios=tuple(s for s in play.scenarios if s.name == "unread-close/unread-close"),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def measure(plan: HostPlan, deadline_s: float) -> Measured:
    """Audits one host."""
    before = open_now()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of memory, proc(5)
    memory, cpu, began = _memory("VmRSS"), _cpu(), time.monotonic()
    outcome = audit(
        Plan(playbooks=(), hosts=(plan,)),
        run_command=Transports().run,
        settings=EngineSettings(host_deadline_s=deadline_s),
        judge=lambda audited, _: audited,
        on_result=lambda _: None,
    )
    wall = time.monotonic() - began
    spent, peak = _cpu() - cpu, _memory("VmHWM") - memory
    result = outcome.results[0]
    stage, reason, kind, hint = "audited", "", "", ""
    if isinstance(result, NotAudited):
        stage, reason, kind, hint = result.stage, result.reason, result.kind, result.hint
    else:
        assert isinstance(result, Audited)
    return Measured(
        stage=stage,
        reason=reason,
        kind=kind,
        hint=hint,
        bugs=outcome.bugs,
        wall_s=wall,
        cpu_s=spent,
        peak_mb=peak,
        left=left_since(before),
    )


def left_since(before: dict[str, set[str]]) -> list[str]:
    """Returns what was not there before, and still is after a moment."""
    until = time.monotonic() + SETTLE_S
    while (left := _more(before)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _more(before: dict[str, set[str]]) -> list[str]:
    now = open_now()
    return [f"{kind} {one}" for kind in now for one in sorted(now[kind] - before[kind])]


def open_now() -> dict[str, set[str]]:
    """Returns the threads, the descriptors and the children of this process."""
    tasks = list(Path("/proc/self/task").iterdir())
    children = " ".join((task / "children").read_text() for task in tasks).split()
    descriptors = set[str]()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # Path.iterdir keeps one open
        try:
            descriptors.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")  # noqa: PTH115
        except OSError:
            continue  # the one of the listing
    return {
        "thread": {f"{thread.name} {thread.native_id}" for thread in threading.enumerate()},
        "task": {task.name for task in tasks},
        "descriptor": descriptors,
        "process": set(filter(None, map(_process, children))),
    }


def _process(pid: str) -> str:
    """Returns a child's number and name, and whether it is a zombie.

    "" for one that another process left behind and that has ended, which is init's to reap.
    """
    try:
        number, name, state, _, _, session = Path(f"/proc/{pid}/stat").read_text().split()[:6]
    except OSError:
        return ""
    if state == "Z" and session != number:  # our own are started in sessions of their own
        os.waitpid(int(pid), os.WNOHANG)
        return ""
    return f"{number} {name}" + (" zombie" if state == "Z" else "")


def _memory(name: str) -> float:
    """Returns a figure of proc(5) in MiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _cpu() -> float:
    """Returns the CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    plan = scenario()
    for line in sys.stdin:
        job = msgspec.json.decode(line, type=Job)
        password = Secret(job.password) if job.password else None
        target = msgspec.structs.replace(job.target, password=password)
        one = msgspec.structs.replace(plan, target=target)
        print(msgspec.json.encode(measure(one, job.deadline_s)).decode(), flush=True)


if __name__ == "__main__":
    main()
