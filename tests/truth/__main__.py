"""Runs every scenario in every world, in random orders, and compares each verdict with what it must
be.

    python -m tests.truth [--worlds NAME,NAME] [--sets NAME,NAME] [--only GLOB]
                          [--rounds N | --trials N] [--load] [--seed N] [--at-once N]
                          [--minutes N] [--list]

Exit status 0 only if no trial was wrong, no result changed with the order, every world was run, and
at most one trial in a thousand was inconclusive.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import math
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from fleetaudit.errors import ReplyError, TransportError
from fleetaudit.model import HostPlan, LocalTarget
from fleetaudit.probe import protocol
from tests.support import kernels
from tests.support.timing import busy_loops, load

from .cases import SETS, Case
from .tally import Call, Deviation, Tally
from .worlds import World, worlds_here, worlds_of_guests

CALL_TRIALS = 1500
"""The most trials that one call of the probe is asked for, so that progress is seen and a reply
stays small.
"""
TRIAL_S = 0.5
"""Seconds that the probe's deadline allows for one trial; on an idle host one takes 0.02 s."""
MINUTES = 40.0
INCONCLUSIVE = 0.001
NO_TIME = "interrupted, or the time was up"


@dataclass(frozen=True, slots=True)
class Missing:
    """A world that could not be run, and why."""

    name: str
    why: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the options ask for, prints the table, and returns the exit status."""
    options = parse(arguments)
    worlds, missing = select_worlds(options.worlds)
    if options.list:
        for world in worlds:
            print(f"{world.name:18} {world.about}")
        return 0
    cases = select_cases(options.sets, options.only)
    print(f"seed {options.seed}: {len(cases)} scenarios in {len(worlds)} worlds", flush=True)
    end = time.monotonic() + 60 * options.minutes
    tallies = list[Tally]()
    for number, world in enumerate(worlds):
        if time.monotonic() > end or any(tally.left_out for tally in tallies):
            missing.append(Missing(world.name, NO_TIME))
            continue
        seed = options.seed + 1000 * number  # other orders in each world
        tallies.append(run_world(adjust_world(world, cases, options), cases, seed, end))
    print("\n".join(report(tallies, missing)))
    return 0 if proof_holds(tallies, missing) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth")
    parser.add_argument(
        "--worlds", default="", help="names of --list, with commas; all if left out"
    )
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--only", default="*", help="scenarios by name, with wildcards")
    parser.add_argument("--rounds", type=int, help="random orders in each world")
    parser.add_argument(
        "--trials", type=int, help="trials in each world, at least: as many rounds as it takes"
    )
    parser.add_argument(
        "--load", action="store_true", help=f"run {busy_loops()} busy loops in every world"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument(
        "--at-once", type=int, help="calls of the probe that run together on this kernel"
    )
    parser.add_argument(
        "--minutes", type=float, help=f"begin no call after that; {MINUTES:g} unless --trials"
    )
    parser.add_argument("--list", action="store_true", help="print the worlds and end")
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = math.inf if options.trials else MINUTES
    return options


def select_worlds(names: str) -> tuple[list[World], list[Missing]]:
    """Returns the worlds of these names (all for ""), and those that are missing here."""
    worlds, missing = list[World](), list[Missing]()
    requested = list(filter(None, names.split(",")))
    if not requested or any(name.startswith("here") for name in requested):
        try:
            worlds += worlds_here()
        except pytest.skip.Exception as e:
            missing.append(Missing("here", str(e)))
    if not requested or any(not name.startswith("here") for name in requested):
        try:
            worlds += worlds_of_guests(kernels.kernels())
        except kernels.NoKernelsError as e:
            missing.append(Missing("guests", str(e)))
    if not requested:
        return worlds, missing
    known = {world.name: world for world in worlds}
    missing += [
        Missing(name, "no world of this name: see --list")
        for name in requested
        if name not in known
    ]
    return [known[name] for name in requested if name in known], missing


def select_cases(sets: str, only: str) -> list[Case]:
    """Returns the scenarios of these sets whose names match, and their controls."""
    found = {case.scenario.name: case for name in sets.split(",") for case in SETS[name]()}
    cases = [case for name, case in found.items() if fnmatch.fnmatchcase(name, only)]
    if not cases:
        raise SystemExit(f"no scenario matches {only}")
    return with_controls(cases, found)


def with_controls(cases: Sequence[Case], known: Mapping[str, Case]) -> list[Case]:
    """Returns the scenarios and those of their controls that are known and not among them."""
    names = {case.scenario.name for case in cases}
    controls = {case.scenario.control for case in cases} - names
    return [*cases, *(known[name] for name in sorted(filter(None, controls)) if name in known)]


def adjust_world(world: World, cases: Sequence[Case], options: argparse.Namespace) -> World:
    """Returns the world with the rounds, load and calls at once that the options ask for."""
    world = replace(
        world,
        rounds=options.rounds or world.rounds,
        load=world.load or options.load,
        at_once=options.at_once if options.at_once and world.at_once > 1 else world.at_once,
    )
    if options.trials:
        world = replace(world, rounds=math.ceil(options.trials / trials_of_round(world, cases)))
    return world


def trials_of_round(world: World, cases: Sequence[Case]) -> int:
    """Returns how many trials one round of a world has."""
    return sum(_trials(world, case) for case in cases)


def _trials(world: World, case: Case) -> int:
    return len(case.scenario.families) * (case.scenario.trials or world.trials)


def run_world(world: World, cases: Sequence[Case], seed: int, end: float) -> Tally:
    """Returns what a world has shown; calls that would begin after `end` are left out and named."""
    tally = Tally(world)
    calls = [
        call for number in range(world.rounds) for call in calls_of(world, cases, seed + number)
    ]
    began = time.monotonic()
    print(f"\n{world.name}: {world.about}; {world.rounds} rounds, {len(calls)} calls", flush=True)
    with (
        load(busy_loops()) if world.load else contextlib.nullcontext(),
        ThreadPoolExecutor(world.at_once) as pool,
    ):
        results = deque(pool.submit(ask_world, call, end) for call in calls)
        try:
            for done in range(1, len(calls) + 1):
                count_call(
                    tally, *results.popleft().result()
                )  # a reply is large: it is kept no longer than this
                took = time.monotonic() - began
                print(f"  {done}/{len(calls)} calls, {took:.0f} s, {counts(tally)}", flush=True)
        except KeyboardInterrupt:
            tally.left_out += 1 + len(results)
            pool.shutdown(cancel_futures=True)
    return tally


def calls_of(world: World, cases: Sequence[Case], seed: int) -> Iterator[Call]:
    """Yields the calls of one round: all scenarios in the random order of this seed, cut where
    there are many.
    """
    known = {case.scenario.name: case for case in cases}
    order = list(cases)
    shuffled = random.Random(seed)
    shuffled.shuffle(order)
    for part in cut(order, world):
        part = with_controls(part, known)
        shuffled.shuffle(part)
        yield call_of(world, part, seed)


def cut(cases: Sequence[Case], world: World) -> Iterator[list[Case]]:
    """Yields the cases in parts that one call of the probe each can take."""
    part, size = list[Case](), 0
    for case in cases:
        if part and size + _trials(world, case) > CALL_TRIALS:
            yield part
            part, size = [], 0
        part.append(case)
        size += _trials(world, case)
    yield part


def call_of(world: World, cases: Sequence[Case], seed: int) -> Call:
    """Returns one call of the probe."""
    plan = HostPlan(
        name=world.name,
        groups=(),
        target=LocalTarget(),
        scenarios=tuple(case.scenario for case in cases),
        trials=world.trials,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )
    return Call(world, seed, tuple(cases), plan)


def ask_world(call: Call, end: float) -> tuple[Call, protocol.Reply | str | None]:
    """Returns the reply to a call, or why there is none; None where it would begin after `end`."""
    if time.monotonic() > end:
        return call, None
    deadline_s = 60 + TRIAL_S * sum(_trials(call.world, case) for case in call.cases)
    try:
        out = call.world.ask(call.plan, deadline_s)
        return call, protocol.decode_reply(
            call.plan, out.stdout, out.stderr, out.exit_status, out.cut
        )
    except (ReplyError, TransportError) as e:
        return call, f"no reply: {e.reason}"
    except subprocess.TimeoutExpired as e:
        return call, f"no reply: the probe ran for more than {e.timeout:g} s"


def count_call(tally: Tally, call: Call, reply: protocol.Reply | str | None) -> None:
    """Counts what came of one call."""
    if reply is None:
        tally.left_out += 1
    elif isinstance(reply, str):
        tally.lose(call, reply)
    else:
        try:
            tally.take(call, reply)
        except ReplyError as e:
            tally.lose(call, f"no verdict: {e.reason}")


def counts(tally: Tally) -> str:
    """Returns the numbers of a world so far."""
    return f"{tally.trials} trials: {tally.wrong} wrong, {tally.inconclusive} inconclusive"


def proof_holds(tallies: Sequence[Tally], missing: Sequence[Missing]) -> bool:
    """Returns whether the proof holds."""
    trials = sum(tally.trials for tally in tallies)
    inconclusive = sum(tally.inconclusive for tally in tallies)
    whole = not missing and all(tally.agree and not tally.left_out for tally in tallies)
    right = not any(tally.wrong or [*tally.differences()] for tally in tallies)
    return whole and right and inconclusive <= INCONCLUSIVE * trials


# ---- the table

HEADINGS = (
    "world",
    "scenarios",
    "observations",
    "trials",
    "agree",
    "not run",
    "inconclusive",
    "wrong",
)


def report(tallies: Sequence[Tally], missing: Sequence[Missing]) -> Iterator[str]:
    """Yields the table, what was not run and why, and each deviation with its evidence."""
    rows = [HEADINGS, *map(row, tallies)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    yield ""
    for first, *others in rows:
        yield "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
    for gap in missing:
        yield f"{gap.name}: NOT RUN: {gap.why}"
    for tally in tallies:
        yield from deviations(tally)
    yield ""
    yield "holds" if proof_holds(tallies, missing) else "DOES NOT HOLD"


def row(tally: Tally) -> tuple[str, ...]:
    """Returns the row of one world."""
    percent = 100 * tally.inconclusive / tally.trials if tally.trials else 100.0
    numbers = (
        len(tally.scenarios),
        tally.observations,
        tally.trials,
        tally.agree,
        tally.not_run.total(),
    )
    inconclusive = f"{tally.inconclusive} ({percent:.3f} %)"
    return (tally.world.name, *map(str, numbers), inconclusive, str(tally.wrong))


def deviations(tally: Tally) -> Iterator[str]:
    """Yields why scenarios were not run in a world, and what was wrong or inconclusive."""
    name = tally.world.name
    if tally.left_out:
        yield f"{name}: {tally.left_out} calls NOT RUN: {NO_TIME}"
    for reason, number in tally.not_run.most_common():
        yield f"{name}: not run, {number} observations: {reason}"
    for difference in tally.differences():
        yield f"{name}: {difference}"
    for found in sorted(tally.deviations.values(), key=lambda d: (d.kind != "wrong", d.scenario)):
        yield ""
        yield from deviation(tally.world, found)


def deviation(world: World, found: Deviation) -> Iterator[str]:
    """Yields one deviation: what, the evidence of its first trial, and how to see it again."""
    scenario, over = found.scenario, " and ".join(sorted(found.families))
    yield (
        f"{found.kind.upper()} in {world.name}: {scenario} over {over}, {found.trials} trials:"
        f" {found.text}"
    )
    yield from (f"    {line}" for line in found.evidence)
    again = f"python -m tests.truth --worlds {world.name} --rounds 1"
    loaded = " --load" if world.load and not world.name.endswith("-load") else ""
    yield f"  the same order again: {again} --seed {found.seed}{loaded}"
    yield f"  it alone:             {again} --only {scenario}{loaded}"


if __name__ == "__main__":
    sys.exit(main())
