"""Rounds: every contestant runs in each, so that what else the machine does hits all of them."""

from __future__ import annotations

import shutil
import sys

from .contestants import Contestant, Task
from .lab import Lab
from .measure import Cost, measure

LEAST_S = 60
"""The seconds that a contestant may take, and one more for each host."""


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
