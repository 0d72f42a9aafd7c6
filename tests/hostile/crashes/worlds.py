"""Output folders before a command, and what must be true of them after one that failed or died."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fleetaudit.errors import FleetauditError
from fleetaudit.store.names import RUN_NAME
from fleetaudit.store.run_file import read_run
from fleetaudit.store.site_folder import LIST_FILE, LOCK_FILE

from . import library
from .server import EPOCH, PLAYBOOK, Done, Fault, Server

SUMMARY = "6 hosts: 5 audited, 1 not audited."
DAY = 86400
FORMATS = ("--format", "html,prometheus,pcap")
RUN = ("run", "web[07:12],", "-p", "two.yml", *FORMATS, "-o", "reports")
Tree = Mapping[str, bytes]


def name_of(days: int) -> str:
    """Returns the name of a run that began so many days before the others."""
    return datetime.fromtimestamp(EPOCH - days * DAY, UTC).strftime("%Y-%m-%dT%H%M%SZ")


OLDEST, UNFINISHED = name_of(9), name_of(7)


@dataclass(frozen=True)
class Job:
    """A command that changes a world, and the output folder that it changes."""

    name: str
    arguments: tuple[str, ...]
    folder: str = "reports"


class Clean(NamedTuple):
    """A command without a fault: how it ended, the world before and after it, and its seconds."""

    done: Done
    before: Tree
    after: Tree
    seconds: float


class Worlds:
    """Makes worlds of one template, which is made once: a context manager.

    `reports/` has two finished runs, one that was killed after some hosts, and `latest`.
    `reports.one/` and `reports.two/` have runs to merge, `reports.all/` an earlier merge, and
    `reports.page/` a page of the first run; `reports.site/` is a site of `reports.kept/` as that
    was before its oldest run was removed and another one was added.
    """

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> Worlds:
        self.root = Path(tempfile.mkdtemp(prefix="crashes-"))
        self.template = self.root / "template"
        self.server = Server().__enter__()
        self.template.mkdir()
        (self.template / "two.yml").write_text(PLAYBOOK)
        self._run(*RUN, days=9)
        self._run(*RUN, days=8)
        self._kill_after_hosts(days=7)
        self._run(*RUN, days=6)
        for name, hosts in (("one", "web[07:09],"), ("two", "web[10:12],")):
            self._run("run", hosts, "-p", "two.yml", "-o", f"reports.{name}", days=5)
        self._run(*MERGE.arguments, days=4)
        self._run("report", f"reports/{OLDEST}", *REPORT.arguments[2:], days=4)
        self._publish_then_change()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()
        shutil.rmtree(self.root)

    def _run(self, *arguments: str, days: int) -> None:
        (self.template / "reports.page").mkdir(exist_ok=True)
        done = self.server.run(self.template, *arguments, epoch=EPOCH - days * DAY)
        assert done.status in (0, 4), done

    def _publish_then_change(self) -> None:
        """Leaves a site of two runs, of which one is removed since, and one is new."""
        audit = ("run", "web07,", "-p", "two.yml", "-o", "reports.kept")
        self._run(*audit, days=3)
        self._run(*audit, days=2)
        self._run(*SITE.arguments, days=2)
        self._run("prune", "--keep", "1", "-o", "reports.kept", days=2)
        self._run(*audit, days=1)

    def _kill_after_hosts(self, days: int) -> None:
        """Leaves a run that was killed while it audited."""
        clean = self.server.run(
            self._copy(self.template), *RUN, epoch=EPOCH - days * DAY, logs=True
        )
        journal = [line for line in clean.calls if " write " in line and "hosts.jsonl" in line]
        fault = Fault(at=int(journal[3].split()[0]))
        done = self.server.run(self.template, *RUN, epoch=EPOCH - days * DAY, fault=fault)
        assert done.status == -9, done

    def _copy(self, of: Path) -> Path:
        self._count += 1
        world = self.root / f"w{self._count:05}"
        shutil.copytree(of, world, symlinks=True)
        # `--resume` refuses to continue a run of another folder, `publish` the site of another one.
        for file in (*world.glob("reports*/*/plan.json"), *world.glob(f"reports*/{LIST_FILE}")):
            text = file.read_text()
            file.write_text(text.replace(f'"{of}', f'"{world}'))
        return world

    @contextlib.contextmanager
    def world(self) -> Iterator[Path]:
        """Yields the folder of a new world."""
        world = self._copy(self.template)
        try:
            yield world
        finally:
            shutil.rmtree(world, ignore_errors=True)

    @cache  # noqa: B019 - there is one of these, for as long as the process lives
    def clean(self, job: Job) -> Clean:
        """Returns how a command ends without a fault."""
        with self.world() as world:
            before, begin = tree(world), time.monotonic()
            done = self.server.run(world, *job.arguments, logs=True)
            assert done.status in (0, 4), done
            return Clean(done, before, tree(world), time.monotonic() - begin)

    # ---- after a fault -----------------------------------------------------------------------

    def recover(self, job: Job, world: Path, before: Tree) -> Done:
        """Gives the command again, or finishes what it began, without a fault."""
        known = {path.split("/")[1] for path in before if path.startswith(f"{job.folder}/")}
        new = [name for name in run_names(world / job.folder) if name not in known]
        arguments = job.arguments
        if job.name == "run" and new:
            arguments = ("run", "--resume", f"reports/{new[0]}", "--keep", "2")
        elif job.name == "merge" and new:
            arguments = ("runs", "--latest", new[0], "-o", job.folder)
        return self.server.run(world, *arguments, order=5)


MERGE = Job(
    "merge",
    ("merge", "reports.one/latest", "reports.two/latest", *FORMATS, "-o", "reports.all"),
    "reports.all",
)
REPORT = Job(
    "report",
    ("report", "reports/latest", "--format", "html", "-o", "reports.page/page.html"),
    "reports.page",
)


SITE = Job("site", ("publish", "reports.site", "-o", "reports.kept"), "reports.site")
JOBS = (
    Job("run", (*RUN, "--keep", "2")),
    Job("resume", ("run", "--resume", f"reports/{UNFINISHED}")),
    REPORT,
    Job("prune", ("prune", "--keep", "1", "-o", "reports")),
    MERGE,
    SITE,
    Job("publish", ("runs", "--latest", OLDEST, "-o", "reports")),
)
"""The commands that change a world."""
READERS = (
    Job("runs", ("runs", "-o", "reports")),
    Job("diff", ("diff", f"reports/{OLDEST}", "reports/latest")),
    Job("explain", ("explain", f"reports/{OLDEST}", "web07")),
    Job("report to stdout", ("report", f"reports/{OLDEST}", "--format", "csv")),
)
"""Commands that only read."""


def run_names(output: Path) -> list[str]:
    """Returns the runs of an output folder, the oldest first."""
    return sorted(path.name for path in output.iterdir() if RUN_NAME.fullmatch(path.name))


NOT_COMPARED = {"lock", LIST_FILE, LOCK_FILE}


def tree(world: Path) -> dict[str, bytes]:
    """Returns what is in a world by relative path: the content of a file, the target of a link.

    A lock may stay, with any number in it, and is left out. So is the list of files of a site,
    which has the times of its files.
    """
    found = dict[str, bytes]()
    for folder, folders, files in os.walk(world):
        for name in (*files, *folders):
            path = Path(folder, name)
            key = str(path.relative_to(world))
            if path.is_symlink():
                found[key] = b"-> " + bytes(path.readlink())
            elif path.is_file() and name not in NOT_COMPARED:
                found[key] = path.read_bytes().replace(bytes(world), b"WORLD")
            elif path.is_dir() and name.startswith("."):
                found[key] = b"a folder"
    return found


def mixed(after: Tree, before: Tree, reference: Tree) -> list[str]:
    """Returns the files that are neither as before nor as without the fault.

    Left out is what nobody reads: hidden files, and the journal of a run under way.
    """
    return [
        f"{path} is neither old nor new"
        for path, content in after.items()
        if content not in (before.get(path), reference.get(path))
        and not any(part.startswith(".") for part in path.split("/"))
        and not path.endswith("hosts.jsonl")
    ]


def unreadable(world: Path) -> list[str]:
    """Returns what is wrong with the finished runs of a world, and with its links `latest`."""
    wrong = list[str]()
    for output in world.glob("reports*"):
        latest = output / "latest"
        if latest.is_symlink() and not latest.exists():
            wrong.append(f"{output.name}/latest points to nothing")
        for store in (*output.glob("2*/store.jsonl"), *output.glob("latest/store.jsonl")):
            try:
                read_run(store.parent)
            except FleetauditError as e:
                wrong.append(str(e))
    return wrong


def differences(after: Tree, reference: Tree) -> list[str]:
    """Returns what differs from a world without a fault."""
    texts = {
        "left over": after.keys() - reference.keys(),
        "missing": reference.keys() - after.keys(),
        "different": {p for p in after.keys() & reference.keys() if after[p] != reference[p]},
    }
    return [f"{text}: {', '.join(sorted(paths)[:3])}" for text, paths in texts.items() if paths]


_WRITES = ("write", "fsync", "rename", "mkdir", "unlink", "symlink", "ftruncate", "fchmod")


def is_write(call: str) -> bool:
    """Returns whether a call of the log changes something."""
    return call.split()[1] in _WRITES


def bad_ending(done: Done, allowed: Collection[int], error: int = 0) -> list[str]:
    """Returns what is wrong with how a command ended: its status and its messages."""
    wrong = list[str]()
    if done.status not in allowed:
        wrong.append(f"status {done.status}: {done.err.strip()[-300:]}")
    for text in ("Traceback", "a bug in fleetaudit"):
        if text in done.err + done.out:
            wrong.append(f"{text}: {done.err.strip()[-300:]}")
    if done.status == 73 and error > 0 and not _names_place(done.err, os.strerror(error)):
        wrong.append(f"neither a path nor {os.strerror(error)}: {done.err.strip()}")
    return wrong


def _names_place(message: str, words: str) -> bool:
    return bool(re.search(r"(reports|latest|lock|\d{6}Z)\S*: ", message)) and words in message


SHORT = library.SHORT
