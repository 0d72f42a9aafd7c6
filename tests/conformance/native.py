"""Compares the native probe with the Python probe on this kernel, and prints the table.

    python -m tests.conformance.native                       the shipped playbook, as root
    python -m tests.conformance.native --world nobody
    python -m tests.conformance.native --sets tests,generated,unix
    python -m tests.conformance.native my-playbook.yml
    python -m tests.conformance.native --kernel /boot/vmlinuz  both in guests of that kernel

Each scenario runs through both probes over each of its families. "equal": everything that they
report is, but times; `tests/support/two_probes.py` names what counts as time. The exit status is 1
if anything differs, and then the difference is printed. In guests the description of the host is
not compared: their memory and files differ with what runs in them.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fleetaudit.model import Scenario
from fleetaudit.playbook import load_playbook
from tests.support import step_texts
from tests.support.two_probes import (
    STAYING,
    WORLDS,
    Compared,
    compare,
    explain,
    host_differences,
    in_world,
    plan_of,
    run_in_guests,
)
from tests.truth import cases

SETS: dict[str, Callable[[], list[Scenario]]] = {
    "shipped": lambda: list(load_playbook(None).plays[0].scenarios),
    "playbooks": step_texts.of_playbooks,
    "tests": step_texts.of_tests,
    "generated": lambda: [case.scenario for case in cases.generated()],
    "unix": lambda: [case.scenario for case in cases.over_unix()],
}
AT_ONCE = 100
"""Scenarios of one request: their numbers then fit into the pipe of the second process."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison; returns the exit status."""
    options = parse(arguments)
    scenarios = chosen(options)
    sysctls = load_playbook(None).plays[0].sysctls_collect
    run = in_world(options.world)
    if options.kernel:
        run = functools.partial(run_in_guests, image=options.kernel)
    problems: list[str] = []
    rows: list[Compared] = []
    for start in range(0, len(scenarios), AT_ONCE):
        plan = plan_of(
            scenarios[start : start + AT_ONCE],
            trials=options.trials,
            isolation="host" if options.world == STAYING else "auto",
            sysctls=() if start else sysctls,
        )
        pair, compared = compare(plan, run)
        if not options.kernel:
            problems += host_differences(pair)
        problems += [explain(each) for each in compared if not each.are_equal]
        rows += compared
    print("\n".join(table(rows)))
    print("\n".join(problems))
    equal = sum(each.are_equal for each in rows)
    print(f"{equal} of {len(rows)} equal ({options.kernel or options.world})")
    return 1 if problems else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description="Compares the two probes on this kernel.")
    parser.add_argument("playbooks", nargs="*", type=Path, metavar="PLAYBOOK")
    parser.add_argument("--sets", default="shipped", help=", ".join(SETS))
    parser.add_argument("--world", default="root", choices=WORLDS)
    parser.add_argument("--kernel", type=Path, metavar="IMAGE", help="both in guests of a kernel")
    parser.add_argument("--trials", type=int, default=2)
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """Returns the scenarios to run, of one name the first."""
    found: dict[str, Scenario] = {}
    for name in () if options.playbooks else options.sets.split(","):
        found |= {each.name: each for each in SETS[name]()}
    if options.playbooks:
        found |= {each.name: each for each in step_texts.of_playbooks(options.playbooks)}
    return list(found.values())


def table(rows: Sequence[Compared]) -> Iterator[str]:
    """Yields the lines of the table."""
    cells = [("scenario", "family", "Python", "native", "equal")]
    cells += [(*each.key, *each.endings, "yes" if each.are_equal else "NO") for each in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
