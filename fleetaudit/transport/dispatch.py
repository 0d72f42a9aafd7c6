"""Which transport a target takes, and as whom it runs. Each is imported when the first target needs it."""

from __future__ import annotations

import os
import pwd
import shlex
from functools import partial
from pathlib import Path

from ..errors import TransportError
from ..model import KernelTarget, LocalTarget, SshTarget, Target
from . import Deadline, Limits, Output, Passed, unnoticed
from .become import Escalation
from .known_hosts import HostKeys
from .pacing import Pacing
from .ssh_config import SshConfigs
from .talk import Monologue, Talk
from .words import ssh_line


class Transports:
    """All ways to a host, with what they share in one run; `run` may be called from many threads.

    `accept_file` is where host keys go that `accept-new` accepts; without one they are remembered by this process only.
    `ssh_configs` reads other files than the user's and the system's.
    """

    def __init__(self, *, accept_file: Path | None = None, ssh_configs: SshConfigs | None = None) -> None:
        self.host_keys = HostKeys(accept_file)
        self.pacing = Pacing()
        self.ssh_configs = SshConfigs() if ssh_configs is None else ssh_configs

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
        escalation = Escalation(target.become, command, stdin, passed, partial(_typed, target), _on_the_way(target))
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
                    host_keys=self.host_keys, pacing=self.pacing, configs=self.ssh_configs, passed=passed,
                )  # fmt: skip
            case _:
                from .ssh import run_ssh  # paramiko costs 0.2 s to import

                return run_ssh(
                    target, command, talk, deadline, limits,
                    host_keys=self.host_keys, pacing=self.pacing, configs=self.ssh_configs, passed=passed,
                )  # fmt: skip


def _on_the_way(target: SshTarget | LocalTarget) -> float:
    """Returns how many seconds may pass before what was started runs on the host: ssh has yet to connect and log in."""
    return 2 * target.connect_timeout_s if isinstance(target, SshTarget) and target.client == "openssh" else 0.0


def _typed(target: SshTarget | LocalTarget, command: str) -> str:
    """Returns the line that a person types to run `command` where the target is, on a terminal."""
    if isinstance(target, LocalTarget):
        return command
    line = ssh_line(target, target.user or _own_name() or "USER", "-t")
    return f"{line.removesuffix(' true')} {shlex.quote(command)}"


def _own_name() -> str:
    """Returns the name of the user that this process acts as, "" where its number has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
