"""What a person reads about a way that failed: hostile text made harmless, and the next command to
type.

Rules: pure. Whatever a host said goes through `printable_line` before it is part of a reason. A hint is one
shell line, quoted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import quote_line

from . import Output
from .ssh_options import (
    host_argument,
    o_options,
    quote_value,
    redact_option,
    user_known_hosts_option,
)


def known_hosts_name(host: str, port: int) -> str:
    """Returns the name that known_hosts files use: the host alone on port 22, else [host]:port."""
    return host if port == 22 else f"[{host}]:{port}"


def shell_join(words: Iterable[str]) -> str:
    """Returns the words as one line for a POSIX shell. A leading ~/ stays, for the shell to expand."""
    return " ".join(
        f"~/{shlex.quote(w[2:])}" if w.startswith("~/") and w != "~/" else shlex.quote(w)
        for w in words
    )


def ssh_command_line(
    target: SshTarget, user: str, *options: str, command: str = "true", prompts: bool = False
) -> str:
    """Returns the line that runs `command` by the same way to the host, for one to type who is
    asked with `prompts`.

    Without a user, ssh and its ssh_config say as whom.
    """
    quiet = [] if prompts else o_options("BatchMode=yes")
    if config := target.ssh_config:  # it says the rest
        return shell_join(
            [
                target.program,
                *quiet,
                *config.options,
                *options,
                *host_argument(config.name),
                command,
            ]
        )
    name = f"{user}@{target.address}" if user else target.address
    # A name that looks like an option must stay a name.
    destination = host_argument(name) if name.startswith("-") else [name]
    return shell_join([target.program, *_way(target, quiet), *options, *destination, command])


def _way(target: SshTarget, quiet: Iterable[str]) -> Iterator[str]:
    """Yields the options of `users_options`, in their order, as short as a person types them."""
    yield from map(redact_option, target.arguments)
    if target.port != 22 or target.port_is_explicit:
        yield from ("-p", str(target.port))
    yield from quiet
    for key in target.private_keys:
        # Of -i it looks for the very file, and then expands its % all the same.
        yield from ("-i", key) if "%" not in key else o_options(f"IdentityFile={quote_value(key)}")
    if target.private_keys:
        yield from o_options("IdentitiesOnly=yes")
    if not target.use_agent:
        yield from o_options("IdentityAgent=none")
    if target.known_hosts:
        yield from user_known_hosts_option(target.known_hosts)
    yield from map(redact_option, target.late_arguments)


def describe_exit(output: Output) -> str:
    """Returns how a command ended that gave no useful output: its status, and what it said."""
    how = (
        "without an exit status"
        if output.exit_status is None
        else f"with status {output.exit_status}"
    )
    cut = f" after more {output.cut} than is allowed" if output.cut else ""
    return f"the command ended {how}{cut}" + quote_line(
        output.stderr[-2000:] or output.stdout[-2000:], "; it said "
    )


_NO_GREETING = re.compile(rb"(?:kex|ssh)_exchange_identification: |banner exchange: ")


def dropped_before_login(said: bytes | bytearray) -> bool:
    """Returns whether the ssh of a jump host printed that its host hung up before the login began."""
    return _NO_GREETING.search(said) is not None


def permissions_too_open(path: str, mode: str) -> str:
    """Returns why a private key is not used that others may read."""
    return f"the private key {path} is not used, as ssh does not: permissions {mode} are too open"
