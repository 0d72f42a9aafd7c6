"""What an unattended run has to say: one screen when something changed, nothing otherwise; and who
else is told.

Rules: a command that is told runs without a shell, under a deadline, and its failure is a warning:
it never changes the exit status.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fleetaudit.cli import console
from fleetaudit.errors import UsageError

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.model import Drift, RunInfo

LINES = 24
NOTIFY_S = 30.0
"""How long the command of --notify may take, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The run that a message reports, its exit status, and its report as an absolute path or a URL.

    `controller` is the name of the machine that ran it; names of inventories are relative to
    `folder`.
    """

    run: RunInfo
    status: int
    controller: str
    folder: Path
    report: str

    def head(self, width: int) -> list[str]:
        """Returns the first lines of a message: the controller, the exit status, the inventory and
        the run.
        """
        from fleetaudit.report.text_lines import wrap
        from fleetaudit.text.sanitize import terminal_line

        limit = f", limit {terminal_line(self.run.limit)}" if self.run.limit else ""
        inventory = terminal_line(", ".join(self.run.inventory))
        ended = (
            f"fleetaudit on {terminal_line(self.controller)}: status {self.status},"
            f" {describe_status(self.status)}"
        )
        what = (
            f"Inventory {inventory}{limit} in {terminal_line(str(self.folder))}; run {self.run.id}"
        )
        return wrap([ended, what], width)

    def environment(self) -> dict[str, str]:
        """Returns the variables for the command of --notify."""
        return {
            "FLEETAUDIT_RUN": self.run.id,
            "FLEETAUDIT_STATUS": str(self.status),
            "FLEETAUDIT_STATUS_WORDS": describe_status(self.status),
            "FLEETAUDIT_REPORT": self.report,
            "FLEETAUDIT_INVENTORY": " ".join(self.run.inventory),
            "FLEETAUDIT_LIMIT": self.run.limit or "",
            "FLEETAUDIT_JOB": self.run.job,
            "FLEETAUDIT_CONTROLLER": self.controller,
        }


def describe_status(status: int) -> str:
    """Returns an exit status of a run in words."""
    if status > 128:
        return "interrupted"
    if status == 1:
        return "a bug in fleetaudit"
    bits = {2: "expectations not met", 4: "some host not audited", 8: "changed since the baseline"}
    return ", ".join(words for bit, words in bits.items() if status & bit) or "all well"


def report_address(report: Path, base: str | None) -> str:
    """Returns the address of a report: below the URL of the output folder, else its absolute path."""
    if base is None:
        return str(report.absolute())
    return "/".join((base.rstrip("/"), quote(report.parent.name), quote(report.name)))


def parse_report_url(text: str, option: str = "--report-url") -> str:
    """Returns the base of --report-url; raises `UsageError` if it is not a URL that can be printed."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[\x21-\x7e]+", text):
        raise UsageError(
            f"{option} {text!r}: not a URL; expected one such as https://ops.example.org/fleet"
        )
    return text


def change_summary(
    comparison: Comparison, drift: Drift | None, about: Notification, *, width: int
) -> str:
    """Returns what changed and what is wrong, in at most `LINES` lines, the last of which names the
    report.
    """
    from fleetaudit.analysis.compare import summarize_changes
    from fleetaudit.report.changes import changes_lines
    from fleetaudit.report.terminal import summary

    head = about.head(width)
    changed = [*changes_lines(summarize_changes(drift), width, LINES // 2), ""] if drift else []
    rest = summary(comparison, width=width, problems_only=bool(changed), changes=False)
    lines = [*head, "", *changed, *rest.splitlines()]
    if len(lines) > LINES - 1:
        lines = [*lines[: LINES - 2], f"and {len(lines) - LINES + 2} lines more: see the report"]
    return "\n".join([*lines, f"Report: {about.report}"]) + "\n"


def parse_notify_command(text: str, option: str = "--notify") -> tuple[str, ...]:
    """Returns the words of --notify; raises `UsageError` for a quote that is not closed, or nothing
    at all.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as e:
        raise UsageError(f"{option} {text!r}: {e}") from e
    if not words:
        raise UsageError(f"{option}: no command")
    return words


def run_notify_command(
    command: Sequence[str],
    text: str,
    environment: Mapping[str, str] | None = None,
    *,
    seconds: float = NOTIFY_S,
) -> None:
    """Runs the command with `text` on its stdin and more variables in its environment; problems go
    to stderr.
    """
    name = shlex.join(command)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, ValueError) as e:
        console.print_message(
            f"fleetaudit: warning: --notify {name}: {getattr(e, 'strerror', None) or e}"
        )
        return
    try:
        _, said = process.communicate(text.encode(errors="replace"), timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        console.print_message(
            f"fleetaudit: warning: --notify {name}: did not end within {seconds:g} s, and was ended"
        )
        return
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        console.print_message(
            f"fleetaudit: warning: --notify {name}: status {process.returncode}"
            + "".join(f": {x}" for x in last)
        )
