"""Every call of the C library that a command makes in its folder fails, or kills it, in turn."""

from __future__ import annotations

import errno
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.hostile.table import Case, Seen

from . import library
from .server import Fault
from .worlds import (
    SUMMARY,
    Job,
    Worlds,
    bad_ending,
    differences,
    is_write,
    mixed,
    tree,
    unreadable,
)

ERRORS = ("EIO", "ESTALE", "ENOSPC", "EDQUOT", "EROFS", "EACCES")
MAX_WRONG = 12


class Clean:
    """A command without a fault: how it ends, its calls, and the world after it."""

    def __init__(self, worlds: Worlds, job: Job) -> None:
        with worlds.world() as world:
            self.before = tree(world)
            begin = time.monotonic()
            self.done = worlds.server.run(world, *job.arguments, logs=True)
            self.seconds = time.monotonic() - begin
            self.after = tree(world)
        assert self.done.status in (0, 4), self.done

    @property
    def calls(self) -> tuple[str, ...]:
        return self.done.calls


class Trials:
    """What was seen of a command at many moments."""

    def __init__(self, worlds: Worlds, job: Job, clean: Clean) -> None:
        self.worlds, self.job, self.clean = worlds, job, clean
        self.statuses = Counter[str]()
        self.wrong = list[str]()
        self.tried = 0

    def kill_at(self, number: int) -> None:
        """Kills the command before its call of a number."""
        with self.worlds.world() as world:
            done = self.worlds.server.run(world, *self.job.arguments, fault=Fault(at=number))
            wrong = [] if done.status == -9 else [f"not killed: {done}"]
            wrong += mixed(tree(world), self.clean.before, self.clean.after)
            wrong += unreadable(world) + self.finish(world)
            self.note(f"kill at {self.clean.calls[number - 1]}", done.status, wrong)

    def kill_after(self, seconds: float) -> None:
        """Kills the command at a moment."""
        with self.worlds.world() as world:
            command = self.worlds.server.start(world, *self.job.arguments, order=int(seconds * 1e6))
            time.sleep(seconds)
            command.kill()
            done = command.wait()
            wrong = mixed(tree(world), self.clean.before, self.clean.after)
            wrong += unreadable(world) + self.finish(world)
            self.note(f"kill after {seconds:.3f} s", done.status, wrong)

    def fail_at(self, number: int, action: int, *, sticky: bool = False) -> None:
        """Makes a call fail, or write short; with `sticky` all calls after it, too."""
        fault, call = Fault(at=number, action=action, sticky=sticky), self.clean.calls[number - 1]
        with self.worlds.world() as world:
            done = self.worlds.server.run(world, *self.job.arguments, fault=fault)
            clean = self.clean.done.status or 0
            allowed = {clean, 73} if is_write(call) else {clean, 73, 65, 66}
            if action == library.SHORT:
                allowed = {clean}
            wrong = bad_ending(done, allowed, action)
            if done.contacted and SUMMARY not in done.out:
                wrong.append(f"no summary on stdout: {done.err[-300:]}")
            if is_write(call):
                wrong += mixed(tree(world), self.clean.before, self.clean.after)
            wrong += unreadable(world) + self.finish(world, same=is_write(call))
            self.note(f"{_name(action)} at {call}", done.status, wrong)

    def finish(self, world: Path, *, same: bool = True) -> list[str]:
        """Does the work again, and returns how the world differs from one without a fault.

        Without `same` only the names of files count: a run whose baseline could not be read says
        so, and gets no number after those of runs that could not be read.
        """
        done = self.worlds.recover(self.job, world, self.clean.before)
        wrong = bad_ending(done, {self.clean.done.status or 0, 0})
        after, reference = tree(world), self.clean.after
        if not same:
            after, reference = dict.fromkeys(after, b""), dict.fromkeys(reference, b"")
        return [*wrong, *differences(after, reference)]

    def note(self, what: str, status: int | None, wrong: Sequence[str]) -> None:
        self.tried += 1
        self.statuses[str(status)] += 1
        if wrong:
            self.wrong.append(f"{what.replace(str(self.worlds.root), '')}: {', '.join(wrong)}")

    def seen(self) -> Seen:
        more = len(self.wrong) - MAX_WRONG
        wrong = (*self.wrong[:MAX_WRONG], *([f"and {more} more"] if more > 0 else []))
        statuses = " ".join(f"{status}:{n}" for status, n in sorted(self.statuses.items()))
        return Seen(wrong, {"command": self.job.name, "tried": self.tried, "statuses": statuses})


def _name(action: int) -> str:
    if action == library.SHORT:
        return "half a write"
    return errno.errorcode[action]


class How(NamedTuple):
    """Which moments of a command a case tries: kills before these calls, kills at random moments,
    errors at these calls.
    """

    kill: Iterable[int] = ()
    random: int = 0
    at: Iterable[int] = ()
    errors: Sequence[str] = ()
    sticky: bool = False


def cases(worlds: Worlds, share: int = 1) -> Iterator[Case]:
    """Yields the cases; of the calls of each command every `share`-th is tried."""
    for job in worlds.jobs():
        clean = Clean(worlds, job)
        numbers = range(1, len(clean.calls) + 1)
        writes = [n for n in numbers if is_write(clean.calls[n - 1])]

        def make(name: str, job: Job = job, clean: Clean = clean, **how: Any) -> Case:
            run = partial(_try, worlds, job, clean, How(**how), share)
            return Case(f"{job.name}: {name}", run)

        yield make("kill -9 before every call that changes something", kill=writes)
        yield make("kill -9 at random moments", random=200 if job.name == "run" else 40)
        yield make("half a write", errors=["SHORT"], at=_of(clean, "write"))
        for error in ERRORS:
            yield make(f"{error} once", errors=[error], at=numbers)
        for error in ("EIO", "ENOSPC"):
            yield make(f"{error} from a moment on", errors=[error], at=numbers, sticky=True)
    for job in worlds.readers():
        clean = Clean(worlds, job)
        for error in ("EIO", "ESTALE", "EACCES"):
            how = How(errors=[error], at=range(1, len(clean.calls) + 1))
            yield Case(f"{job.name}: {error} once", partial(_try, worlds, job, clean, how, share))


def _of(clean: Clean, name: str) -> list[int]:
    return [n for n, call in enumerate(clean.calls, 1) if call.split()[1] == name]


def _try(worlds: Worlds, job: Job, clean: Clean, how: How, share: int) -> Seen:
    """Tries a command at the moments of `how`."""
    trials = Trials(worlds, job, clean)
    chance = random.Random(job.name)
    for number in _some(how.kill, share):
        trials.kill_at(number)
    for _ in range(0, how.random, share):
        trials.kill_after(chance.uniform(0, clean.seconds * 1.1))
    for number in _some(how.at, share):
        for error in how.errors:
            action = library.SHORT if error == "SHORT" else getattr(errno, error)
            trials.fail_at(number, action, sticky=how.sticky)
    return trials.seen()


def _some(numbers: Iterable[int], share: int) -> Iterable[int]:
    return itertools.islice(numbers, 0, None, share)
