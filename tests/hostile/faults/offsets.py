"""A disconnect at each byte of a good conversation with a real sshd.

    python -m tests.hostile.faults.offsets HOW EVERY
    python -m tests.hostile.faults.offsets sweep FOLDER HOW FIRST STEP

The first starts sshd, in a network namespace of its own, and processes that share the offsets, each
of them a second. HOW is FIN or RST; EVERY is 1 for each byte.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from bench.fleet.lab import make_lab
from bench.fleet.namespace import namespace_command
from bench.fleet.server import PLAIN, sshd_command, sshd_running, write_sshd_config
from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from tests.hostile.table import Case, Seen

from .cases import LIBRARY
from .client import left_since, open_now
from .serve import process

AT_ONCE = 3
DEADLINE_S = 10.0
OVER_S = 2.0
MOST = 20_000
"""No conversation has as many bytes."""
ENOUGH = 10
"""So many conversations in a row that nothing is missing from: the rest were longer than this."""
STAGES = ("connect", "host key", "authenticate", "execute", "ran")


class Sweep(msgspec.Struct):
    """What one process saw: how often it ended at each stage, and what was wrong."""

    stages: dict[str, int]
    longest_s: float
    wrong: list[str]


def sweep(folder: Path, how: str, first: int, step: int) -> Sweep:
    """Holds one conversation after the other, until nothing is cut off any more."""
    stages, wrong, longest, ran, limit = Counter[str](), list[str](), 0.0, 0, first
    with process("cutting_relay", str(PLAIN), how, str(first), str(step)) as relay:
        assert relay.stdout is not None
        target = _target(folder, int(relay.stdout.readline()))
        before = open_now()
        while ran < ENOUGH and limit < MOST:
            began = time.monotonic()
            end = _end(target)
            longest = max(longest, time.monotonic() - began)
            stage = end.stage if isinstance(end, TransportError) else "ran"
            wrong += [f"byte {limit}: {what}" for what in _wrong(end)]
            ran = ran + 1 if stage == "ran" else 0
            stages[stage] += 1
            limit += step
        wrong += [f"left over: {what}" for what in left_since(before)]
    return Sweep(dict(stages), longest, wrong)


def _target(folder: Path, port: int) -> SshTarget:
    known = folder / f"known_hosts.{port}"
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{port} {key}\n")
    return SshTarget(
        address="127.0.0.1",
        port=port,
        private_keys=(str(folder / "user"),),
        known_hosts=(str(known),),
        use_agent=False,
    )


def _end(target: SshTarget) -> Output | TransportError:
    """Returns what came, or how it failed."""
    try:
        return Transports().run(target, "echo hello", b"", Deadline.after(DEADLINE_S), Limits())
    except TransportError as e:
        return e


def _wrong(end: Output | TransportError) -> list[str]:
    """Returns what is not as it must be about one end."""
    if isinstance(end, Output):
        return [] if end.stdout == b"hello\n" else [f"output {end.stdout!r}"]
    wrong = []
    if LIBRARY.search(end.reason) or not end.reason.isprintable():
        wrong.append(f"reason {end.reason!r}")
    if end.transient and end.stage == "authenticate":
        wrong.append("a login that is tried again")
    if end.stage not in STAGES:
        wrong.append(f"stage {end.stage}")
    return wrong


def main(how: str, every: int) -> None:
    """Prints what all processes saw together."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="faults-offsets-") as name:
        lab = make_lab(Path(name), 1, 1)
        write_sshd_config(lab, {}, 0)
        words = [sys.executable, "-m", "tests.hostile.faults.offsets", "sweep", name, how]
        with sshd_running(sshd_command(lab), lab.folder / "sshd.log"):
            shares = [
                subprocess.Popen(
                    [*words, str(n * every), str(AT_ONCE * every)], stdout=subprocess.PIPE
                )
                for n in range(AT_ONCE)
            ]
            found = [msgspec.json.decode(share.communicate()[0], type=Sweep) for share in shares]
    stages = Counter[str]()
    for one in found:
        stages.update(one.stages)
    together = Sweep(
        dict(stages),
        max(one.longest_s for one in found),
        [what for one in found for what in one.wrong],
    )
    print(msgspec.json.encode(together).decode())


def case(how: str, every: int = 1, over_s: float = OVER_S) -> Case:
    """Returns the case of a cut at each byte, or at one in `every`."""

    def measure() -> Seen:
        words = [sys.executable, "-m", "tests.hostile.faults.offsets", how, str(every)]
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        done = subprocess.run(
            [*namespace_command(), *words],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        found = msgspec.json.decode(done.stdout, type=Sweep)
        wrong = found.wrong[:3]
        if found.longest_s > DEADLINE_S + over_s:
            wrong.append(f"one took {found.longest_s:.1f} s")
        if missing := {"connect", "authenticate", "execute", "ran"} - set(found.stages):
            wrong.append(f"none ended at the stages {', '.join(sorted(missing))}")
        reason = ", ".join(f"{found.stages.get(stage, 0)} {stage}" for stage in STAGES)
        over = f"{found.longest_s - DEADLINE_S:+.1f} s"
        return Seen(tuple(wrong), {"over the deadline": over, "reason": reason})

    bytes_ = "each byte" if every == 1 else f"one byte in {every}"
    return Case(f"disconnect: {how} at {bytes_} of a good conversation", measure, alone=True)


if __name__ == "__main__":
    if sys.argv[1] == "sweep":
        share = sweep(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        print(json.dumps(msgspec.to_builtins(share)))
    else:
        main(sys.argv[1], int(sys.argv[2]))
