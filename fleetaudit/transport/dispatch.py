"""Which transport a target takes, and as whom it runs. Each is imported when the first target needs it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ..errors import TransportError
from ..model import KernelTarget, LocalTarget, SshTarget, Target
from . import Deadline, Limits, Output, Passed, unnoticed
from .become import Escalation
from .known_hosts import HostKeys
from .pacing import Pacing
from .talk import Monologue, Talk


class Transports:
    """All ways to a host, with what they share in one run; `run` may be called from many threads.

    `accept_file` is where host keys go that `accept-new` accepts; without one they are remembered by this process only.
    """

    def __init__(self, *, accept_file: Path | None = None) -> None:
        self.host_keys = HostKeys(accept_file)
        self.pacing = Pacing()

    def run(
        self,
        target: Target,
        command: str,
        stdin: bytes,
        deadline: Deadline,
        limits: Limits,
        passed: Passed = unnoticed,
    ) -> Output:
        """Runs `command` on the target with `stdin`, and returns its output; raises `TransportError`.

        Where the target says as whom, `command` is run by sudo or doas, and a refusal is of the stage "become".
        """
        if isinstance(target, KernelTarget):
            from .kernel import run_kernel

            return run_kernel(target, command, stdin, deadline, limits)
        if target.become is None or (isinstance(target, LocalTarget) and target.become.user == _own_name()):
            return self._run(target, command, Monologue(stdin), deadline, limits, passed)
        escalation = Escalation(target.become, command, stdin, passed)
        try:
            output = self._run(target, escalation.command, escalation, deadline, limits, passed)
        except TransportError as e:
            raise escalation.blamed(e) from e
        return escalation.judged(output)

    def _run(
        self,
        target: SshTarget | LocalTarget,
        command: str,
        talk: Talk,
        deadline: Deadline,
        limits: Limits,
        passed: Passed,
    ) -> Output:
        match target:
            case LocalTarget():
                from .local import run_local

                return run_local(target, command, talk, deadline, limits)
            case SshTarget(client="openssh"):
                from .openssh import run_openssh

                return run_openssh(
                    target, command, talk, deadline, limits,
                    host_keys=self.host_keys, pacing=self.pacing, passed=passed,
                )  # fmt: skip
            case _:
                from .ssh import run_ssh  # paramiko costs 0.2 s to import

                return run_ssh(
                    target, command, talk, deadline, limits,
                    host_keys=self.host_keys, pacing=self.pacing, passed=passed,
                )  # fmt: skip


def _own_name() -> str:
    """Returns the name of the user that this process acts as, "" where its number has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
