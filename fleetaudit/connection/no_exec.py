"""Refuses hosts that would make this machine start a program, for inventories from elsewhere. No
I/O.

Rules: with --no-exec nothing that an inventory or ansible.cfg has starts a program here. This
machine is audited only where the command line names it. What ssh_config names is refused when it is
read (transport/ssh/hops.py), and an inventory that is a program before it is run
(inventory/sources.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fleetaudit.inventory.host_list import HOST_LIST_ORIGIN
from fleetaudit.model import Become, Interpreter, LocalTarget

from .ssh_arguments import (
    first_openssh_only_argument,
    first_program_argument,
    first_trust_argument,
)
from .variables import CannotReachError, Variables

_CONNECTION = "ansible_connection"
_TYPED = frozenset({str(HOST_LIST_ORIGIN), "-e"})
"""The origins of variables that the command line sets."""
_ENVIRONMENT = re.compile(r"\$[{A-Za-z_]")
_TRUST = "leave out --no-exec, if you trust whoever wrote this"
_KEYS = "leave it out, and name a file that you trust:  --known-hosts FILE"
_LIST = "to audit this machine, name it on the command line:  fleetaudit run localhost,"


def refuse_local(variables: Variables, target: LocalTarget) -> None:
    """Raises `CannotReachError` if not the command line alone decides what runs on this machine."""
    origin = variables.origin(_CONNECTION)
    if origin not in _TYPED:
        raise _refusal(f"{_CONNECTION} in {origin} makes this machine run the probe", _LIST)
    for program in _programs_of(target.interpreter, target.become):
        raise _refusal(f"{program} would be started on this machine", _TRUST)


def _programs_of(interpreter: Interpreter | None, become: Become | None) -> Iterator[str]:
    """Yields the settings that choose what is started to run the probe."""
    if interpreter and interpreter.value and interpreter.origin not in ("", "-e"):
        yield f"the Python of {interpreter.name} in {interpreter.origin}"
    if become and (become.program or become.flags):
        yield f"the program that ansible_become_exe, or a flag, chooses for {become.method}"


def refuse_kernel(variables: Variables) -> None:
    """Raises `CannotReachError` for a host that is a kernel image, because QEMU starts it."""
    origin = variables.origin(_CONNECTION)
    raise _refusal(f"{_CONNECTION} in {origin} makes this machine start QEMU", _TRUST)


def refuse_arguments(text: str, name: str, origin: str) -> None:
    """Raises `CannotReachError` if arguments for ssh name a program, or a file that may do so, or
    make a host's key trusted: a password is sent only to a host whose key the user trusts.

    `name` and `origin` are the variable or setting and its place.
    """
    if argument := first_program_argument(text):
        raise _refusal(
            f"{argument} in {name} in {origin} names a program, or a file that may", _TRUST
        )
    if argument := first_openssh_only_argument(text):
        raise _refusal(f"{argument} in {name} in {origin} needs the system's ssh", _TRUST)
    if argument := first_trust_argument(text):
        what = f"{argument} in {name} in {origin} decides which host keys are trusted"
        raise CannotReachError(f"{what}, and with --no-exec the inventory does not", _KEYS)


def refuse_environment(text: str, name: str, origin: str) -> None:
    """Raises `CannotReachError` if a text for ssh has a variable of this machine's environment.

    ssh would put its value, which may be a secret, into a path, a name or a reason.
    """
    if _ENVIRONMENT.search(text):
        what = f"{name} in {origin} has a variable of this machine's environment"
        raise CannotReachError(f"{what}, and --no-exec shows none to an inventory", _TRUST)


def refuse_openssh(variables: Variables) -> None:
    """Raises `CannotReachError` for a host that the system's ssh connects to."""
    origin = variables.origin(_CONNECTION)
    raise _refusal(f"{_CONNECTION} in {origin} makes this machine start the system's ssh", _TRUST)


def _refusal(what: str, hint: str) -> CannotReachError:
    """Returns the error about one host."""
    return CannotReachError(f"{what}, and --no-exec allows no program", hint)
