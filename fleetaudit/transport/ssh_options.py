"""The options of OpenSSH's `ssh` for a target: to connect, to read ssh_config, and for people to
type. No I/O.

Rules: the one place that knows how the fields of an `SshTarget` become options, for both clients.
ssh takes the first value of each option, so ours go first (no prompt, no terminal, host keys as the
policy says), then the user's in Ansible's order: ssh_args; port, key, user and timeout;
common_args; extra_args; and after all of them ssh_config.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fleetaudit.model import SshConfig, SshTarget

MEMORY_MAX = 1024 * 1024 * 1024
"""Bytes of memory that ssh, and each command that it starts, may use: a file without an end must
not take all of it.
"""

_NOTHING_SET = SshConfig()
_SECRET_OPTION = re.compile(
    r"(?i)\s*((?:-o\s*)?(?:ProxyCommand|SetEnv|LocalCommand|KnownHostsCommand))[\s=]"
)


def config_of(target: SshTarget) -> SshConfig:
    """Returns what ssh_config has for a target, an empty one if it was not read or has nothing."""
    return target.ssh_config or _NOTHING_SET


# -- one argument


def o_options(*options: str) -> list[str]:
    """Returns the options (KEYWORD=VALUE, see ssh_config(5)) as arguments, each after a -o."""
    arguments: list[str] = []
    for option in options:
        arguments += ("-o", option)
    return arguments


def quote_value(text: str) -> str:
    """Returns a value as ssh_config needs it: in quotation marks if it has blanks, its % taken
    literally.
    """
    text = text.replace("%", "%%")
    if not re.search(r"\s", text):
        return text
    return f'"{text}"'


def host_argument(name: str) -> list[str]:
    """Returns the arguments for the host; a name that looks like an option stays a name."""
    return ["--", name]


def redact_option(word: str) -> str:
    """Returns an option as it may be shown: a command of the user's can contain a secret.

    "-oProxyCommand=COMMAND" becomes "-oProxyCommand=HIDDEN"; "Port=22" stays.
    """
    found = _SECRET_OPTION.match(word)
    if not found:
        return word
    return f"{found[1]}=HIDDEN"


# -- options of a target


def quiet_options() -> list[str]:
    """Returns the options that keep ssh from asking and from doing more than one command, and that
    make it log enough.
    """
    return o_options(
        "BatchMode=yes", "RequestTTY=no", "LogLevel=VERBOSE", "RemoteCommand=none",
        "UpdateHostKeys=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "ControlMaster=no",
    )  # fmt: skip


def user_options(target: SshTarget) -> list[str]:
    """Returns the options for address, user and credentials, most important first.

    ssh takes the first value of each option, so that the user's own arguments go before what the
    inventory has.
    """
    arguments = [*target.arguments]
    if _names_port(target):
        arguments += o_options(f"Port={target.port}")
    arguments += o_options(*(f"IdentityFile={quote_value(key)}" for key in target.private_keys))
    arguments += _identity_options(target)
    if target.user:
        arguments += o_options(f"User={quote_value(target.user)}")
    arguments += _agent_options(target)
    arguments += o_options(f"ConnectTimeout={math.ceil(target.connect_timeout_s)}")
    return [*arguments, *target.late_arguments]


def typed_options(target: SshTarget, *quiet: str) -> Iterator[str]:
    """Yields the same options in the same order, as short as a person types them, without secrets.

    `quiet` are further arguments for the place after the port.
    """
    yield from map(redact_option, target.arguments)
    if _names_port(target):
        yield from ("-p", str(target.port))
    yield from quiet
    for key in target.private_keys:
        yield from _typed_key(key)
    yield from _identity_options(target)
    yield from _agent_options(target)
    if target.known_hosts:
        yield from user_known_hosts_option(target.known_hosts)
    yield from map(redact_option, target.late_arguments)


def _typed_key(key: str) -> Sequence[str]:
    """Returns the option for a private key; -i expands a % in its path, although it is a file's."""
    if "%" in key:
        return o_options(f"IdentityFile={quote_value(key)}")
    return ("-i", key)


def _names_port(target: SshTarget) -> bool:
    """Returns whether the port is to be an option."""
    return target.port != 22 or target.port_is_explicit


