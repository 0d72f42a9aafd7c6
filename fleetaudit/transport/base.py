"""What a transport is: the protocol that each kind of connection implements, and what they share.

To add a transport: add a Target class to `model`, write one module (or package) with a `TRANSPORT`
that satisfies `Transport`, and add one line to `registry.MODULES`. Nothing else tests for the class
of a target.
"""

from __future__ import annotations

from typing import Protocol, SupportsBytes, TypeVar

import msgspec

from fleetaudit.model import Stage, Target

from . import Deadline, Limits, Output, StageListener, ignore_stage
from .file_cache import FileCache
from .host_keys import HostKeys
from .login_limiter import LoginLimiter
from .ssh_config import SshConfigs

T = TypeVar("T", bound=Target, contravariant=True)


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run on one target, within its bounds. `on_stage` is called as stages pass."""

    command: str
    deadline: Deadline
    limits: Limits
    on_stage: StageListener = ignore_stage


class SharedState(msgspec.Struct, frozen=True, kw_only=True):
    """What the connections of one run share; safe to use from many threads."""

    host_keys: HostKeys = msgspec.field(default_factory=HostKeys)
    login_limiter: LoginLimiter = msgspec.field(default_factory=LoginLimiter)
    ssh_configs: SshConfigs = msgspec.field(default_factory=SshConfigs)
    files: FileCache = msgspec.field(default_factory=FileCache)


class Transport(Protocol[T]):
    """One kind of connection. It has no state of its own."""

    def is_process(self, target: T) -> bool:
        """Returns whether a target takes a process of this machine as long as it is audited.

        That process must be ended; otherwise closing a connection is enough.
        """
        ...

    @property
    def is_remote(self) -> bool:
        """True if the target is another machine, which a worker may reach as well."""
        ...

    @property
    def boots(self) -> bool:
        """True if "connect" boots the target, which then needs a core of this machine."""
        ...

    def run(
        self, target: T, execution: Execution, stdin: SupportsBytes, shared: SharedState
    ) -> Output:
        """Runs the command with `stdin` and returns its output; raises `TransportError`.

        If the command prints `protocol.SHELL_MARK`, `stdin` is sent only after that. With `become`,
        the command runs as that user, and a refusal has the stage "become".
        """
        ...

    def preload(self, target: T) -> None:
        """Imports what is slow to import, before anything is measured."""
        ...

    def describe(self, target: T) -> str:
        """Returns the target in a few words: "ssh root@web1 port 2222, as root by sudo"."""
        ...

    def command_line(self, target: T, command: str) -> str:
        """Returns the line to type that runs `command` there, "" if that is not possible."""
        ...

    def stages(self, target: T) -> tuple[Stage, ...]:
        """Returns the stages that a connection to this target goes through, in order."""
        ...

    def reports_login(self, target: T) -> bool:
        """Returns whether `on_stage` is called for every stage of a login as soon as it passes."""
        ...
