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
import signal
import sys
import tempfile
from pathlib import Path

from . import extras
from .contestants import Contestant, Task, contestants, fleetaudit_command
from .lab import Lab, make_lab
from .link import FAR
from .measure import measure
from .namespace import enter_namespace
from .recording import ONE_SCENARIO, Recording
from .round_trips import count_round_trips, missing
from .rounds import in_rounds
from .server import running_sshd
from .table import render, summarize

MOST_HOSTS = 10_000
PROFILE_S = 3600.0


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
    parser.add_argument("--fleetaudit", help="another fleetaudit to measure: words of a command")
    parser.add_argument(
        "--round-trips", action="store_true", help="count those of one host, over a delayed line"
    )
    parser.add_argument(
        "--profile", action="store_true", help="print where fleetaudit spends its CPU"
    )
    parser.add_argument(
        "--install", action="store_true", help="install what fleetaudit is compared with, and end"
    )
    found = parser.parse_args()
    if found.round_trips and (problem := missing()):
        parser.error(f"--round-trips: there can be no delayed line here: {problem}")
    if not 1 <= found.hosts <= MOST_HOSTS:
        parser.error(f"--hosts: 1 to {MOST_HOSTS}")
    return found


def fleetaudit_program(words: str | None) -> tuple[str, ...]:
    """Returns the words that start fleetaudit: this one, or another, whose imports are its own."""
    if words is None:
        return (sys.executable, "-m", "fleetaudit")
    return ("env", "--unset=PYTHONPATH", *words.split())


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


def main() -> int:
    asked = options()
    if asked.install:
        extras.install()
        return 0
    enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        lab = make_lab(Path(name), asked.hosts, asked.forks)
        program = fleetaudit_program(asked.fleetaudit)
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
                each.make(lab, FAR)
            if asked.profile:
                print(profile_default(lab, recordings[-1]))
                return 0
            if not asked.round_trips:
                return compare(asked, lab, chosen)
        return show_round_trips(count_round_trips(lab, chosen, folders, asked.rounds), asked)


def compare(asked: argparse.Namespace, lab: Lab, chosen: list[Contestant]) -> int:
    """Prints what each contestant costs; returns 1 if a host was lost."""
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


def show_round_trips(found: dict[str, float], asked: argparse.Namespace) -> int:
    if asked.json:
        print(json.dumps({title: round(count, 2) for title, count in found.items()}, indent=1))
    for title, count in sorted(found.items(), key=lambda item: item[1]):
        if not asked.json:
            print(f"{count:6.1f} round trips: {title}")
    return 0


def profile_default(lab: Lab, recording: Recording) -> str:
    """Returns where a run of the default playbook spends its CPU, in ms a host."""
    out = lab.folder / "out"
    result = lab.folder / "profile.json"
    words = fleetaudit_command(Task(lab, recording, out))[len(recording.fleetaudit) :]
    command = [sys.executable, "-m", "bench.fleet.profile", str(result), *words]
    cost = measure(command, lab.environment, lab.folder / "profile.log", PROFILE_S)
    found = json.loads(result.read_text())
    looks = sum(count for _, count in found["phases"])
    a_look = cost.cpu * 1000 / len(lab.addresses) / looks

    def lines(kind: str) -> list[str]:
        return [f"{count * a_look:7.2f} ms  {name}" for name, count in found[kind]]

    total = cost.cpu * 1000 / len(lab.addresses)
    head = f"{total:.2f} ms of CPU a host, {len(lab.addresses)} hosts; {looks} looks"
    return "\n".join([head, "", *lines("phases"), "", *lines("functions")])


if __name__ == "__main__":
    sys.exit(main())
