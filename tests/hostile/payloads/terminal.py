"""What commands print, on a real terminal (pty(7)) that pyte interprets: no title, no cursor that
moves up, no colour and no mode that is not fleetaudit's own.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyte

from tests import ROOT

from .scoreboard import Score

WIDTH, HEIGHT = 160, 60
_OWN_COLOURS = re.compile(rb"\x1b\[(?:0|1|1;31|31|32|33|35|36)m")
"""What `fleetaudit.cli.colour` prints, and nothing else."""
COLOUR = "\N{SYMBOL FOR ESCAPE}".encode()
_PROGRESS = re.compile(rb"\x1b\[(?:\?25[lh]|2K|1A|[0-9;]*m)|\r")
"""What rich prints besides for its bar: hide and show the cursor, go up, erase a line, colours."""
_CHILD = """
import json, sys
from fleetaudit.cli import run_command_line
for words in json.load(open(sys.argv[1])):
    print("\\n$ " + words[0], flush=True)
    try:
        run_command_line(words)
    except SystemExit:
        pass
print("\\n$ the end", flush=True)
"""
"""Runs many command lines in one process, so that only the first one costs the imports."""


class Screen(pyte.Screen):
    """A terminal that remembers its orders: everything that it got besides text to show."""

    def __init__(self) -> None:
        super().__init__(WIDTH, HEIGHT)
        self.orders = list[str]()

    def set_title(self, param: str) -> None:
        self.orders.append(f"a title: {param!r}")

    def set_icon_name(self, param: str) -> None:
        self.orders.append(f"the name of an icon: {param!r}")

    def bell(self, *_: Any) -> None:
        self.orders.append("a bell")

    def write_process_input(self, data: str) -> None:
        self.orders.append(f"an answer: {data!r}")

    def report_device_status(self, *mode: Any, **_: Any) -> None:
        self.orders.append(f"a report of the device: {mode}")

    def reset(self) -> None:
        if hasattr(self, "orders"):
            self.orders.append("a reset")
        super().reset()

    def set_mode(self, *modes: Any, **how: Any) -> None:
        if modes != (25,):
            self.orders.append(f"a mode: {modes}")
        super().set_mode(*modes, **how)

    def define_charset(self, code: str, mode: str) -> None:
        self.orders.append(f"a set of characters: {code!r}")


def show(command: Sequence[str | Path], cwd: Path, **environment: str) -> bytes:
    """Returns all that a command writes to a terminal that is its stdout and its stderr."""
    ours, theirs = os.openpty()
    own = {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT), "HOME": str(cwd)}
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("FLEETAUDIT_", "NO_COLOR", "XDG"))
    }
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=kept | own | {"PYTHONPATH": str(ROOT)} | environment,
    )
    os.close(theirs)
    try:
        return b"".join(_read(ours, time.monotonic() + 900))
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def commands(lines: Sequence[Sequence[str]], cwd: Path, **environment: str) -> bytes:
    """Returns what several command lines of fleetaudit write to one terminal."""
    import json

    todo = cwd / "commands.json"
    todo.write_text(json.dumps(lines))
    return show(["-c", _CHILD, todo], cwd, **environment)


def _read(terminal: int, until: float) -> Iterator[bytes]:
    """Yields what is written until everybody who could write has ended."""
    while select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0]:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # EIO: the last writer has closed it
            return
        if not piece:
            return
        yield piece
    raise TimeoutError("the command did not end")


def read(score: Score, data: bytes, *, has_bar: bool = False) -> str:
    """Checks what a terminal got, and returns the text without the colours of fleetaudit."""
    # A colour inside of a payload stays as a sign there, so that the payload is not found.
    plain = _OWN_COLOURS.sub(COLOUR, data.replace(b"\r\n", b"\n"))
    if has_bar:
        plain = _PROGRESS.sub(b"", plain)
    text = plain.decode("utf-8", "replace")
    score.refuse_hidden(text)
    screen = Screen()
    stream = pyte.ByteStream(screen)
    stream.feed(data)
    for order in screen.orders[:5]:
        score.fail(f"the terminal got an order: {order}")
    score.read(text)
    return text
