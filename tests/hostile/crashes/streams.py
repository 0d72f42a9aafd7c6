"""Closed streams, signals, limits of memory and files, and pipes in the place of files: real
processes from their first instruction on.
"""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fleetaudit.store.names import JOURNAL_FILE
from tests import ROOT
from tests.hostile.table import Case, Seen

from .worlds import OLDEST, UNFINISHED, Worlds

WAIT_S = 240.0
LOCAL = "run local.yml -p two.yml -f 2 -o reports.local"
INVENTORY = "all:\n  hosts:\n" + "".join(
    f"    host{n:02}: {{ansible_connection: local}}\n" for n in range(12)
)
UNREACHABLE = "all:\n  vars: {ansible_port: 9, ansible_host: 127.0.0.1}\n  hosts:\n" + "".join(
    f"    host{n:02}:\n" for n in range(60)
)
COMMANDS = (
    "run localhost, -p two.yml -o reports.local",
    "run localhost, -p two.yml -o reports.local -v",
    "doctor localhost,",
    "doctor localhost, -v",
    "report reports/latest",
    f"diff reports/{OLDEST} reports/latest",
    "runs -o reports",
    "prune --keep 1 -o reports",
    "merge reports.one/latest reports.two/latest -o reports.all",
    "inventory localhost, --list",
    "scenarios",
    "probe",
    "--help",
    "no-such-command",
)
CLOSED = ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/full")
DOCUMENTED = {0, 2, 4, 6, 64, 73}


class _Process:
    """The command in a world, as a user starts it; `before` is what the shell does first."""

    def __init__(self, world: Path, words: str, before: str = "") -> None:
        line = f"{before}\nexec {shlex.quote(sys.executable)} -m fleetaudit {words}"
        self.output = world.with_suffix(".output")
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", line],
                cwd=world,
                env=_environment(world),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def wait(self, seconds: float = WAIT_S) -> tuple[int | None, str]:
        """Returns the exit status, None for a process that had to be killed, and the output."""
        status: int | None = None
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        text = self.output.read_text(errors="replace")
        self.output.unlink()
        return status, text


