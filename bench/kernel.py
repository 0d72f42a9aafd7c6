"""What a kernel costs: CPU and wall seconds of a guest with the shipped playbook, with each probe.

    python -m bench.kernel [--rounds N] IMAGE...

Bounds that we hold ourselves to on an idle machine, with the native probe: 6 seconds of CPU for an
x86-64 kernel, 15 for others. The probes take turns in one run, so that a busy machine slows both:
quote the median, and the ratio. Images of other machines have the native probe only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from typing import Literal

from fleetaudit.model import HostPlan, KernelTarget
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.offer import new_offer
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import run_kernel
from fleetaudit.transport.kernel.image import load_image

Probe = Literal["python", "native"]
BOUND_S = {"x86_64": 6.0}
OTHER_BOUND_S = 15.0
DEADLINE_S = 600.0


def plan_of(image: str, probe: Probe) -> HostPlan:
    """Returns the plan of a guest with the shipped playbook."""
    (play,) = load_playbook(None).plays
    return HostPlan(
        name=image,
        groups=(),
        target=KernelTarget(image=image, probe=probe),
        scenarios=play.scenarios,
        trials=play.trials,
        isolation=play.isolation,
        sysctls_collect=play.sysctls_collect,
        sysctls_expect={},
    )


def cost(image: str, probe: Probe) -> tuple[float, float]:
    """Returns CPU seconds (of QEMU and of this process) and wall seconds of one guest.

    Its reply is read.
    """
    plan = plan_of(image, probe)
    assert isinstance(plan.target, KernelTarget)
    execution = Execution(
        command=protocol.COMMAND, deadline=Deadline.after(DEADLINE_S), limits=Limits()
    )
    before, began = os.times(), time.monotonic()
    out = run_kernel(plan.target, execution, new_offer(plan, deadline_s=DEADLINE_S - 60))
    after, ended = os.times(), time.monotonic()
    audited = verdict.result_from_output(plan, out.stdout, out.stderr, out.exit_status, out.cut)
    assert not audited.void
    return sum(after[:4]) - sum(before[:4]), ended - began


def measure(image: str, rounds: int) -> Iterator[tuple[Probe, float, float]]:
    """Yields each probe with the medians of its CPU and wall seconds."""
    probes: tuple[Probe, ...] = ("native",)
    if load_image(image).architecture == os.uname().machine == "x86_64":
        probes = ("python", "native")
    costs = {probe: list[tuple[float, float]]() for probe in probes}
    for probe in probes:
        cost(image, probe)  # what is packed and tried once a process
    for _ in range(rounds):
        for probe in probes:
            costs[probe].append(cost(image, probe))
    for probe in probes:
        cpu, wall = map(statistics.median, zip(*costs[probe], strict=True))
        yield probe, cpu, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    options = parser.parse_args()
    for image in options.images:
        architecture = load_image(image).architecture
        bound = BOUND_S.get(architecture, OTHER_BOUND_S)
        seconds = dict[Probe, float]()
        for probe, cpu, wall in measure(image, options.rounds):
            seconds[probe] = cpu
            print(f"{image}  {architecture}  {probe:7} CPU {cpu:6.2f} s  wall {wall:6.1f} s")
        ratio = ""
        if "python" in seconds:
            ratio = f"; {seconds['native'] / seconds['python']:.2f} of the Python probe's"
        print(f"{image}  native: bound {bound:g} s{ratio}")


if __name__ == "__main__":
    main()
