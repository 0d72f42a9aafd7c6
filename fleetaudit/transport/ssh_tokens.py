"""The %-tokens, ~ and ${…} of ssh_config(5), where `ssh -G` prints them as they were written. No
I/O of its own.

Rules: exactly what TOKENS and ENVIRONMENT VARIABLES of ssh_config(5) say; what is not known there
is an error, as it is to ssh. `ssh -G` expands HostName, ControlPath, IdentityAgent and
UserKnownHostsFile itself, and leaves IdentityFile, CertificateFile, ProxyCommand and ProxyJump as
they are.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import socket
from dataclasses import dataclass

from .ssh_config import EffectiveConfig


class UnknownTokenError(ValueError):
    """A token or a variable that cannot be expanded; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the tokens stand for: the name as it was given, where it leads, as whom, by which jump
    hosts.
    """

    name: str
    host: str
    port: int
    user: str
    alias: str = ""
    jumps: str = ""

    @classmethod
    def of(cls, name: str, answer: EffectiveConfig) -> Tokens:
        """Returns the values of the tokens if `ssh -G name` printed this answer."""
        return cls(
            name=name,
            host=answer.one("hostname") or name,
            port=int(answer.one("port") or 22),
            user=answer.one("user"),
            alias=answer.one("hostkeyalias"),
            jumps=answer.one("proxyjump"),
        )

    def path(self, text: str) -> str:
        """Returns the path of a file: ~ and ~user, ${VARIABLE}, and all tokens."""
        return self._expanded(_tilde(text), r"%(.?)|\$\{([^}]*)\}", "CdhijklLnpru")

    def command(self, text: str) -> str:
        """Returns a ProxyCommand or a ProxyJump, which support only a few tokens; the rest is for
        the shell.

        ssh makes a ProxyCommand of a ProxyJump: the tokens of both are those of the target host.
        """
        return self._expanded(text, r"%(.?)", "hknpr")

    def home(self, text: str) -> str:
        """Returns the path of a file where nothing but ~ and ~user is expanded."""
        return _tilde(text)

    def _expanded(self, text: str, pattern: str, known: str) -> str:
        """Returns the text in one pass: what a variable or a name holds is not looked at again."""

        def meaning(match: re.Match[str]) -> str:
            letter = match[1]
            if letter is None:
                return _variable(match[2])
            if letter == "%":
                return "%"
            if not letter or letter not in known:
                raise UnknownTokenError(f"the token %{letter}")
            return self._of(letter)

        return re.sub(pattern, meaning, text, flags=re.DOTALL)

    def _of(self, letter: str) -> str:
        match letter:
            case "C":
                if self.jumps:  # newer versions of ssh hash them too, older ones do not
                    raise UnknownTokenError("the token %C together with a jump host")
                text = f"{socket.gethostname()}{self.host}{self.port}{self.user}"
                return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            case "d":
                return pwd.getpwuid(os.getuid()).pw_dir
            case "h":
                return self.host
            case "i":
                return str(os.getuid())
            case "j":
                return self.jumps
            case "k":
                return self.alias or self.name
            case "l":
                return socket.gethostname()
            case "L":
                return socket.gethostname().partition(".")[0]
            case "n":
                return self.name
            case "p":
                return str(self.port)
            case "r":
                return self.user
            case _:
                return pwd.getpwuid(os.getuid()).pw_name


def _tilde(text: str) -> str:
    """Returns the path with ~ and ~user as the password database has them, whatever $HOME says."""
    if not text.startswith("~"):
        return text
    user, slash, rest = text[1:].partition("/")
    try:
        home = pwd.getpwnam(user).pw_dir if user else pwd.getpwuid(os.getuid()).pw_dir
    except KeyError as e:
        raise UnknownTokenError(f"the home of ~{user}") from e
    return home + slash + rest


def _variable(name: str) -> str:
    if name not in os.environ:
        raise UnknownTokenError(f"the variable ${{{name}}}, which is not set")
    return os.environ[name]