def _environment(world: Path) -> dict[str, str]:
    """Returns the environment of a command; its log goes to stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLEETAUDIT_", "XDG_"))}
    return kept | {"HOME": str(world), "COLUMNS": "100", "PYTHONPATH": str(ROOT)}


def _problems(status: int | None, text: str, allowed: set[int]) -> list[str]:
    wrong = list[str]()
    if status not in allowed:
        wrong.append(f"status {status}: {text[-300:]}")
    if re.search(r"Traceback|a bug in fleetaudit|NoneType", text):
        wrong.append(f"traceback: {text[-500:]}")
    return wrong


def _seen(name: str, statuses: Counter[object], wrong: list[str]) -> Seen:
    text = " ".join(f"{status}:{count}" for status, count in statuses.items())
    cells = {"command": name, "tried": statuses.total(), "statuses": text}
    return Seen(tuple(wrong[:12]), cells)


def _closed(worlds: Worlds, streams: str, share: int) -> Seen:
    """Runs every command with closed or full streams."""
    statuses, wrong = Counter[object](), list[str]()
    for words in COMMANDS[:: 4 if share > 1 else 1]:
        with worlds.world() as world:
            log = f"export FLEETAUDIT_LOG_PATH={shlex.quote(str(world))}/log"
            status, text = _Process(world, f"{words} {streams}", log).wait()
            if (world / "log").exists():
                text += (world / "log").read_text()
            statuses[status] += 1
            wrong += [f"{words}: {each}" for each in _problems(status, text, DOCUMENTED)]
    return _seen("all", statuses, wrong)


# ---- signals -------------------------------------------------------------------------------------


def _local_world(world: Path) -> None:
    (world / "local.yml").write_text(INVENTORY)


def _has_begun(world: Path) -> bool:
    """Returns whether a run has results of two hosts."""
    journals = world.glob(f"reports.local/*/{JOURNAL_FILE}")
    return any(_count_results(path) >= 2 for path in journals)


def _count_results(journal: Path) -> int:
    """Returns how many results a journal has: 0 if its folder just got another name."""
    try:
        return journal.read_bytes().count(b'\n["host",')
    except FileNotFoundError:
        return 0


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def _is_whole(world: Path) -> bool:
    """Returns whether the run of a world has a report and a store."""
    return bool(
        list(world.glob("reports.local/2*/report.html"))
        and list(world.glob("reports.local/2*/store.jsonl"))
    )


def _signalled(worlds: Worlds, numbers: tuple[int, ...], before: str, allowed: set[int]) -> Seen:
    """Sends signals to a run under way; it must leave a report."""
    with worlds.world() as world:
        _local_world(world)
        run = _Process(world, LOCAL, before)
        _until(lambda: _has_begun(world))
        for number in numbers:
            run.process.send_signal(number)
            time.sleep(0.05)
        status, text = run.wait()
        wrong = _problems(status, text, allowed)
        if not _is_whole(world):
            wrong.append("no report")
    return _seen("run", Counter([status]), wrong)


def _terminal_closes(worlds: Worlds, ignores: bool) -> Seen:
    """Closes the terminal of a run under way; it must leave a report."""
    with worlds.world() as world:
        _local_world(world)
        environment = _environment(world)
        arguments = [sys.executable, "-m", "fleetaudit", *LOCAL.split()]
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(world)
            if ignores:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.execve(sys.executable, arguments, environment)

        def begun() -> bool:
            if select.select([terminal], [], [], 0.02)[0]:
                os.read(terminal, 65536)
            return _has_begun(world)

        _until(begun)
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        # Its summary reaches nobody: with SIGHUP ignored, that is an output that cannot be written.
        wrong = _problems(status, "", {73} if ignores else {129})
        if not _is_whole(world):
            wrong.append("no report")
    return _seen("run", Counter([status]), wrong)


def _reader_gone(worlds: Worlds, share: int) -> Seen:
    """Runs commands whose output nobody reads."""
    statuses, wrong = Counter[object](), list[str]()
    with worlds.world() as world:
        for words in COMMANDS[:: 3 if share > 1 else 1]:
            reading, writing = os.pipe()
            os.close(reading)
            run = subprocess.run(
                [sys.executable, "-m", "fleetaudit", *words.split()],
                cwd=world,
                env=_environment(world),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                timeout=WAIT_S,
            )
            os.close(writing)
            status, text = run.returncode, run.stderr.decode(errors="replace")
            statuses[status] += 1
            wrong += [f"{words}: {each}" for each in _problems(status, text, DOCUMENTED)]
    return _seen("all", statuses, wrong)


# ---- limits --------------------------------------------------------------------------------------


def _little_memory(worlds: Worlds, share: int) -> Seen:
    """Runs with too little address space: it ends by itself, whatever it reports."""
    statuses, wrong = Counter[object](), list[str]()
    for number in range(0, 15, min(share, 5)):
        with worlds.world() as world:
            (world / "few.yml").write_text(UNREACHABLE)
            kilobytes = 46_000 + number * 3000
            run = _Process(world, "run few.yml -p two.yml --retries 0", f"ulimit -v {kilobytes}")
            end = time.monotonic() + WAIT_S / 4
            while run.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            was_asked = run.process.poll() is None
            if was_asked:
                run.process.terminate()
            status, text = run.wait(WAIT_S / 4)
            statuses[f"{status}{' after SIGTERM' if was_asked else ''}"] += 1
            if status is None:
                wrong.append(f"{kilobytes} kB: not ended by SIGTERM: {text[-300:]}")
            elif was_asked:
                wrong.append(f"{kilobytes} kB: no end by itself: {text[-300:]}")
    return _seen("run", statuses, wrong)


def _few_files(worlds: Worlds, share: int) -> Seen:
    """Runs with few file descriptors: a clear message, or what the run always gives."""
    statuses, wrong = Counter[object](), list[str]()
    for most in range(6, 40, 2 * min(share, 5)):
        with worlds.world() as world:
            limits = {resource.RLIMIT_NOFILE: most}
            done = worlds.server.run(
                world, "run", "web[07:12],", "-p", "two.yml", "-o", "reports", limits=limits
            )
            statuses[done.status] += 1
            wrong += [
                f"{most} files: {text}"
                for text in _problems(done.status, done.out + done.err, {4, 65, 66, 73, 78})
            ]
    return _seen("run", statuses, wrong)


# ---- pipes in the place of files -----------------------------------------------------------------


def _pipe(worlds: Worlds, words: str, path: str, allowed: set[int], said: str) -> Seen:
    """Runs a command with a FIFO in the place of a file: it ends within a bound and names it."""
    with worlds.world() as world:
        (world / path).unlink(missing_ok=True)
        os.mkfifo(world / path)
        begin = time.monotonic()
        status, text = _Process(world, words).wait()
        wrong = _problems(status, text, allowed)
        wrong += [] if said in text else [f"no “{said}”: {text[-300:]}"]
        cells = {
            "command": words,
            "tried": 1,
            "statuses": f"{status} {time.monotonic() - begin:.0f}s",
        }
    return Seen(tuple(wrong), cells)


JOURNAL = f"reports/{UNFINISHED}/hosts.jsonl"
PIPES = (
    (f"run --resume reports/{UNFINISHED}", JOURNAL, {65}, "hosts.jsonl: not a regular file"),
    (f"run --resume reports/{UNFINISHED}", f"reports/{UNFINISHED}/plan.json", {65}, "plan.json"),
    ("report reports/latest", "reports/latest/store.jsonl", {65}, "not a regular file"),
    ("run h1, -b --become-password-file fifo", "fifo", {78}, "nothing came of it within 60 s"),
    ("run h1, --connection-password-file fifo", "fifo", {78}, "nothing came of it within 60 s"),
)


def cases(worlds: Worlds, share: int) -> Iterator[Case]:
    """Yields the cases; those that wait a minute only if every moment is tried."""
    for streams in CLOSED[:: 2 if share > 1 else 1]:
        yield Case(f"streams: {streams}", partial(_closed, worlds, streams, share))
    hup = int(signal.SIGHUP)
    stopped = partial(_signalled, worlds)
    yield Case("signals: SIGHUP", partial(stopped, (hup,), "", {129}))
    yield Case("signals: SIGHUP twice", partial(stopped, (hup, hup), "", {129}))
    yield Case("signals: SIGTERM, SIGHUP", partial(stopped, (signal.SIGTERM, hup), "", {143}))
    yield Case("signals: SIGHUP under nohup", partial(stopped, (hup,), "trap '' HUP", {0, 2}))
    yield Case("signals: a terminal closes", partial(_terminal_closes, worlds, ignores=False))
    yield Case("signals: nohup's terminal closes", partial(_terminal_closes, worlds, ignores=True))
    yield Case("signals: nobody reads", partial(_reader_gone, worlds, share))
    yield Case("limits: ulimit -v of 46 to 88 MB", partial(_little_memory, worlds, share))
    yield Case("limits: few files", partial(_few_files, worlds, share))
    for words, path, allowed, said in PIPES if share == 1 else PIPES[:3]:
        run = partial(_pipe, worlds, words, path, allowed, said)
        yield Case(f"pipes: {Path(path).name}, {words.split()[0]} {words.split()[-2]}", run)
