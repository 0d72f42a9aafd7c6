"""Which transport a target takes. Each is imported when the first target needs it."""

from __future__ import annotations

from pathlib import Path

from ..model import KernelTarget, LocalTarget, SshTarget, Target
from . import Deadline, Limits, Output
from .known_hosts import HostKeys
from .pacing import Pacing


class Transports:
    """All ways to a host, with what they share in one run; `run` may be called from many threads.

    `accept_file` is where host keys go that `accept-new` accepts; without one they are remembered by this process only.
    """

    def __init__(self, *, accept_file: Path | None = None) -> None:
        self.host_keys = HostKeys(accept_file)
        self.pacing = Pacing()

    def run(self, target: Target, command: str, stdin: bytes, deadline: Deadline, limits: Limits) -> Output:
        """Runs `command` on the target with `stdin`, and returns its output; raises `TransportError`."""
        match target:
            case SshTarget(client="openssh"):
                from .openssh import run_openssh

                return run_openssh(
                    target, command, stdin, deadline, limits, host_keys=self.host_keys, pacing=self.pacing
                )
            case SshTarget():
                from .ssh import run_ssh  # paramiko costs 0.2 s to import

                return run_ssh(target, command, stdin, deadline, limits, host_keys=self.host_keys, pacing=self.pacing)
            case LocalTarget():
                from .local import run_local

                return run_local(target, command, stdin, deadline, limits)
            case KernelTarget():
                from .kernel import run_kernel

                return run_kernel(target, command, stdin, deadline, limits)
