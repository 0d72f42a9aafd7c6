"""What an unattended run has to say: one screen when something changed, nothing otherwise; and who else is told.

Rules: a command that is told runs without a shell, under a deadline, and its failure is a warning: it never changes
the exit status.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import screen

if TYPE_CHECKING:
    from ..compare import Comparison
    from ..model import Drift

LINES = 24
NOTIFY_S = 30.0
"""How long the command of --notify may take, in seconds."""


def one_screen(comparison: Comparison, drift: Drift | None, report: Path, *, width: int) -> str:
    """Returns what changed and what is wrong, in at most `LINES` lines, the last of which names the report."""
    from ..compare import changes_of
    from ..report.changes import changes_lines
    from ..report.terminal import summary

    changed = changes_lines(changes_of(drift), width, LINES // 2) if drift else []
    lines = [*changed, *summary(comparison, width=width, problems_only=bool(changed)).splitlines()]
    if len(lines) > LINES - 1:
        lines = [*lines[: LINES - 2], f"and {len(lines) - LINES + 2} lines more: see the report"]
    return "\n".join([*lines, f"Report: {report}"]) + "\n"


def command_of(text: str, option: str = "--notify") -> tuple[str, ...]:
    """Returns the words of --notify; raises `UsageError` for a quote that is not closed, or nothing at all."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as e:
        raise UsageError(f"{option} {text!r}: {e}") from e
    if not words:
        raise UsageError(f"{option}: no command")
    return words


def notify(command: Sequence[str], text: str, *, seconds: float = NOTIFY_S) -> None:
    """Runs the command with `text` on its stdin; what goes wrong is told on stderr."""
    name = shlex.join(command)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as e:
        screen.tell(f"fleetaudit: warning: --notify {name}: {getattr(e, 'strerror', None) or e}")
        return
    try:
        _, said = process.communicate(text.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        screen.tell(f"fleetaudit: warning: --notify {name}: did not end within {seconds:g} s, and was ended")
        return
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        screen.tell(
            f"fleetaudit: warning: --notify {name}: status {process.returncode}" + "".join(f": {x}" for x in last)
        )
