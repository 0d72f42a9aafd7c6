"""One attack: the files of an input, a command line, and the result that is right."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.table import Case, Seen

COLUMNS = ("where", "status", "message", "seconds", "started")
SECRET = "CANARYc4n4ry"
"""Text in every file whose content must not be shown."""
SHADOW = f"root:$6${SECRET}$8tSCx5{SECRET}:19876:0:99999:7:::\ndaemon:*:19876:0:99999:7:::\n"
OWNED = "owned"
"""The file that an attack makes when it runs a program."""
QUICK = """
- name: A quick one
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
"""
MEMORY, CPU_S, WALL_S = 1 << 30, 20, 120
_EXECVE = re.compile(r'\d+ execve\("([^"]+)", \[(.*?)\], .*= 0')

Special = Callable[[Path], None]
"""Makes what is no regular file at a path."""
Content = str | bytes | Special


def link(target: str) -> Special:
    """Returns what makes a symbolic link."""

    def make(path: Path) -> None:
        path.symlink_to(target)

    return make


def fifo(path: Path) -> None:
    """Makes a pipe that nobody writes to."""
    os.mkfifo(path)


def folder(path: Path) -> None:
    """Makes an empty folder."""
    path.mkdir()


def unix_socket(path: Path) -> None:
    """Makes a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
        one.bind(path.name)


def program(path: Path) -> None:
    """Makes a program that leaves its mark, and prints an inventory."""
    path.write_text(f'#!/bin/sh\ntouch {path.parent}/{OWNED}\necho \'{{"all": ["web"]}}\'\n')
    path.chmod(0o700)


@dataclass(frozen=True)
class Attack:
    """What is attacked (`where`), with which files and command line.

    `status` are the right exit statuses, and `message` is a regular expression of what is printed.
    `started` are the programs that may start: names, "ssh -G" for that call of ssh. `before` is
    what a shell runs before, in a mount namespace of its own; it needs root. `never` is text that
    may be in no output. A command is ended as a hang after `WALL_S` s, or `CPU_S` s of CPU.
    """

    name: str
    where: str
    arguments: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    status: tuple[int, ...] = (65,)
    message: str = ""
    started: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    never: str = SECRET

    def case(self) -> Case:
        """Returns the row of the table."""
        return Case(self.name, self.run)

    def run(self) -> Seen:
        """Runs the command in a new folder."""
        with tempfile.TemporaryDirectory(prefix="inputs-", ignore_cleanup_errors=True) as name:
            return self._run_in(Path(name))

    def _run_in(self, place: Path) -> Seen:
        for name, content in {"quick.yml": QUICK, **self.files}.items():
            _make(place / name, _placed(content, place))
        began = time.monotonic()
        try:
            status, text = self._start(place)
        except subprocess.TimeoutExpired:
            return Seen(("a hang",), {"where": self.where, "seconds": f"> {WALL_S}"})
        started = sorted(set(_started(place / "trace")))
        wrong = [*self._wrong(place, status, text), *_unexpected(started, self.started)]
        cells = {
            "where": self.where,
            "status": status,
            "message": _first_line(text),
            "seconds": f"{time.monotonic() - began:.1f}",
            "started": ", ".join(started) or "-",
        }
        return Seen(tuple(wrong), cells)

    def _start(self, place: Path) -> tuple[int, str]:
        """Returns the exit status, and all that is printed."""
        command = [sys.executable, "-m", "fleetaudit", *self.arguments]
        command = ["strace", "-f", "-qq", "-e", "trace=execve", "-e", "signal=none", *command]
        command[1:1] = ["--seccomp-bpf", "-o", str(place / "trace")]
        if self.before:
            script = f'{self.before}\nexec "$@"'
            command = ["unshare", "--mount", "sh", "-ec", script, "sh", *command]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLEETAUDIT_", "XDG_", "ANSIBLE_"))
        }
        clean = {"HOME": str(place), "COLUMNS": "200", "NO_COLOR": "1"}
        ended = subprocess.run(
            command,
            cwd=place,
            env=kept | clean | dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=WALL_S,
            preexec_fn=_limit,
        )
        return ended.returncode, ended.stdout.decode("utf-8", "surrogateescape")

    def _wrong(self, place: Path, status: int, text: str) -> Iterator[str]:
        """Yields what is not as it must be."""
        if status not in self.status:
            yield f"status {status} instead of {self.status}"
        if not re.search(self.message, text, re.MULTILINE):
            yield f"no {self.message!r} in {text[:300]!r}"
        if "Traceback" in text or "bug in fleetaudit" in text:
            yield f"a bug: {text[-300:]!r}"
        if any(place.rglob(OWNED)):
            yield "a program of the input ran"
        if any(not line.isprintable() for line in text.splitlines()):
            yield f"a control character in {text[:300]!r}"
        written = [text, *(_text_of(path) for path in _written(place))]
        if any(self.never.lower() in each.lower() for each in written):
            yield f"{self.never!r} is shown"


def _placed(content: Content, place: Path) -> Content:
    """Returns a text with the folder of the attack instead of HERE."""
    return content.replace("HERE", str(place)) if isinstance(content, str) else content


def _make(path: Path, content: Content) -> None:
    """Makes one file of an input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str | bytes):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    else:
        content(path)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def _started(trace: Path) -> Iterator[str]:
    """Yields the names of the programs that started, after the command itself."""
    calls = [_EXECVE.match(line) for line in trace.read_text(errors="replace").splitlines()]
    for found in [call for call in calls if call][1:]:
        name = Path(found[1]).name
        yield "ssh -G" if (name, '"-G"' in found[2]) == ("ssh", True) else name


def _unexpected(started: list[str], expected: frozenset[str]) -> Iterator[str]:
    for name in started:
        if name not in expected:
            yield f"{name} was started"


def _written(place: Path) -> Iterator[Path]:
    """Yields the files of the run folder."""
    for path in (place / "reports").rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def _text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _first_line(text: str) -> str:
    """Returns the first line that is a message of the command, in a cell of the table."""
    lines = text.splitlines() or [""]
    about = [line for line in lines if line.startswith("fleetaudit:")] or lines
    return about[0].replace(" | ", " / ")[:110]


def missing_programs() -> list[str]:
    """Returns which programs that the table needs are not there."""
    return [name for name in ("strace", "ssh", "unshare") if not shutil.which(name)]
