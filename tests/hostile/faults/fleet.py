"""Bad hosts among good ones: python -m tests.hostile.faults.fleet GOOD DEADLINE FAULT…

Audits GOOD good hosts, then the same with one bad host for each FAULT among them, and prints both
times as JSON. It runs in a network namespace of its own, because each host has an address of its
own. The good hosts are a real sshd, whose forced command prints a recorded reply.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import msgspec

from bench.fleet.lab import Lab, make_lab
from bench.fleet.namespace import namespace_command
from bench.fleet.server import PLAIN, sshd_command, sshd_running, write_sshd_config
from fleetaudit.engine.control import EngineSettings
from fleetaudit.engine.scheduler import audit
from fleetaudit.model import Audited, HostPlan, HostResult, NotAudited, Plan, SshTarget
from fleetaudit.transport.registry import Transports
from tests.hostile.table import Case, Seen

from .catalog import faults
from .client import scenario
from .recording import FIRST_LINE
from .serve import serving

OVER_S = 2.0
NOISE = 1.5
"""How much longer the same hosts may take a second time, on a machine that does other things."""
PLAY = """\
# Reads the request, and prints the reply with the nonce of its second line.
printf '%s\\n' "$(cat "$1/first")"
read -r interpreter
read -r second
cat >/dev/null
recorded=$(cat "$1/nonce")
nonce=$(expr "$second" : ".*'\\([0-9a-f]*\\)'")
test "$recorded" || exec cat "$1/text"
exec sed "s/$recorded/$nonce/" "$1/text"
"""


@dataclass
class Times:
    """When hosts had their results, in seconds from the begin: of the last good one, and of all."""

    good: int
    good_s: float = 0.0
    all_s: float = 0.0
    lost: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, result: HostResult) -> None:
        """Takes a result as it comes."""
        self.all_s = time.monotonic() - self.began
        if not result.name.startswith("good"):
            return
        self.good_s = self.all_s
        if isinstance(result, NotAudited):
            self.lost.append(f"{result.name}: {result.stage}: {result.reason}")


def run(plans: list[HostPlan], deadline_s: float) -> Times:
    """Audits hosts together."""
    times = Times(sum(plan.name.startswith("good") for plan in plans))
    audit(
        Plan(playbooks=(), hosts=tuple(plans)),
        run_command=Transports().run,
        settings=EngineSettings(host_deadline_s=deadline_s),
        judge=lambda audited, _: audited,
        on_result=times.add,
    )
    return times


def main(count: int, deadline_s: float, names: list[str]) -> None:
    """Prints the times of the good hosts, and of all of them together."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="faults-fleet-") as folder:
        own = Path(folder) / "lab"
        own.mkdir()
        lab = make_lab(own, count, 0)
        plan = scenario()
        with serving(lab.folder / "host", names) as (*bad_ports, recorder):
            record(lab, plan, recorder)
            with good_hosts(lab):
                good = [
                    _at(plan, f"good{n}", lab, address, PLAIN)
                    for n, address in enumerate(lab.addresses)
                ]
                bad = [
                    _at(plan, f"bad: {name}", lab, "127.0.0.1", port)
                    for name, port in zip(names, bad_ports, strict=True)
                ]
                run(good[:20], deadline_s)  # what is imported and cached is no part of it
                alone = run(good, deadline_s)
                mixed = run(_mixed(good, bad), deadline_s)
                again = run(good, deadline_s)
    # Whatever else the machine does: it is compared with the slower one.
    alone = max(alone, again, key=attrgetter("good_s"))
    print(json.dumps({"alone": vars(alone), "mixed": vars(mixed)}))


def _mixed(good: list[HostPlan], bad: list[HostPlan]) -> list[HostPlan]:
    """Returns the bad hosts evenly among the good ones."""
    hosts = list(good)
    step = len(good) // max(len(bad), 1) + 1
    for n, one in enumerate(bad):
        hosts.insert(n * step, one)
    return hosts


def _at(plan: HostPlan, name: str, lab: Lab, address: str, port: int) -> HostPlan:
    """Returns the plan of a host with this address."""
    known = lab.folder / "known_hosts"
    if not known.exists():
        known.write_text(f"* {lab.host_key}\n")
    target = SshTarget(
        address=address,
        port=port,
        user=lab.user,
        private_keys=(str(lab.key),),
        known_hosts=(str(known),),
        use_agent=False,
    )
    return msgspec.structs.replace(plan, name=name, target=target)


def record(lab: Lab, plan: HostPlan, port: int) -> None:
    """Records the reply by auditing a good host of ours."""
    outcome = audit(
        Plan(playbooks=(), hosts=(_at(plan, "recorded", lab, "127.0.0.1", port),)),
        run_command=Transports().run,
        settings=EngineSettings(host_deadline_s=120),
        judge=lambda audited, _: audited,
        on_result=lambda _: None,
    )
    assert isinstance(outcome.results[0], Audited), outcome.results[0]
    (recording,) = lab.folder.parent.glob("reply.*")
    nonce, text = recording.read_bytes().split(b"\n", 1)
    recording.unlink()
    for name, content in (("first", FIRST_LINE), ("nonce", nonce), ("text", text)):
        (lab.folder / name).write_bytes(content)


@contextlib.contextmanager
def good_hosts(lab: Lab) -> Iterator[None]:
    """Runs the sshd of the good hosts."""
    (lab.folder / "play.sh").write_text(PLAY)
    write_sshd_config(lab, {}, 0)
    config = lab.folder / "sshd_config"
    forced = f"ForceCommand exec sh {lab.folder}/play.sh {lab.folder}\n"
    config.write_text(config.read_text() + forced)
    with sshd_running(sshd_command(lab), lab.folder / "sshd.log"):
        yield


def case(
    good: int, bad: int, deadline_s: float, *, only: str = "", noise_s: float = OVER_S
) -> Case:
    """Returns the case of `bad` hosts, with faults whose names have `only`, among good ones.

    `noise_s` are seconds that the machine may add.
    """
    names = [fault.name for fault in faults() if only in fault.name and not fault.login]
    chosen = [names[n % len(names)] for n in range(bad)]

    def measure() -> Seen:
        words = [sys.executable, "-m", "tests.hostile.faults.fleet", str(good), str(deadline_s)]
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        done = subprocess.run(
            [*namespace_command(), *words, *chosen],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = {name: Times(**times) for name, times in json.loads(done.stdout).items()}
        return _seen(found["alone"], found["mixed"], noise_s + deadline_s * (not only), deadline_s)

    kind = f" with “{only}”" if only else ""
    return Case(f"fleet: {good} good hosts among {bad} bad ones{kind}", measure, alone=True)


def _seen(alone: Times, mixed: Times, more_s: float, deadline_s: float) -> Seen:
    """Compares the good hosts alone with those among bad ones, which may take `more_s` more."""
    most_s = NOISE * alone.good_s + more_s
    wrong = []
    if lost := [*alone.lost, *mixed.lost]:
        wrong.append(f"{len(lost)} good hosts lost, such as {lost[0]}")
    if mixed.good_s > most_s:
        wrong.append(f"the good hosts took {mixed.good_s:.1f} s, more than {most_s:.1f}")
    if mixed.all_s > most_s + deadline_s:
        wrong.append(f"all took {mixed.all_s:.1f} s")
    reason = (
        f"{alone.good_s:.1f} s alone; among bad ones {mixed.good_s:.1f} s, and all hosts"
        f" {mixed.all_s:.1f} s; the deadline is {deadline_s:g} s"
    )
    return Seen(tuple(wrong), {"reason": reason})


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
