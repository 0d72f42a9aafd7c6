"""Runs a command as the login user, or as a different user by sudo, doas or su."""

from __future__ import annotations

from collections.abc import Callable
from typing import SupportsBytes

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import TransportError
from fleetaudit.model import Become
from fleetaudit.probe.protocol import SHELL_MARK

from . import Output
from .base import Execution
from .become import BecomeDialogue
from .program_start import ReadyDialogue
from .stdin_dialogue import FixedStdin, StdinDialogue

Execute = Callable[[Execution, StdinDialogue], Output]
"""Runs one command, whose standard input is a dialogue; raises `TransportError`."""


class HandCommands(msgspec.Struct, frozen=True, kw_only=True):
    """What a person types where a command failed to start.

    `shows_output` shows what the host prints before our command runs. `on_terminal` returns the
    line that runs a command there, on a terminal.
    """

    shows_output: str
    on_terminal: Callable[[str], str]


def run_as_user(
    become: Become | None,
    execution: Execution,
    stdin: SupportsBytes,
    by_hand: HandCommands,
    execute: Execute,
) -> Output:
    """Returns the output of the command.

    If the command prints `protocol.SHELL_MARK`, `stdin` is sent only after that. Raises
    `TransportError`, with the stage "become" for a refusal.
    """
    dialogue: ReadyDialogue | BecomeDialogue
    if become:
        dialogue = BecomeDialogue(
            become, execution.command, stdin, execution.on_stage, by_hand.on_terminal
        )
        execution = replace(execution, command=dialogue.command)
    elif SHELL_MARK in execution.command:
        terminal = by_hand.on_terminal("true")
        dialogue = ReadyDialogue(stdin, execution.deadline, by_hand.shows_output, terminal)
    else:
        return execute(execution, FixedStdin(bytes(stdin)))
    try:
        output = execute(execution, dialogue)
    except TransportError as e:
        raise dialogue.explain_error(e) from e
    return dialogue.check_output(output)


def describe_become(become: Become | None) -> str:
    """Returns ", as USER by METHOD", "" without `become`."""
    return f", as {become.user} by {become.method}" if become else ""
