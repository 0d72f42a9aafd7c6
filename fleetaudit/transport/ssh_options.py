"""The words that OpenSSH's `ssh` is given for a target, the same to connect and to read ssh_config.
No I/O.

Rules: ssh takes the first value of each option, so ours go first (no prompt, no terminal), then the
user's as Ansible orders them: ssh_args; port, key, user and timeout; common_args; extra_args; and
after all of them ssh_config.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from fleetaudit.model import SshTarget

MEMORY_MAX = 1024 * 1024 * 1024
"""Bytes of memory that ssh, and each command that it starts, may ask for: a file without an end
must not take all.
"""


def quiet_options() -> list[str]:
    """Returns what keeps ssh from asking, from doing more than one command, and from telling too
    little.
    """
    return o_options(
        "BatchMode=yes", "RequestTTY=no", "LogLevel=VERBOSE", "RemoteCommand=none", "UpdateHostKeys=no",
        "ClearAllForwardings=yes", "PermitLocalCommand=no", "ControlMaster=no",
    )  # fmt: skip


def known_hosts_options(target: SshTarget) -> Iterator[str]:
    """Yields the option that names the known_hosts files of the target, where it names some."""
    if target.known_hosts:
        yield from user_known_hosts_option(target.known_hosts)
        yield from o_options("GlobalKnownHostsFile=/dev/null")


def user_known_hosts_option(files: Iterable[str]) -> list[str]:
    """Returns the option that names known_hosts files."""
    return o_options("UserKnownHostsFile=" + " ".join(map(quote_value, files)))


def user_options(target: SshTarget) -> list[str]:
    """Returns the options that say where, as whom and with what, most important first."""
    words = [*target.arguments]
    if target.port != 22 or target.port_is_explicit:
        words += o_options(f"Port={target.port}")
    for key in target.private_keys:
        words += o_options(f"IdentityFile={quote_value(key)}")
    if target.private_keys:
        words += o_options("IdentitiesOnly=yes")
    if target.user:
        words += o_options(f"User={quote_value(target.user)}")
    if not target.use_agent:
        words += o_options("IdentityAgent=none")
    words += o_options(f"ConnectTimeout={math.ceil(target.connect_timeout_s)}")
    return [*words, *target.late_arguments]


def config_file_option(words: Iterable[str]) -> tuple[str, ...]:
    """Returns the `-F FILE` among the words, which ssh hands on to its jump hosts; () where there
    is none.
    """
    found: tuple[str, ...] = ()
    rest = iter(words)
    for word in rest:
        if word == "-F":
            found = ("-F", next(rest, "none"))
        elif word.startswith("-F"):
            found = ("-F", word[2:])
        elif word == "-o":
            next(rest, "")
    return found


def split_last_jump(jumps: str, files: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the last host of a ProxyJump and the words to ask `ssh -G` with about it; the rest
    goes before it.

    Each is written [user@]host[:port] or ssh://[user@]host[:port]. `files` are the words that name
    the ssh_config.
    """
    rest, _, last = jumps.rpartition(",")
    user, at, place = last.removeprefix("ssh://").rstrip("/").rpartition("@")
    found = re.fullmatch(
        r"\[(?P<numeric>[^]]*)\](?::(?P<p>\d+))?|(?P<name>[^:]*)(?::(?P<port>\d+))?", place
    )
    name = (found["numeric"] or found["name"] or "") if found else place
    port = (found["p"] or found["port"]) if found else None
    words = [
        *files,
        *(("-l", user) if at else ()),
        *(("-p", port) if port else ()),
        *(("-J", rest) if rest else ()),
    ]
    return name, words


def host_argument(name: str) -> list[str]:
    """Returns the words that name the host: one that looks like an option must stay a name."""
    return ["--", name]


def redact_option(word: str) -> str:
    """Returns an option as it may be shown: a command of the user's, or what it sends along, can
    carry a secret.
    """
    name = re.match(
        r"(?i)\s*((?:-o\s*)?(?:ProxyCommand|SetEnv|LocalCommand|KnownHostsCommand))[\s=]", word
    )
    return f"{name[1]}=HIDDEN" if name else word


def o_options(*options: str) -> list[str]:
    """Returns the options as words, each after its -o."""
    return [word for option in options for word in ("-o", option)]


def quote_value(text: str) -> str:
    """Returns a value as ssh_config wants it: quoted where it has blanks, its % taken literally."""
    text = text.replace("%", "%%")
    return f'"{text}"' if re.search(r"\s", text) else text


def ssh_environment() -> dict[str, str]:
    """Returns the environment without what would ask a person."""
    kept = {
        name: text for name, text in os.environ.items() if name not in ("SSH_ASKPASS", "DISPLAY")
    }
    return {**kept, "SSH_ASKPASS_REQUIRE": "never"}
