"""The next command to type after a failure, as one line for a shell. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import quote_line

from . import Output
from .ssh_options import host_argument, o_options, typed_options

_NO_GREETING = re.compile(rb"(?:kex|ssh)_exchange_identification: |banner exchange: ")


def known_hosts_name(host: str, port: int) -> str:
    """Returns the name that known_hosts files use: the host alone on port 22, else [host]:port."""
    if port == 22:
        return host
    return f"[{host}]:{port}"


def shell_join(words: Iterable[str]) -> str:
    """Returns the words as one line for a POSIX shell.

    A leading ~/ stays, for the shell to expand.
    """
    return " ".join(map(_shell_word, words))


def _shell_word(word: str) -> str:
    """Returns one word for a shell: ~/'a b' for "~/a b", and '~/' quoted if nothing follows."""
    if word.startswith("~/") and word != "~/":
        return f"~/{shlex.quote(word[2:])}"
    return shlex.quote(word)


def ssh_command_line(
    target: SshTarget, user: str | None, *options: str, command: str = "true", prompts: bool = False
) -> str:
    """Returns the line that runs `command` on the host, over the same connection options.

    It is quoted for a POSIX shell. `options` are further arguments of ssh(1), before the host. With
    `prompts` ssh may ask the person who types it. Without a user, ssh_config says which one.
    """
    quiet: list[str] = []
    if not prompts:
        quiet = o_options("BatchMode=yes")
    if config := target.ssh_config:  # its options have the rest
        arguments = [*quiet, *config.options, *options, *host_argument(config.name)]
        return shell_join([target.program, *arguments, command])
    destination = _destination(target, user)
    arguments = [*typed_options(target, *quiet), *options, *destination]
    return shell_join([target.program, *arguments, command])


def _destination(target: SshTarget, user: str | None) -> list[str]:
    """Returns the arguments [USER@]HOST; a name that looks like an option stays a name."""
    name = target.address
    if user:
        name = f"{user}@{name}"
    if name.startswith("-"):
        return host_argument(name)
    return [name]


def describe_exit(output: Output) -> str:
    """Returns how a command ended that gave no useful output: its status and what it printed.

    At most the last 2000 bytes of stderr are quoted, or of stdout if stderr is empty.
    """
    how = describe_status(output.exit_status)
    cut = f" after more {output.cut} than is allowed" if output.cut else ""
    printed = output.stderr[-2000:] or output.stdout[-2000:]
    return f"the command ended {how}{cut}" + quote_line(printed, "; it printed ")


def describe_status(exit_status: int | None) -> str:
    """Returns "with status N", or "without an exit status"."""
    if exit_status is None:
        return "without an exit status"
    return f"with status {exit_status}"


def dropped_before_login(printed: bytes | bytearray) -> bool:
    """Returns whether ssh printed that the host hung up before the login.

    `printed` is the stderr of the ssh to a jump host.
    """
    return _NO_GREETING.search(printed) is not None


def permissions_too_open(path: str, mode: str) -> str:
    """Returns why a private key that others may read is not used."""
    return f"the private key {path} is not used, as ssh does not: permissions {mode} are too open"
