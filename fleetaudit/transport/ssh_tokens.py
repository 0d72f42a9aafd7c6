"""Expands the %-tokens, ~ and ${…} of ssh_config(5) that `ssh -G` prints as they are written. No
I/O of its own.

Rules: exactly as in TOKENS and ENVIRONMENT VARIABLES of ssh_config(5); anything else is an error,
as it is to ssh. `ssh -G` expands HostName, ControlPath, IdentityAgent and UserKnownHostsFile
itself, and leaves IdentityFile, CertificateFile, ProxyCommand and ProxyJump as they are.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import socket

import msgspec

from .ssh_config import EffectiveConfig


class UnknownTokenError(ValueError):
    """A token or a variable that cannot be expanded; the text names it."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the tokens: the name on the command line, the real host name, the user, the
    jump hosts.
    """

    name: str
    host: str
    port: int
    user: str
    alias: str = ""
    jumps: str = ""

    @classmethod
    def of(cls, name: str, config: EffectiveConfig) -> Tokens:
        """Returns the values of the tokens for what `ssh -G name` printed."""
        return cls(
            name=name,
            host=config.one("hostname") or name,
            port=int(config.one("port") or 22),
            user=config.one("user"),
            alias=config.one("hostkeyalias"),
            jumps=config.one("proxyjump"),
        )

    def path(self, text: str) -> str:
        """Returns the path of a file: ~ and ~user, ${VARIABLE}, and all tokens."""
        return self._expanded(_tilde(text), r"%(.?)|\$\{([^}]*)\}", "CdhijklLnpru")

    def command(self, text: str) -> str:
        """Returns a ProxyCommand or a ProxyJump, which have only a few tokens; the shell expands
        the rest.

        ssh makes a ProxyCommand of a ProxyJump: the tokens of both are those of the target host.
        """
        return self._expanded(text, r"%(.?)", "hknpr")

    def home(self, text: str) -> str:
        """Returns the path of a file with only ~ and ~user expanded."""
        return _tilde(text)

    def _expanded(self, text: str, pattern: str, known: str) -> str:
        """Returns the text, expanded in one pass: values are not expanded again.

        %% is a percent sign. Raises `UnknownTokenError` for a letter that is not in `known`, for a
        % at the end, and for a variable that is not set.
        """

        def expand(match: re.Match[str]) -> str:
            letter = match[1]
            if letter is None:
                return _variable(match[2])
            if letter == "%":
                return "%"
            if not letter or letter not in known:
                raise UnknownTokenError(f"the token %{letter}")
            return self._of(letter)

        return re.sub(pattern, expand, text, flags=re.DOTALL)

    def _of(self, letter: str) -> str:
        """Returns the value of a token."""
        match letter:
            case "C":
                return self._connection_hash()
            case "d":
                return pwd.getpwuid(os.getuid()).pw_dir
            case "u":
                return pwd.getpwuid(os.getuid()).pw_name
            case "i":
                return str(os.getuid())
            case "l":
                return socket.gethostname()
            case "L":
                return socket.gethostname().partition(".")[0]
            case _:
                return self._of_host(letter)

    def _of_host(self, letter: str) -> str:
        """Returns the value of a token about the connection."""
        values = {
            "h": self.host,
            "j": self.jumps,
            "k": self.alias or self.name,
            "n": self.name,
            "p": str(self.port),
            "r": self.user,
        }
        return values[letter]

    def _connection_hash(self) -> str:
        """Returns the value of %C: the SHA-1 of this machine's name, host, port and user, in hex.

        Raises `UnknownTokenError` if there is a jump host.
        """
        if self.jumps:  # newer versions of ssh hash them too, older ones do not
            raise UnknownTokenError("the token %C together with a jump host")
        text = f"{socket.gethostname()}{self.host}{self.port}{self.user}"
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _tilde(text: str) -> str:
    """Returns the path with ~ and ~user from the password database, whatever $HOME is.

    Raises `UnknownTokenError` if there is no such user.
    """
    if not text.startswith("~"):
        return text
    user, slash, rest = text[1:].partition("/")
    try:
        home = pwd.getpwnam(user).pw_dir if user else pwd.getpwuid(os.getuid()).pw_dir
    except KeyError as e:
        raise UnknownTokenError(f"the home of ~{user}") from e
    return home + slash + rest


def _variable(name: str) -> str:
    """Returns a variable of the environment; raises `UnknownTokenError`."""
    if name not in os.environ:
        raise UnknownTokenError(f"the variable ${{{name}}}, which is not set")
    return os.environ[name]
