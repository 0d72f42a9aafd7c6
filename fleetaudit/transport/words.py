"""What a person reads about a way that failed: hostile text made harmless, and the next command to type.

Rules: pure. Whatever a host said goes through `clean` before it is part of a reason. A hint is one shell line, quoted.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from ..model import SshTarget
from . import Output

SAID_MAX = 300
"""Characters of a host's own words that a reason carries."""


def clean(said: bytes | str, limit: int = SAID_MAX) -> str:
    """Returns a host's words as one printable line of at most `limit` characters.

    Blanks are joined; every other character that does not print (escape sequences, bidirectional marks) becomes U+FFFD.
    """
    # Four bytes a character at most, so nothing that could be shown is lost by cutting before decoding.
    text = said[: limit * 8].decode("utf-8", "replace") if isinstance(said, bytes) else said[: limit * 8]
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def quoted(said: bytes | str, before: str = "", limit: int = SAID_MAX) -> str:
    """Returns `before` and the host's words in quotation marks, or "" where it said nothing."""
    line = clean(said, limit)
    return f"{before}“{line}”" if line else ""


def named(host: str, port: int) -> str:
    """Returns the name that known_hosts files use: the host alone on port 22, else [host]:port."""
    return host if port == 22 else f"[{host}]:{port}"


def shell(words: Iterable[str]) -> str:
    """Returns the words as one line for a POSIX shell. A leading ~/ stays, for the shell to expand."""
    return " ".join(f"~/{shlex.quote(w[2:])}" if w.startswith("~/") and w != "~/" else shlex.quote(w) for w in words)


def ssh_line(target: SshTarget, user: str, *options: str) -> str:
    """Returns the `ssh` command that takes the same way to the host, without a prompt."""
    if config := target.ssh_config:  # it says the rest
        return shell(["ssh", "-o", "BatchMode=yes", *config.words, *options, "--", config.name, "true"])
    words = ["ssh", *(("-p", str(target.port)) if target.port != 22 else ()), "-o", "BatchMode=yes"]
    for key in target.private_keys:
        words += ["-i", key]
    if target.private_keys:
        words += ["-o", "IdentitiesOnly=yes"]
    if target.known_hosts:
        words += ["-o", "UserKnownHostsFile=" + " ".join(target.known_hosts)]
    words += options
    # A name that looks like an option must stay a name.
    return shell([*words, *(["--"] if user.startswith("-") else []), f"{user}@{target.address}", "true"])


def ended(output: Output) -> str:
    """Returns how a command ended that gave no useful output: its status, and what it said."""
    how = "without an exit status" if output.exit_status is None else f"with status {output.exit_status}"
    cut = f" after more {output.cut} than is allowed" if output.cut else ""
    return f"the command ended {how}{cut}" + quoted(output.stderr[-2000:] or output.stdout[-2000:], "; it said ")
