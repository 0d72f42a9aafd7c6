"""Which transport a target takes: one line for each kind of target.

Each module is imported when the first target needs it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, SupportsBytes

from fleetaudit.errors import TransportError
from fleetaudit.model import KernelTarget, LocalTarget, SshTarget, Stage, Target

from . import Deadline, Limits, Output, StageListener, ignore_stage
from .base import Execution, SharedState, Transport
from .host_keys import HostKeys
from .masking import Masking
from .ssh_config import SshConfigs

MODULES: dict[type[Target], str] = {
    SshTarget: "ssh_transport",
    LocalTarget: "local",
    KernelTarget: "kernel",
}
"""The module or package of this folder whose `TRANSPORT` is for targets of this class."""


def transport_of(target: Target) -> Transport[Any]:
    """Returns the transport for this target."""
    return _load(MODULES[type(target)])


@functools.cache
def _load(module: str) -> Transport[Any]:
    """Imports a module of this folder and returns its transport."""
    transport: Transport[Any] = importlib.import_module(f"{__package__}.{module}").TRANSPORT
    return transport


class Transports:
    """All transports, with what their connections share in one run.

    `run` may be called from many threads. `accept_file` is where `accept-new` writes the host keys
    that it accepts; without one, they are remembered by this process only. `ssh_configs` reads
    other files than those of the user and the system.
    """

    def __init__(
        self, *, accept_file: Path | None = None, ssh_configs: SshConfigs | None = None
    ) -> None:
        self.shared = SharedState(
            host_keys=HostKeys(accept_file), ssh_configs=ssh_configs or SshConfigs()
        )

    def preload(self, targets: Iterable[Target]) -> None:
        """Imports what is slow to import for these targets, so that no host's time includes it."""
        for target in targets:
            transport_of(target).preload(target)

    def run(
        self,
        target: Target,
        command: str,
        stdin: SupportsBytes,
        deadline: Deadline,
        limits: Limits,
        on_stage: StageListener = ignore_stage,
    ) -> Output:
        """Runs `command` on the target with `stdin` and returns its output.

        No password of the target is in the output (except its result line), in a reason, or in a
        call of `on_stage`. See `Transport.run` for the rest. Raises `TransportError`.
        """
        masking = Masking(target)

        def masked_stage(stage: Stage, found: str) -> None:
            on_stage(stage, masking.text(found))

        execution = Execution(
            command=command, deadline=deadline, limits=limits, on_stage=masked_stage
        )
        try:
            output = transport_of(target).run(target, execution, stdin, self.shared)
        except TransportError as e:
            if (masked := masking.error(e)) is e:
                raise
            raise masked from None
        return masking.output(output)
