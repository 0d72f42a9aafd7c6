"""Runs every contestant, in interleaved rounds, and prints what each costs the controller.

    python -m bench.fleet [--hosts N] [--rounds N] [--only NAME,NAME] [--json]

The hosts' own seconds are hidden on purpose: a forced command plays a recorded genuine reply back.
`--wait 8` makes it wait as long as the probe does. Only ratios within a round are worth quoting;
the machine is never quiet. The exit status is 1 if a host was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from . import extras
from .contestants import Contestant, Task, contestants
from .lab import Lab, enter_namespace, make_lab, running_sshd
from .measure import Cost, measure
from .recording import ONE_SCENARIO, Recording
from .table import render, summarize

MOST_HOSTS = 10_000
LEAST_S = 60
"""The seconds that a contestant may take, and one more for each host."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forks", type=int, default=100, help="hosts at once, for everyone")
    parser.add_argument("--wait", type=float, default=0, help="seconds that a host takes")
    parser.add_argument("--only", default="", help="names of contestants, with commas")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--fleetaudit",
        default=f"{sys.executable} -m fleetaudit",
        help="the fleetaudit to measure (words of a command)",
    )
    parser.add_argument(
        "--install", action="store_true", help="install what fleetaudit is compared with, and end"
    )
    found = parser.parse_args()
    if not 1 <= found.hosts <= MOST_HOSTS:
        parser.error(f"--hosts: 1 to {MOST_HOSTS}")
    return found


def choose(everyone: list[Contestant], only: str) -> list[Contestant]:
    """Returns the contestants that take part, and says which cannot."""
    names = set(only.split(",")) if only else {each.name for each in everyone}
    if unknown := names - {each.name for each in everyone}:
        sys.exit(f"no such contestant: {', '.join(sorted(unknown))}")
    chosen = [each for each in everyone if each.name in names]
    for each in chosen:
        if each.missing:
            print(f"skipped: {each.title}: {each.missing}", file=sys.stderr)
    return [each for each in chosen if not each.missing]


def run_one(lab: Lab, contestant: Contestant) -> tuple[Cost, list[str]]:
    """Runs one contestant over all hosts; returns its cost and the hosts that it lost."""
    out = lab.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    task = Task(lab, contestant.recording, out)
    log = lab.folder / f"{contestant.name}.log"
    cost = measure(contestant.command(task), lab.environment, log, LEAST_S + len(lab.addresses))
    lost = contestant.lost(task, cost)
    if lost:
        tail = log.read_text("utf-8", "replace")[-2000:]
        print(f"{contestant.title}: lost {len(lost)}, such as {lost[0]}\n{tail}", file=sys.stderr)
    shutil.rmtree(out)
    return cost, lost


def in_rounds(
    lab: Lab, chosen: list[Contestant], count: int
) -> tuple[list[dict[str, Cost]], dict[str, int]]:
    """Runs everyone in each round, beginning with another one each time; returns costs, by round,
    and the number of lost hosts, by name.
    """
    rounds, lost = [], dict.fromkeys((each.name for each in chosen), 0)
    for number in range(count):
        first = number % len(chosen)
        costs = {}
        for each in chosen[first:] + chosen[:first]:
            costs[each.name], missed = run_one(lab, each)
            lost[each.name] += len(missed)
            figure = costs[each.name].cpu * 1000 / len(lab.addresses)
            print(f"round {number + 1}: {each.name:10} {figure:6.1f} ms", file=sys.stderr)
        rounds.append(costs)
    return rounds, lost


def main() -> int:
    asked = options()
    if asked.install:
        extras.install()
        return 0
    enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        lab = make_lab(Path(name), asked.hosts, asked.forks)
        program = tuple(asked.fleetaudit.split())
        recordings = [
            Recording(number, lab.folder / f"recording{number}", program, playbook)
            for number, playbook in enumerate((ONE_SCENARIO, ""))
        ]
        for each in recordings:
            each.folder.mkdir()
        folders = {each.number: each.folder for each in recordings}
        chosen = choose(contestants(*recordings), asked.only)
        with running_sshd(lab, folders, asked.wait):
            for each in recordings:
                each.make(lab)
            rounds, lost = in_rounds(lab, chosen, asked.rounds)
    figures = {
        each.title: {**summarize(rounds, each.name, asked.hosts), "lost": lost[each.name]}
        for each in chosen
    }
    sizes = {
        "hosts": asked.hosts,
        "rounds": asked.rounds,
        "forks": asked.forks,
        "cores": os.cpu_count(),
    }
    if asked.json:
        print(json.dumps({**sizes, "wait_s": asked.wait, "contestants": figures}, indent=1))
    else:
        print(", ".join(f"{value} {name}" for name, value in sizes.items()))
        print("The hosts play a recorded reply back: their own seconds are hidden on purpose.")
        print(render(figures))
    return int(any(lost.values()))


if __name__ == "__main__":
    sys.exit(main())
