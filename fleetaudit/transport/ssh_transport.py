"""A remote host by SSH, with the built-in client (paramiko) or the system's own ssh."""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import SupportsBytes

from fleetaudit.model import SshTarget, Stage

from . import Output
from .base import Execution, SharedState, Transport
from .ssh_command import ssh_command_line
from .stdin_dialogue import StdinDialogue
from .user_command import HandCommands, describe_become, run_as_user


class SshTransport:
    """A remote host. Each client is imported when the first target needs it."""

    boots = False
    is_remote = True

    def run(
        self, target: SshTarget, execution: Execution, stdin: SupportsBytes, shared: SharedState
    ) -> Output:
        """Runs the command on the host, see `Transport`."""
        by_hand = HandCommands(
            shows_output=ssh_command_line(target, target.user, prompts=True),
            on_terminal=partial(_on_terminal, target),
        )
        execute = partial(_execute, target, shared)
        return run_as_user(target.become, execution, stdin, by_hand, execute)

    def is_process(self, target: SshTarget) -> bool:
        """Returns True for the system's ssh, see `Transport`."""
        return target.client == "openssh"

    def preload(self, target: SshTarget) -> None:
        """Imports paramiko, which costs 0.1 s, if the target needs it."""
        if target.client == "paramiko":
            _import_client()

    def describe(self, target: SshTarget) -> str:
        """Returns the target in a few words, see `Transport`."""
        user = f"{target.user}@" if target.user else ""
        port = f" port {target.port}" if target.port_is_explicit or target.port != 22 else ""
        client = f", by the system's {target.program}" if target.client == "openssh" else ""
        return f"ssh {user}{target.address}{port}{client}{describe_become(target.become)}"

    def command_line(self, target: SshTarget, command: str) -> str:
        """Returns the ssh command line that runs `command` on the host."""
        return ssh_command_line(target, target.user, command=command)

    def stages(self, target: SshTarget) -> tuple[Stage, ...]:
        """Returns the stages of a connection, see `Transport`."""
        stages: tuple[Stage, ...] = ("resolve", "connect", "host key", "authenticate")
        return (*stages, "become") if target.become else stages

    def reports_login(self, target: SshTarget) -> bool:
        """Returns True for the built-in client: the log of the system's ssh may lack a stage."""
        return target.client == "paramiko"


TRANSPORT: Transport[SshTarget] = SshTransport()


def _execute(
    target: SshTarget, shared: SharedState, execution: Execution, dialogue: StdinDialogue
) -> Output:
    """Runs one command with the client of the target."""
    if target.client != "openssh":
        return _import_client()(target, execution, dialogue, shared)
    from .openssh import run_openssh

    return run_openssh(target, execution, dialogue, shared)


@functools.cache
def _import_client() -> Callable[[SshTarget, Execution, StdinDialogue, SharedState], Output]:
    """Imports the built-in client, and returns the function that runs a command with it.

    paramiko imports Invoke, and with it asyncio and unittest.mock, for `Match exec` in a
    ssh_config. fleetaudit asks the system's ssh for that; without Invoke the import costs a quarter
    less.
    """
    with _deferred_import("invoke"):
        from .ssh import run_ssh

    return run_ssh


@contextlib.contextmanager
def _deferred_import(name: str) -> Iterator[None]:
    """Makes `import NAME` inside the block load the module when an attribute of it is used.

    So the rest of this process, which may use paramiko as well, notices nothing.
    """
    if name in sys.modules:
        yield
        return
    placeholder = sys.modules[name] = types.ModuleType(name)
    # PEP 562: called for an attribute that a module does not have.
    placeholder.__getattr__ = lambda attribute: getattr(import_module(name), attribute)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del sys.modules[name]


def _on_terminal(target: SshTarget, command: str) -> str:
    """Returns the line that runs a command on a terminal of the host."""
    return ssh_command_line(target, target.user, "-t", command=command, prompts=True)
