"""What the probe costs: a host's processor and wall time for the shipped playbook, compared with an
interpreter that does nothing, and the controller's time for a request and its size.

    python -m bench.probe [RUNS] [INTERPRETER]

Bounds that we hold ourselves to on an idle host: 0.6 seconds of CPU, four of wall time. Machines
are noisy: quote the median, and the ratio to the bare interpreter of the same run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import msgspec

from fleetaudit.model import HostPlan, LocalTarget
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol

BOUNDS = {"cpu s": 0.6, "wall s": 4.0}
DEADLINE_S = 60.0
REQUESTS = 1000


def shipped() -> HostPlan:
    """Returns the plan of this machine with the shipped playbook."""
    (play,) = load_playbook(None).plays
    return HostPlan(
        name="here",
        groups=(),
        target=LocalTarget(),
        scenarios=play.scenarios,
        trials=play.trials,
        isolation=play.isolation,
        sysctls_collect=play.sysctls_collect,
        sysctls_expect={},
    )


def cost(interpreter: str, stdin: bytes) -> tuple[float, float, bytes]:
    """Returns CPU seconds (children's too), wall seconds, and what was printed."""
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [interpreter, "-B", "-E", "-s", "-"],
        input=stdin,
        stdout=subprocess.PIPE,
        check=True,
        cwd="/",
    )
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return cpu, time.monotonic() - began, done.stdout


def print_request(plan: HostPlan) -> None:
    """Prints the sizes of a request, and what the first and the others cost the controller."""
    readable = len(protocol.make_program(plan, deadline_s=DEADLINE_S))
    began = time.process_time()
    sent = len(protocol.make_request(plan, deadline_s=DEADLINE_S))
    first = time.process_time() - began
    began = time.process_time()
    for number in range(REQUESTS):
        host = msgspec.structs.replace(plan, name=f"host{number}")
        protocol.make_request(host, deadline_s=DEADLINE_S - number % 50 / 10)
    others = (time.process_time() - began) / REQUESTS
    print(f"request: {readable:,} bytes to read, {sent:,} sent ({sent / readable:.0%})")
    print(
        f"  the controller's CPU: {first * 1e3:.1f} ms to compress it once,"
        f" {others * 1e3:.3f} ms for each host with the same plan"
    )


def main(runs: int = 5, interpreter: str = sys.executable) -> None:
    plan = shipped()
    print_request(plan)
    sent = protocol.make_request(plan, deadline_s=DEADLINE_S)
    found = [cost(interpreter, sent) for _ in range(runs)]
    bare = statistics.median(cost(interpreter, b"pass\n")[0] for _ in range(runs))
    reply = protocol.parse_reply(found[0][2])
    trials = sum(t.count for o in reply.observations for t in o.trials)
    print(
        f"{interpreter}: {len(reply.observations)} observations, {trials} trials,"
        f" {len(found[0][2]):,} bytes of reply"
    )
    for (name, bound), column in zip(
        BOUNDS.items(), zip(*(f[:2] for f in found), strict=True), strict=True
    ):
        low, middle, high = min(column), statistics.median(column), max(column)
        print(
            f"  {name:6}  min {low:.2f}  median {middle:.2f}  max {high:.2f}  (bound on an idle"
            f" host: {bound:g})"
        )
    print(
        f"  cpu to that of a bare interpreter: {statistics.median(f[0] for f in found) / bare:.0f}"
        " to 1"
    )


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, str), sys.argv[1:], strict=False)))
