"""Reports an unattended run: one screen if something changed, and the --notify command.

Rules: the command of --notify runs without a shell, under a deadline, and its failure is a warning:
it never changes the exit status.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.model import Drift, RunInfo

    from .reporter import Report

MAX_LINES = 24
"""The most lines of one screen."""
NOTIFY_S = 30.0
"""How long the command of --notify may take, in seconds."""
_WHOLE_STATUSES = {1: "a bug in fleetaudit", 73: "the output cannot be written"}
_STATUS_BITS = {
    2: "expectations not met",
    4: "some host not audited",
    8: "changed since the baseline",
}


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A run to report: its exit status, and its report as an absolute path or a URL.

    `controller` is the name of the machine that ran it; names of inventories are relative to
    `folder`. `drift` is what changed since the last run, None if there is none.
    """

    run: RunInfo
    status: int
    controller: str
    folder: Path
    report: str
    drift: Drift | None = None

    def heading(self, width: int) -> list[str]:
        """Returns the first lines of a message: the controller, the exit status, the inventory and
        the run, sanitized and wrapped at `width` columns.
        """
        from fleetaudit.report.text_lines import wrap
        from fleetaudit.text.sanitize import terminal_line

        limit = ""
        if self.run.limit:
            limit = f", limit {terminal_line(self.run.limit)}"
        inventory = terminal_line(", ".join(self.run.inventory))
        folder = terminal_line(str(self.folder))
        status = f"status {self.status}, {describe_status(self.status)}"
        return wrap(
            [
                f"fleetaudit on {terminal_line(self.controller)}: {status}",
                f"Inventory {inventory}{limit} in {folder}; run {self.run.id}",
            ],
            width,
        )

    def environment(self) -> dict[str, str]:
        """Returns the variables for the command of --notify (docs/unattended.md).

        They are text of the user and of this machine, never of a host; "" is a limit that is unset.
        """
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
    """Returns the meaning of the exit status of a run: "all well" for 0.

    A status above 128 is that of a signal; 2, 4 and 8 are added (`exit_status.exit_status`).
    """
    if status > 128:
        return "interrupted"
    if status in _WHOLE_STATUSES:
        return _WHOLE_STATUSES[status]
    meanings = (meaning for bit, meaning in _STATUS_BITS.items() if status & bit)
    return ", ".join(meanings) or "all well"


def report_address(report: Path, base: str | None) -> str:
    """Returns the address of a report: below the URL `base`, else its absolute path.

    The URL has the name of the run folder and of the report, percent-encoded (RFC 3986).
    """
    if base is None:
        return str(report.absolute())
    return "/".join((base.rstrip("/"), quote(report.parent.name), quote(report.name)))


def change_summary(comparison: Comparison, notification: Notification, *, width: int) -> str:
    """Returns what changed and what is wrong, in at most `MAX_LINES` lines.

    The last line names the report; the line above it counts the lines that are left out. `width` is
    in columns.
    """
    from fleetaudit.report.terminal import status_lines, summary

    changes = _change_lines(notification.drift, width)
    if changes:
        # The whole text begins with the status, that of the problems does not.
        changes = [*status_lines(comparison, width), "", *changes]
    rest = summary(comparison, width=width, problems_only=bool(changes), changes=False)
    lines = [*notification.heading(width), "", *changes, *rest.splitlines()]
    if len(lines) > MAX_LINES - 1:
        omitted = len(lines) - MAX_LINES + 2
        lines = [*lines[: MAX_LINES - 2], f"and {omitted} more lines: see the report"]
    return "\n".join([*lines, f"Report: {notification.report}"]) + "\n"


def _change_lines(drift: Drift | None, width: int) -> list[str]:
    """Returns what changed since the last run, and an empty line."""
    if drift is None:
        return []
    from fleetaudit.analysis.compare import summarize_changes
    from fleetaudit.report.changes import changes_lines

    return [*changes_lines(summarize_changes(drift), width, MAX_LINES // 2), ""]


def run_notify_command(
    command: Sequence[str],
    text: str,
    report: Report,
    environment: Mapping[str, str] | None = None,
    *,
    seconds: float = NOTIFY_S,
) -> None:
    """Runs the command with `text` on its stdin and `environment` added to its own.

    The command runs in a session of its own, without a shell; after `seconds` it is ended with
    everything that it started. Its output is dropped. `report` gets a warning, with the last line
    of its stderr, if it cannot be started, fails or takes too long; nothing is raised.
    """
    if problem := _run(command, text.encode(errors="replace"), environment or {}, seconds):
        report(f"fleetaudit: warning: --notify {shlex.join(command)}: {problem}")


def _run(
    command: Sequence[str], stdin: bytes, environment: Mapping[str, str], seconds: float
) -> str:
    """Runs a command and returns what went wrong, "" if nothing did."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    except (OSError, ValueError) as e:
        return str(getattr(e, "strerror", None) or e)
    try:
        _, stderr = process.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"did not end within {seconds:g} s, and was ended"
    if not process.returncode:
        return ""
    last_line = stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return ": ".join((f"status {process.returncode}", *last_line))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a command with everything that it started, and closes its streams."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
