"""What ssh_config(5) says about a host, in OpenSSH's own reading: `ssh -G`. And whether it says
anything at all.

Rules: nothing of the format is read here but its keywords, to know whether the 8 ms of an `ssh -G`
a host are needed. Wherever a file says more than a few harmless words, or cannot be understood, ssh
is asked. It never asks a person and never outlives its deadline; nothing is written.
"""

from __future__ import annotations

import glob
import logging
import os
import pwd
import re
import shlex
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetaudit.errors import TransportError
from fleetaudit.text.files import UnsuitableFileError, read_file
from fleetaudit.text.sanitize import quote_line

from . import Deadline, Limits
from .child import run_child
from .file_reader import shared_reader
from .ssh_command import shell_join
from .ssh_options import (
    MEMORY_MAX,
    host_argument,
    o_options,
    redact_option,
    ssh_environment,
)
from .stdin_dialogue import FixedStdin

log = logging.getLogger(__name__)

SYSTEM_CONFIG = "/etc/ssh/ssh_config"
_LIMITS = Limits(stdout=1024 * 1024)
_FILE_MAX = 16 * 1024 * 1024
_DEPTH = 16  # of Includes: OpenSSH's own bound

# What changes neither where, as whom, nor how safely one command is run. Logins by GSSAPI and by
# hosts are here since the built-in client has neither, and Debian's own ssh_config names one;
# master connections are the other client's.
IGNORED_KEYWORDS = frozenset(
    [
        "addkeystoagent",
        "batchmode",
        "channeltimeout",
        "clearallforwardings",
        "compression",
        "connectionattempts",
        "controlmaster",
        "controlpath",
        "controlpersist",
        "dynamicforward",
        "enableescapecommandline",
        "enablesshkeysign",
        "escapechar",
        "exitonforwardfailure",
        "fingerprinthash",
        "forwardagent",
        "forwardx11",
        "forwardx11timeout",
        "forwardx11trusted",
        "gatewayports",
        "gssapiauthentication",
        "gssapiclientidentity",
        "gssapidelegatecredentials",
        "gssapikeyexchange",
        "gssapikexalgorithms",
        "gssapirenewalforcesrekey",
        "gssapiserveridentity",
        "gssapitrustdns",
        "hashknownhosts",
        "hostbasedacceptedalgorithms",
        "hostbasedauthentication",
        "ignoreunknown",
        "ipqos",
        "kbdinteractivedevices",
        "localcommand",
        "localforward",
        "loglevel",
        "logverbose",
        "nohostauthenticationforlocalhost",
        "obscurekeystroketiming",
        "permitlocalcommand",
        "permitremoteopen",
        "rekeylimit",
        "remotecommand",
        "remoteforward",
        "requesttty",
        "sendenv",
        "serveralivecountmax",
        "streamlocalbindmask",
        "streamlocalbindunlink",
        "syslogfacility",
        "tag",
        "tcpkeepalive",
        "tunnel",
        "tunneldevice",
        "updatehostkeys",
        "visualhostkey",
        "xauthlocation",
    ]
)
# CanonicalizeFallbackLocal is no, and no domain has the name.
_NO_CANONICAL_NAME = re.compile(r"Could not resolve host \"")
_SAYS_NOTHING = IGNORED_KEYWORDS | {"host", "match"}


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """What `ssh -G` printed: keywords in lower case, each with its values in order."""

    values: dict[str, tuple[str, ...]]

    def all(self, keyword: str) -> tuple[str, ...]:
        """Returns the values of a keyword, () where it has none."""
        return self.values.get(keyword, ())

    def one(self, keyword: str) -> str:
        """Returns the value of a keyword, "" where it has none or is "none"."""
        value = next(iter(self.all(keyword)), "")
        return "" if value.lower() == "none" else value

    def paths(self, *keywords: str) -> tuple[str, ...]:
        """Returns the files of keywords whose values name several, which ssh prints without their
        quotation marks.
        """
        values = [
            value
            for keyword in keywords
            for value in self.all(keyword)
            if value.lower() not in ("", "none")
        ]
        return tuple(path for value in values for path in re.split(r"\s+(?=[/~])", value))


