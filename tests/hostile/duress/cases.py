"""Every case of the section, from the worlds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from ..table import Case, Seen
from . import places, programs, resources
from .probing import NOBODY, World, judge, probe_in

COLUMNS = ("seconds", "verdicts", "wrong", "left over", "message")
KILLS, KILLS_A_CASE, LIFE_S = 200, 10, 1.8


ABOUT_PYTHON = (
    *("PYTHON", "Python ", "LC_ALL", "LANG", "stray modules", "no bytecode", "a Python "),
    *("every Python ", "no Python"),
)
"""How the names of worlds begin that only an interpreter notices."""


def worlds() -> Iterator[World]:
    """Yields every world but those of the SIGKILLs: of the Python probe, then of the native one."""
    of_python = [*python_worlds()]
    yield from of_python
    for world in of_python:
        if not any(map(world.name.startswith, ABOUT_PYTHON)):
            yield native_world(world)


def native_world(world: World) -> World:
    """Returns a world in which the native probe is sent. The fewest verdicts of a world, and its
    words if there are fewer, are Python's: the native probe needs an executable file and /proc, but
    fewer files and less memory.
    """
    return replace(world, name=f"native: {world.name}", native=True, least=0.0, says="")


def python_worlds() -> Iterator[World]:
    """Yields the worlds of the Python probe."""
    yield World("usual")
    yield World("an ordinary user", uid=NOBODY)
    yield World("the host's own namespace", isolation="host", least=0.8)
    name = "an ordinary user in the host's own namespace"
    yield World(name, isolation="host", uid=NOBODY, least=0.8)
    yield from resources.worlds()
    yield from places.worlds()
    yield from programs.worlds()


def cases() -> Iterator[Case]:
    """Yields one case for each world, and one for every ten SIGKILLs."""
    for world in worlds():
        yield Case(world.name, partial(seen_in, world))
    for first in range(0, KILLS, KILLS_A_CASE):
        last = first + KILLS_A_CASE
        seeds = range(first, last)
        yield Case(f"SIGKILL {first + 1} to {last}", partial(seen_after_kills, seeds))
        native = partial(seen_after_kills, seeds, native=True)
        yield Case(f"native: SIGKILL {first + 1} to {last}", native)


def seen_in(world: World) -> Seen:
    """Runs the probe in one world."""
    wrong, cells = judge(world, probe_in(world))
    return Seen(tuple(wrong), cells)


def seen_after_kills(seeds: range, *, native: bool = False) -> Seen:
    """Kills one process of each of several probes at a random moment, a few probes at a time."""
    moments = {seed: random.Random(seed).uniform(0.01, LIFE_S) for seed in seeds}
    worlds = [programs.killed(seed, at, native=native) for seed, at in moments.items()]
    with ThreadPoolExecutor(4) as pool:  # most of the time goes into waiting
        outcomes = list(pool.map(probe_in, worlds))
    judged = [judge(world, outcome) for world, outcome in zip(worlds, outcomes, strict=True)]
    messages = Counter(str(cells["message"])[:60] for _, cells in judged if cells["message"])
    hits = sum(bool(outcome.report["done"]) for outcome in outcomes)
    cells = {
        "seconds": f"{max(outcome.report['seconds'] for outcome in outcomes):.1f} at most",
        "verdicts": ", ".join(str(cells["verdicts"]).partition(" ")[0] for _, cells in judged),
        "wrong": sum(int(str(cells["wrong"])) for _, cells in judged),
        "left over": sum(int(str(cells["left over"])) for _, cells in judged),
        "message": f"{hits} were hit; {'; '.join(messages)}"[:150],
    }
    return Seen(tuple(each for wrong, _ in judged for each in wrong), cells)
