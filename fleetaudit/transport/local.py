"""This machine, without SSH: the command in a process group of its own, under a deadline."""

from __future__ import annotations

from fleetaudit.errors import TransportError
from fleetaudit.model import LocalTarget
from fleetaudit.text.sanitize import quote_line

from . import Deadline, Limits, Output
from .child import run_child
from .ssh_command import shell_join
from .stdin_dialogue import StdinDialogue


def run_local(
    target: LocalTarget, command: str, dialogue: StdinDialogue, deadline: Deadline, limits: Limits
) -> Output:
    """Runs `command` with /bin/sh here, telling it `dialogue`, and returns its output; raises
    `TransportError` ("execute").

    `exit_status` is 128 and the signal's number where a signal ended the shell, as a shell tells
    it.
    """
    hint = shell_join(["/bin/sh", "-c", command])
    try:
        ended = run_child(["/bin/sh", "-c", command], dialogue, deadline, limits)
    except OSError as e:
        reason = f"/bin/sh cannot be started: {(e.strerror or str(e)).lower()}"
        raise TransportError(
            "execute", reason, hint=hint, kind="no shell", transient=isinstance(e, BlockingIOError)
        ) from e
    if not ended.in_time:
        raise TransportError(
            "execute",
            f"the command did not end in time, after {len(ended.output.stdout)} bytes of output"
            + quote_line(ended.output.stderr[-2000:], "; it said "),
            hint=hint,
            kind="timed out",
        )
    return ended.output
