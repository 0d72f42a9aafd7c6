"""A command is stopped at a moment; something happens to its folder, or another command runs there;
and it continues.
"""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.hostile.table import Case, Seen

from . import library
from .server import Done, Fault
from .worlds import (
    JOBS,
    MERGE,
    REPORT,
    SUMMARY,
    Job,
    Worlds,
    bad_ending,
    run_names,
    tree,
    unreadable,
)

BY_NAME = {job.name: job for job in JOBS}
EVERY = 9
"""Every how many calls a command is stopped in turn."""


class _Trials:
    """What was seen of one case."""

    def __init__(self, job: Job) -> None:
        self.job, self.statuses, self.wrong = job, Counter[str](), list[str]()

    def note(self, call: str, done: Done, wrong: list[str]) -> None:
        self.statuses[str(done.status)] += 1
        self.wrong += [f"stopped at {call.split('/', 3)[-1]}: {text}" for text in wrong]

    def seen(self) -> Seen:
        text = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        cells = {
            "command": self.job.name,
            "tried": self.statuses.total(),
            "statuses": text,
        }
        return Seen(tuple(self.wrong[:12]), cells)


def _pauses(worlds: Worlds, job: Job, share: int) -> Iterator[tuple[str, Fault]]:
    """Yields the calls at which a command stops."""
    for number, call in list(enumerate(worlds.clean(job).done.calls, 1))[:: EVERY * share]:
        yield call, Fault(at=number, action=library.STOP)


def _gone(worlds: Worlds, job: Job, share: int, change: Callable[[Path], object]) -> Seen:
    """Changes the output folder while a command is stopped."""
    trials = _Trials(job)
    for call, fault in _pauses(worlds, job, share):
        with worlds.world() as world:
            command = worlds.server.start(world, *job.arguments, fault=fault)
            if command.wait_until_stopped():
                change(world / job.folder)
                command.kill(signal.SIGCONT)
            done = command.wait()
            clean = worlds.clean(job).done.status or 0
            wrong = bad_ending(done, {clean, 73, 65, 66})
            if done.contacted and SUMMARY not in done.out:
                wrong.append(f"no summary on stdout: {done.err[-300:]}")
            trials.note(call, done, wrong)
    return trials.seen()


def _remove_run(output: Path) -> None:
    """Removes the newest run."""
    shutil.rmtree(output / run_names(output)[-1])


def _replace_by_folder(output: Path) -> None:
    """Puts an empty folder in the place of the output folder."""
    output.rename(output.with_name("moved"))
    output.mkdir()


def _replace_by_file(output: Path) -> None:
    """Puts a file in the place of the output folder."""
    output.rename(output.with_name("moved"))
    output.write_text("")


CHANGES: dict[str, Callable[[Path], object]] = {
    "its newest run is removed": _remove_run,
    "its folder is removed": shutil.rmtree,
    "its folder is replaced": _replace_by_folder,
    "its folder is replaced by a file": _replace_by_file,
}


def _beside(worlds: Worlds, first: Job, second: Job, share: int) -> Seen:
    """Runs a second command while the first one is stopped.

    Either it is refused at once, or both succeed. The second is given again afterwards if it was.
    """
    trials = _Trials(first)
    for call, fault in _pauses(worlds, first, share):
        with worlds.world() as world:
            command = worlds.server.start(world, *first.arguments, fault=fault)
            command.wait_until_stopped()
            other = worlds.server.run(world, *second.arguments, order=3)
            command.kill(signal.SIGCONT)
            done = command.wait()
            good = {0, 4}
            # A run removes old ones, and may have removed the one to be resumed.
            removed = {66} if {first.name, second.name} == {"run", "resume"} else set[int]()
            wrong = bad_ending(other, {*good, 75, *removed})
            if 75 in (other.status, done.status):
                text = other.err + done.err
                wrong += [] if "another run holds this folder" in text else [f"unclear: {text}"]
            wrong += bad_ending(done, good if other.status == 75 else {*good, 75, *removed})
            wrong += unreadable(world)
            wrong += [f"left over: {p}" for p in tree(world) if p.split("/")[1:2] and "/." in p]
            trials.note(call, other, wrong)
    return trials.seen()


PAIRS = (
    ("run", "run"),
    ("run", "prune"),
    ("run", "resume"),
    ("run", "publish"),
    ("resume", "resume"),
    ("resume", "run"),
    ("prune", "run"),
    ("prune", "prune"),
    ("publish", "publish"),
    ("merge", "merge"),
    ("report", "report"),
)


def cases(worlds: Worlds, share: int) -> Iterator[Case]:
    """Yields the cases."""
    share = max(1, share // 10)
    for job in (BY_NAME["run"], BY_NAME["resume"], MERGE, REPORT):
        for name, change in CHANGES.items():
            if job is not REPORT or change is not _remove_run:
                yield Case(f"{job.name}: {name}", partial(_gone, worlds, job, share, change))
    for first, second in PAIRS:
        run = partial(_beside, worlds, BY_NAME[first], BY_NAME[second], share)
        yield Case(f"{first}: {second} meanwhile", run)
