"""Which transport a target takes, and as whom it runs. Each is imported when the first target needs
it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fleetaudit.errors import TransportError
from fleetaudit.model import (
    KernelTarget,
    LocalTarget,
    SshTarget,
    Stage,
    Target,
)
from fleetaudit.probe.protocol import SHELL_MARK

from . import (
    Deadline,
    Limits,
    Output,
    StageListener,
    ignore_stage,
)
from .become import BecomeDialogue
from .known_hosts import HostKeys
from .login_limiter import LoginLimiter
from .masking import Masking
from .program_start import ReadyDialogue
from .ssh_command import ssh_command_line
from .ssh_config import SshConfigs, passwd_entry
from .stdin_dialogue import FixedStdin, StdinDialogue

Way = Callable[[str, StdinDialogue, Deadline, Limits], Output]
"""Runs a command, told by a talk, on one target; raises `TransportError`."""


class Transports:
    """All ways to a host, with what they share in one run; `run` may be called from many threads.

    `accept_file` is where host keys go that `accept-new` accepts; without one they are remembered
    by this process only. `ssh_configs` reads other files than the user's and the system's.
    """

    def __init__(
        self, *, accept_file: Path | None = None, ssh_configs: SshConfigs | None = None
    ) -> None:
        self.host_keys = HostKeys(accept_file)
        self.login_limiter = LoginLimiter()
        self.ssh_configs = SshConfigs() if ssh_configs is None else ssh_configs

    def run(
        self,
        target: Target,
        command: str,
        stdin: bytes,
        deadline: Deadline,
        limits: Limits,
        on_stage: StageListener = ignore_stage,
    ) -> Output:
        """Runs `command` on the target with `stdin`, and returns its output; raises
        `TransportError`.

        If `command` prints `wire.READY` when it runs, `stdin` is sent only then. If the target has
        `become`, `command` is run by sudo, doas or su, and a refusal is at the stage "become". No
        password of the target is in the output (except its result line), in a reason, or in a call
        of `on_stage`.
        """
        if isinstance(target, KernelTarget):
            from .kernel import run_kernel

            return run_kernel(target, command, stdin, deadline, limits)
        masking = Masking(target)

        def masked_passed(stage: Stage, what: str) -> None:
            on_stage(stage, masking.text(what))

        try:
            return masking.output(
                self._as_whom(target, command, stdin, deadline, limits, masked_passed)
            )
        except TransportError as e:
            if (masked := masking.error(e)) is e:
                raise
            raise masked from None

    def _as_whom(
        self,
        target: SshTarget | LocalTarget,
        command: str,
        stdin: bytes,
        deadline: Deadline,
        limits: Limits,
        on_stage: StageListener,
    ) -> Output:
        """Runs `command` as the login user, or by sudo, doas or su if the target has `become`."""
        dialogue: ReadyDialogue | BecomeDialogue
        if target.become is None or (
            isinstance(target, LocalTarget) and target.become.user == _own_name()
        ):
            if SHELL_MARK not in command:
                return self._way(target, on_stage)(command, FixedStdin(stdin), deadline, limits)
            dialogue = ReadyDialogue(stdin, deadline, _shown(target), _typed(target, "true"))
        else:
            dialogue = BecomeDialogue(
                target.become, command, stdin, on_stage, partial(_typed, target)
            )
            command = dialogue.command
        try:
            output = self._way(target, on_stage)(command, dialogue, deadline, limits)
        except TransportError as e:
            raise dialogue.blamed(e) from e
        return dialogue.judged(output)

    def _way(self, target: SshTarget | LocalTarget, on_stage: StageListener) -> Way:
        """Returns what runs a command on the target."""
        match target:
            case LocalTarget():
                from .local import run_local

                return partial(run_local, target)
            case SshTarget(client="openssh"):
                from .openssh import run_openssh as run
            case _:
                from .ssh import run_ssh as run  # paramiko costs 0.2 s to import
        return partial(
            run,
            target,
            host_keys=self.host_keys,
            login_limiter=self.login_limiter,
            configs=self.ssh_configs,
            on_stage=on_stage,
        )


def _shown(target: SshTarget | LocalTarget) -> str:
    """Returns the command that shows what a host prints before our command runs."""
    return (
        "/bin/sh -c true"
        if isinstance(target, LocalTarget)
        else ssh_command_line(target, target.user or "", prompts=True)
    )


def _typed(target: SshTarget | LocalTarget, command: str) -> str:
    """Returns the line that a person types to run `command` where the target is, on a terminal."""
    if isinstance(target, LocalTarget):
        return command
    return ssh_command_line(target, target.user or "", "-t", command=command, prompts=True)


def _own_name() -> str:
    """Returns the name of the user that this process acts as, "" where its number has none."""
    own = passwd_entry(os.geteuid())
    return own.pw_name if own else ""
