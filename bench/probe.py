"""What the probe costs a host: the shipped playbook's processor and wall time, compared with
an interpreter that does nothing.

    python -m bench.probe [RUNS] [INTERPRETER]

Bounds that we hold ourselves to on an idle host: one second of CPU, ten of wall time. Machines are
noisy: quote the median, and the ratio to the bare interpreter of the same run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol

BOUNDS = {"cpu s": 1.0, "wall s": 10.0}


def program() -> bytes:
    """Returns what a host is sent for the shipped playbook."""
    (play,) = load_playbook(None).plays
    scenarios = [
        {**protocol.scenario_call(s, s.trials or play.trials), "expect": list(s.expect)}
        for s in play.scenarios
    ]
    call = {
        "protocol": 1,
        "deadline": 60.0,
        "isolation": "auto",
        "sysctls": list(play.sysctls_collect),
    }
    return protocol.make_script({**call, "scenarios": scenarios})


def cost(interpreter: str, stdin: bytes) -> tuple[float, float, bytes]:
    """Returns CPU seconds (children's too), wall seconds, and what was printed."""
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [interpreter, "-E", "-s", "-"], input=stdin, stdout=subprocess.PIPE, check=True, cwd="/"
    )
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return cpu, time.monotonic() - began, done.stdout


def main(runs: int = 5, interpreter: str = sys.executable) -> None:
    sent = program()
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