def _identity_options(target: SshTarget) -> list[str]:
    """Returns the option that offers only the named keys."""
    if not target.private_keys:
        return []
    return o_options("IdentitiesOnly=yes")


def _agent_options(target: SshTarget) -> list[str]:
    """Returns the option that leaves the agent out."""
    if target.use_agent:
        return []
    return o_options("IdentityAgent=none")


def known_hosts_options(target: SshTarget) -> list[str]:
    """Returns the options for the known_hosts files that the target names."""
    if not target.known_hosts:
        return []
    only_these = o_options("GlobalKnownHostsFile=/dev/null")
    return [*user_known_hosts_option(target.known_hosts), *only_these]


def user_known_hosts_option(files: Iterable[str]) -> list[str]:
    """Returns the option for these known_hosts files."""
    return o_options("UserKnownHostsFile=" + " ".join(map(quote_value, files)))


def host_key_options(
    target: SshTarget, users_files: Sequence[str], accept_file: Path | None
) -> list[str]:
    """Returns the options that say which host keys are trusted; no file of the user's is ever
    written.

    `users_files` are the known_hosts files that ssh itself would read. `accept_file` is where
    accept-new writes.
    """
    if target.host_key_policy == "off":
        return o_options(
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
        )
    # Otherwise ssh checks nothing on loopback, where tunnels to other hosts end.
    loopback = "NoHostAuthenticationForLocalhost=no"
    if target.host_key_policy == "strict":
        return o_options(loopback, "StrictHostKeyChecking=yes") + known_hosts_options(target)
    # ssh appends to the first file; those of the user are only read.
    first = (accept_file or Path("/dev/null")).resolve()
    arguments = o_options(loopback, "StrictHostKeyChecking=accept-new")
    arguments += user_known_hosts_option([str(first), *(target.known_hosts or users_files)])
    if target.known_hosts:
        arguments += o_options("GlobalKnownHostsFile=/dev/null")
    return arguments


# -- options of jump hosts


def config_file_option(arguments: Iterable[str]) -> tuple[str, ...]:
    """Returns the `-F FILE` among the arguments, which ssh passes on to its jump hosts; () for
    none.

    -FFILE is returned as two arguments, too. The last of several counts, and the value of an -o is
    never taken for one.
    """
    found: tuple[str, ...] = ()
    rest = iter(arguments)
    for word in rest:
        if word == "-F":
            found = ("-F", next(rest, "none"))
        elif word.startswith("-F"):
            found = ("-F", word[2:])
        elif word == "-o":
            next(rest, "")
    return found


_JUMP = re.compile(r"\[(?P<numeric>[^]]*)\](?::(?P<p>\d+))?|(?P<name>[^:]*)(?::(?P<port>\d+))?")


def split_last_jump(jumps: str, files: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the last host of a ProxyJump and the arguments for `ssh -G` about it; the rest goes
    before it.

    Each host is written [user@]host[:port] or ssh://[user@]host[:port]. `files` are the arguments
    that name the ssh_config. "a,bob@b:2222" gives "b" and -l bob -p 2222 -J a.
    """
    rest, _, last = jumps.rpartition(",")
    user, at, place = last.removeprefix("ssh://").rstrip("/").rpartition("@")
    name, port = _split_port(place)
    arguments = [*files]
    if at:
        arguments += ("-l", user)
    if port:
        arguments += ("-p", port)
    if rest:
        arguments += ("-J", rest)
    return name, arguments


def _split_port(place: str) -> tuple[str, str]:
    """Returns host and port ("" for none) of host[:port]; an IPv6 address is in brackets.

    What does not have this form, such as ::1 without brackets or a port that is no number, is all
    host.
    """
    found = _JUMP.fullmatch(place)
    if not found:
        return place, ""
    groups = found.groupdict(default="")
    return groups["numeric"] or groups["name"], groups["p"] or groups["port"]


# -- the environment


def ssh_environment() -> dict[str, str]:
    """Returns the environment without what would ask a person (ssh(1), ENVIRONMENT)."""
    environment = dict(os.environ, SSH_ASKPASS_REQUIRE="never")
    environment.pop("SSH_ASKPASS", None)
    environment.pop("DISPLAY", None)
    return environment
