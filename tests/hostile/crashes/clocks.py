"""Clocks that are wrong, or jump while a command runs: the last run is the last that finished."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.hostile.table import Case, Seen

from . import library
from .server import Fault
from .worlds import DAY, RUN, Worlds, bad_ending, run_names, unreadable

YEAR = 365 * DAY
SHIFTS = {
    "in 2036": 10 * YEAR,
    "after the last year that Python knows": 7960 * YEAR,
    "20 years back": -20 * YEAR,
    "an hour back": -3600,
    "in 1970": -56 * YEAR - 300 * DAY,
}


def _run_with(worlds: Worlds, faults: tuple[Fault, ...]) -> Seen:
    """Runs one command after another, each with its clock; checks the last run after each."""
    wrong, statuses = list[str](), list[str]()
    with worlds.world() as world:
        for fault in (*faults, Fault()):
            before = (world / "reports/latest").readlink().name
            known = run_names(world / "reports")
            done = worlds.server.run(world, *RUN, "--keep", "3", fault=fault, epoch=None)
            statuses.append(str(done.status))
            wrong += bad_ending(done, {4}) + unreadable(world)
            new = [name for name in run_names(world / "reports") if name not in known]
            latest = (world / "reports/latest").readlink().name
            if [latest] != new:
                wrong.append(f"latest is {latest}, not {new}")
            if f"Nothing changed since {before}" not in done.out:
                wrong.append(f"not compared with {before}: {done.out[-300:]}")
    cells = {"command": "run", "tried": len(statuses), "statuses": " ".join(statuses)}
    return Seen(tuple(wrong), cells)


def cases(worlds: Worlds, share: int) -> Iterator[Case]:
    """Yields the cases."""
    for name, shift in SHIFTS.items():
        yield Case(f"clock: {name}", partial(_run_with, worlds, (Fault(shift=shift),)))
        jumps = tuple(
            Fault(at=at, action=library.JUMP, shift=shift) for at in (1, 30, 60, 90, 150, 250)
        )
        yield Case(f"clock: jumps, {name}", partial(_run_with, worlds, jumps))
