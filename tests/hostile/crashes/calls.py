"""Every call of the C library that a command makes in its folder fails, or kills it, in turn."""

from __future__ import annotations

import errno
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.hostile.table import Case, Seen

from . import library
from .server import Fault
from .worlds import (
    JOBS,
    READERS,
    SUMMARY,
    Clean,
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
            self.note(f"kill at {self.clean.done.calls[number - 1]}", done.status, wrong)

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
        fault, call = (
            Fault(at=number, action=action, sticky=sticky),
            self.clean.done.calls[number - 1],
        )
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

        Without `same` only the names of files count, and old files may stay: a run whose baseline
        could not be read says so, and one that could not be read is not removed.
        """
        done = self.worlds.recover(self.job, world, self.clean.before)
        wrong = bad_ending(done, {self.clean.done.status or 0, 0})
        after, reference = tree(world), self.clean.after
        if not same:
            old = self.clean.before.keys() - reference.keys()
            after = dict.fromkeys(after.keys() - old, b"")
            reference = dict.fromkeys(reference, b"")
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
    """Which moments of a command a case tries.

    `kills`: before each call that changes something. `random`: so many kills at any time. Or each
    of `errors` at each call; `only` at those of one name; `sticky`: at all calls after it, too.
    """

    kills: bool = False
    random: int = 0
    errors: Sequence[str] = ()
    only: str = ""
    sticky: bool = False

    def numbers(self, clean: Clean) -> list[int]:
        """Returns the numbers of the calls at which something happens."""
        calls = list(enumerate(clean.done.calls, 1))
        if self.kills:
            return [number for number, call in calls if is_write(call)]
        if self.errors:
            return [n for n, call in calls if self.only in ("", call.split()[1])]
        return []


def cases(worlds: Worlds, share: int = 1) -> Iterator[Case]:
    """Yields the cases; of the calls of each command every `share`-th is tried.

    With a share, the errors are two: most are handled in the same way.
    """
    errors = ERRORS if share == 1 else ("EIO", "ENOSPC")
    for job in JOBS:
        kinds = {
            "kill -9 before every call that changes something": How(kills=True),
            "kill -9 at random moments": How(random=200 if job.name == "run" else 40),
            "half a write": How(errors=["SHORT"], only="write"),
            **{f"{error} once": How(errors=[error]) for error in errors},
            **{f"{e} from a moment on": How(errors=[e], sticky=True) for e in ("EIO", "ENOSPC")},
        }
        for name, how in kinds.items():
            yield Case(f"{job.name}: {name}", partial(_try, worlds, job, how, share))
    for job in READERS:
        for error in errors[: 3 if share == 1 else 1]:
            run = partial(_try, worlds, job, How(errors=[error]), share)
            yield Case(f"{job.name}: {error} once", run)


def _try(worlds: Worlds, job: Job, how: How, share: int) -> Seen:
    """Tries a command at the moments of `how`."""
    clean = worlds.clean(job)
    trials = Trials(worlds, job, clean)
    chance = random.Random(job.name)
    for _ in range(0, how.random, share):
        trials.kill_after(chance.uniform(0, clean.seconds * 1.1))
    for number in how.numbers(clean)[::share]:
        if how.kills:
            trials.kill_at(number)
        for error in how.errors:
            action = library.SHORT if error == "SHORT" else getattr(errno, error)
            trials.fail_at(number, action, sticky=how.sticky)
    return trials.seen()