class SshConfigs:
    """The ssh_config of one run; safe to use from many threads. `files` are those that ssh reads
    unless told others.
    """

    def __init__(self, files: Sequence[str] | None = None) -> None:
        self._files = (*_users(), SYSTEM_CONFIG) if files is None else tuple(files)
        self._lock = threading.Lock()
        self._speaks: bool | None = None
        self._kept: dict[tuple[str, ...], EffectiveConfig] = {}
        self._noted = set[str]()

    def speak(self, deadline: Deadline) -> bool:
        """Returns whether the files have anything that may matter; they are read once. Raises
        `TransportError`.
        """
        if self._speaks is None:
            try:
                self._speaks = shared_reader.get(
                    ("ssh_config", self._files), self._any_speaks, deadline
                )
            except TimeoutError as e:
                hint = shell_join(["ls", "-lL", *self._files])
                reason = f"ssh_config cannot be read: {e.strerror}"
                raise TransportError(
                    "connect", reason, hint=hint, kind="ssh_config not usable"
                ) from e
        return self._speaks

    def _any_speaks(self) -> bool:
        return any(has_relevant_options(path) for path in self._files)

    def ask(
        self, program: str, words: Sequence[str], name: str, deadline: Deadline
    ) -> EffectiveConfig:
        """Returns what ssh makes of the options `words` and of ssh_config for the host `name`.

        Raises `TransportError` (stage "connect") where there is no ssh, where it finds a mistake,
        or takes too long.
        """
        # With a command, for without one ssh refuses a file that says ForkAfterAuthentication.
        argv = [
            program,
            "-G",
            *o_options("BatchMode=yes", "RemoteCommand=none"),
            *words,
            *host_argument(name),
            "true",
        ]
        hint = shell_join(redact_option(word) for word in argv)
        try:
            ended = run_child(
                argv,
                FixedStdin(b""),
                deadline,
                _LIMITS,
                environment=ssh_environment(),
                memory=MEMORY_MAX,
            )
        except (OSError, ValueError) as e:
            why = (
                "there is no ssh to read it"
                if isinstance(e, FileNotFoundError)
                else f"ssh cannot be started: {e}"
            )
            reason = f"ssh_config or arguments for ssh say how hosts are reached, and {why}"
            raise TransportError(
                "connect",
                reason,
                hint="sudo apt-get install openssh-client",
                kind="program not installed",
            ) from e
        if not ended.in_time:
            reason = (
                "ssh_config was not read in time (a Match exec, or a name server, that does not"
                " answer?)"
            )
            raise TransportError("connect", reason, hint=hint, kind="timed out")
        if ended.output.exit_status:
            problem = _problem(ended.output.stderr)
            said = quote_line(problem, ": ")
            if _NO_CANONICAL_NAME.search(problem):
                reason = (
                    f"the name {name!r} has no address in the domains of CanonicalDomains{said}"
                )
                raise TransportError("resolve", reason, hint=hint, kind="name not found")
            raise TransportError(
                "connect",
                f"ssh cannot parse ssh_config for this host{said}",
                hint=hint,
                kind="ssh_config not usable",
            )
        return _parsed(ended.output.stdout.decode("utf-8", "replace"))

    def ask_once(
        self, program: str, words: Sequence[str], name: str, deadline: Deadline
    ) -> EffectiveConfig:
        """Returns the same as `ask`, which is asked once a run: for what many hosts share."""
        key = (program, *words, name)
        if key not in self._kept:
            self._kept[key] = self.ask(program, words, name, deadline)
        return self._kept[key]

    def note(self, words: Iterable[str]) -> None:
        """Tells people, once a run each, what ssh_config says and the built-in client does not
        honour.
        """
        with self._lock:
            new = sorted(set(words) - self._noted)
            self._noted.update(new)
        if new:
            told = ", ".join(new)
            log.info(
                "ssh_config: not honoured by the built-in client: %s; --transport openssh honours"
                " them",
                told,
            )


def has_relevant_options(path: str, depth: int = 0) -> bool:
    """Tells whether a file, or one that it includes, has a keyword that may matter; one that is
    missing says nothing.

    A file that cannot be read or understood may say anything. Raises `TransportError` for one that
    ssh itself would read for ever.
    """
    try:
        text = read_file(Path(path), _FILE_MAX).decode("utf-8", "replace")
    except FileNotFoundError:
        return False
    except UnsuitableFileError as e:
        hint = shell_join(["ls", "-lL", path])
        reason = f"{path} cannot be read: {e.strerror}"
        raise TransportError("connect", reason, hint=hint, kind="ssh_config not usable") from e
    except OSError:
        return True
    for line in text.split("\n"):
        keyword, _, rest = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
        keyword = keyword.lower()
        if keyword == "include":
            if depth >= _DEPTH or any(
                has_relevant_options(found, depth + 1) for found in _included(path, rest)
            ):
                return True
        elif keyword and not keyword.startswith("#") and keyword not in _SAYS_NOTHING:
            return True
    return False


def _included(path: str, patterns: str) -> Iterator[str]:
    try:
        words = shlex.split(patterns, comments=True)
    except ValueError:
        words = [patterns]
    for word in words:
        if "${" in word or "%" in word:
            # which one cannot be told here: a folder cannot be read as a file, so ssh is asked
            yield "/"
        elif word.startswith("~/"):
            yield from glob.glob(_home() + word[1:])  # noqa: PTH207 — the pattern is absolute
        else:
            beside = (
                Path(SYSTEM_CONFIG).parent if path.startswith("/etc/") else Path(_home()) / ".ssh"
            )
            yield from glob.glob(str(beside / word))  # noqa: PTH207


def _parsed(text: str) -> EffectiveConfig:
    values: dict[str, tuple[str, ...]] = {}
    for line in filter(None, text.split("\n")):
        keyword, _, value = line.partition(" ")
        keyword = keyword.lower()
        values[keyword] = (*values.get(keyword, ()), value)
    return EffectiveConfig(values)


def _problem(stderr: bytes) -> str:
    lines = [line for line in stderr.decode("utf-8", "replace").split("\n") if line.strip()]
    telling = [
        line for line in lines if not line.startswith(("Pseudo-terminal", "Warning: Identity file"))
    ]
    return " ".join(telling[-3:])


def _users() -> Iterator[str]:
    if home := _home():
        yield f"{home}/.ssh/config"


def _home() -> str:
    """Returns the home of the password database, where ssh looks whatever $HOME says; "" where
    there is none.
    """
    own = passwd_entry(os.getuid())
    return own.pw_dir if own else ""


def passwd_entry(number: int) -> pwd.struct_passwd | None:
    """Returns what the password database says of a user, None where the number has no name."""
    try:
        return pwd.getpwuid(number)
    except KeyError:
        return None
