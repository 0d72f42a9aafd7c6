"""The places where the probe is run: this kernel as root, as an ordinary user and under load, and
guests.

A world is one kernel in one condition. It takes the plan of a host and returns what the probe
printed there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fleetaudit.model import HostPlan, KernelTarget
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import run_kernel
from tests.support import kernels, probe_runs
from tests.support.timing import busy_loops

Ask = Callable[[HostPlan, float], Output]
"""Runs the probe on a plan and returns its output; the number is the deadline of the probe, in
seconds.
"""

GRACE_S = 300.0
"""Seconds that a call may take beyond the probe's own deadline: to boot, and on a busy machine."""

# Lines before the program.
BUSY = """import os
if os.fork() == 0:
    os.closerange(0, 3)
    while True: pass
"""
NO_USER_NAMESPACES = {"user.max_user_namespaces": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One kernel in one condition.

    `side` and `release` (numbers) say which kernel it is. `privileged`: the probe has a private
    network namespace, so whatever the kernel has can be run. `load`: busy loops run beside it.
    `at_once`: calls that may run together. `trials`: of each scenario in one round; `rounds`:
    random orders in a usual run.
    """

    name: str
    about: str
    side: kernels.Side
    release: tuple[int, ...]
    ask: Ask
    privileged: bool = True
    load: bool = False
    at_once: int = 1
    trials: int = 3
    rounds: int = 1


def worlds_here() -> list[World]:
    """Returns the conditions of this machine's kernel; skips (pytest) where the tests are not
    root.
    """
    probe_runs.need_root()
    release = kernels.numbers(os.uname().release)
    here = World(
        name="here",
        about=f"Linux {os.uname().release}, root",
        side=side_here(),
        release=release,
        ask=asking_here([sys.executable]),
        at_once=4,
        rounds=10,
    )
    user = replace(
        here,
        name="here-user",
        about=f"Linux {os.uname().release}, an ordinary user without user namespaces",
        ask=asking_here([*probe_runs.without_user_namespaces(), probe_runs.public_python()]),
        privileged=False,
        rounds=3,
    )
    load = replace(
        here, name="here-load", about=f"{here.about}, {busy_loops()} busy loops", load=True
    )
    return [here, user, replace(load, rounds=3)]


def side_here() -> kernels.Side:
    """Returns the side of the fix that this kernel lies on, as measured: distributions patch their
    kernels.
    """
    call = probe_runs.request(probe_runs.scenario(*probe_runs.REREAD, families=["ipv4"]))
    trial = probe_runs.trial_of(probe_runs.run(call), probe_runs.REREAD[0])
    return "before" if "closer R." in probe_runs.notable_segments(trial) else "after"


def asking_here(python: Sequence[str]) -> Ask:
    """Returns what runs the probe on this kernel; `python` is the interpreter after the command it
    runs in.
    """

    def ask(plan: HostPlan, deadline_s: float) -> Output:
        done = subprocess.run(
            [*python, "-B", "-E", "-s", "-"],
            input=protocol.make_request(plan, deadline_s=deadline_s),
            capture_output=True,
            timeout=deadline_s + GRACE_S,
            cwd="/",
            check=False,
        )
        return Output(stdout=done.stdout, stderr=done.stderr, exit_status=done.returncode, cut="")

    return ask


def worlds_of_guests(found: Sequence[kernels.Kernel]) -> list[World]:
    """Returns a guest of each kernel; the oldest also as an ordinary user, one in the middle also
    with a busy loop.
    """
    by_age = sorted(found, key=lambda kernel: kernels.numbers(kernel.version))
    plain = [guest(kernel) for kernel in by_age]
    return [*plain, guest(by_age[0], user=True), guest(by_age[len(by_age) // 2], busy=True)]


def guest(kernel: kernels.Kernel, *, user: bool = False, busy: bool = False) -> World:
    """Returns a guest with one CPU that boots this kernel; `user` as in `here-user`, `busy` with a
    busy loop.
    """
    conditions = ["-user"] * user + ["-busy"] * busy
    about = ["an ordinary user without user namespaces" if user else "root", "one CPU"]
    prelude = BUSY * busy + probe_runs.AS_NOBODY * user
    return World(
        name=kernel.name + "".join(conditions),
        about=", ".join([f"guest, Linux {kernel.version}", *about, *["a busy loop"] * busy]),
        side=kernel.side,
        release=kernels.numbers(kernel.version),
        ask=asking_guest(kernel, prelude, NO_USER_NAMESPACES if user else {}),
        privileged=not user,
        trials=1,
    )


def asking_guest(kernel: kernels.Kernel, prelude: str, sysctls: dict[str, str]) -> Ask:
    """Returns what runs the probe in a guest, after the lines of `prelude`."""
    target = KernelTarget(image=str(kernel.image), sysctls=sysctls)

    def ask(plan: HostPlan, deadline_s: float) -> Output:
        program = prelude.encode() + protocol.make_request(plan, deadline_s=deadline_s)
        deadline = Deadline.after(deadline_s + GRACE_S)
        execution = Execution(command=protocol.COMMAND, deadline=deadline, limits=Limits())
        return run_kernel(target, execution, program)

    return ask
