"""This machine, without SSH: the command in a process group of its own, under a deadline."""

from __future__ import annotations

import os
from typing import SupportsBytes

from fleetaudit.errors import TransportError
from fleetaudit.model import LocalTarget, Stage
from fleetaudit.text.sanitize import quote_line

from . import Output, os_error_text
from .base import Execution, SharedState, Transport
from .child import run_child
from .ssh_command import shell_join
from .ssh_config_files import passwd_entry
from .stdin_dialogue import StdinDialogue
from .user_command import HandCommands, describe_become, run_as_user


class LocalTransport:
    """This machine."""

    boots = False
    is_remote = False

    def run(
        self, target: LocalTarget, execution: Execution, stdin: SupportsBytes, shared: SharedState
    ) -> Output:
        """Runs the command here, see `Transport`."""
        become = target.become
        if become and become.user == _own_name():
            become = None
        by_hand = HandCommands(shows_output="/bin/sh -c true", on_terminal=str)
        return run_as_user(become, execution, stdin, by_hand, run_local)

    def is_process(self, target: LocalTarget) -> bool:
        """Returns True, see `Transport`."""
        return True

    def preload(self, target: LocalTarget) -> None:
        """Does nothing: there is nothing slow to import."""

    def describe(self, target: LocalTarget) -> str:
        """Returns the target in a few words, see `Transport`."""
        return f"this machine{describe_become(target.become)}"

    def command_line(self, target: LocalTarget, command: str) -> str:
        """Returns the command itself."""
        return command

    def stages(self, target: LocalTarget) -> tuple[Stage, ...]:
        """Returns the stages of a connection, see `Transport`."""
        return ("become",) if target.become else ()

    def reports_login(self, target: LocalTarget) -> bool:
        """Returns False: there is no login."""
        return False


TRANSPORT: Transport[LocalTarget] = LocalTransport()


def run_local(execution: Execution, dialogue: StdinDialogue) -> Output:
    """Runs the command with /bin/sh and returns its output; raises `TransportError` ("execute").

    `exit_status` is 128 plus the number of a signal if that ended the shell, as in a shell.
    """
    argv = ["/bin/sh", "-c", execution.command]
    hint = shell_join(argv)
    try:
        result = run_child(argv, dialogue, execution.deadline, execution.limits)
    except OSError as e:
        raise TransportError(
            "execute",
            f"/bin/sh cannot be started: {os_error_text(e)}",
            hint=hint,
            kind="no shell",
            transient=isinstance(e, BlockingIOError),
        ) from e
    if result.in_time:
        return result.output
    raise TransportError(
        "execute",
        f"the command did not end in time, after {len(result.output.stdout)} bytes of output"
        + quote_line(result.output.stderr[-2000:], "; its last output on stderr: "),
        hint=hint,
        kind="timed out",
    )


def _own_name() -> str:
    """Returns the user name of this process, "" if its user number has no name."""
    own = passwd_entry(os.geteuid())
    return own.pw_name if own else ""
