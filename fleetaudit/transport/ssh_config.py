"""Reads what ssh_config(5) has for a host, as OpenSSH itself reads it: by `ssh -G`. And whether the
files contain an option that matters.

Rules: nothing of the format is read here but its keywords, to know whether the 12 ms of an `ssh -G`
are needed. If a file has more than a few harmless keywords, or cannot be understood, ssh is asked:
once for the hosts that `ssh_config_names` knows to be the same to it, and once for each other host.
It never asks a person and never outlives its deadline; nothing is written.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec

from fleetaudit.connection.ssh_keywords import OTHER_LOGINS, TUNING, WITHOUT_EFFECT
from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.log import get_logger
from fleetaudit.text.files import UnsuitableFileError, read_file
from fleetaudit.text.sanitize import quote_line

from . import Deadline, Limits, Output
from .child import run_child
from .file_cache import FileCache
from .file_reader import shared_reader
from .ssh_command import shell_join
from .ssh_config_files import (
    SYSTEM_CONFIG,
    files_of_user,
    first_match_exec,
    hide_content,
    home_of_user,
    included_files,
)
from .ssh_config_names import (
    FILE_MAX,
    MAX_DEPTH,
    ConfigFile,
    NameClasses,
    is_about_names,
    read_classes,
)
from .ssh_options import (
    MEMORY_MAX,
    config_file_option,
    host_argument,
    o_options,
    redact_option,
    ssh_environment,
)
from .stdin_dialogue import FixedStdin

log = get_logger(__name__)

_LIMITS = Limits(stdout=1024 * 1024)

# Keywords that change neither where, nor as whom, nor how safely one command is run. The built-in
# client has no logins by GSSAPI and by hosts, and Debian's own ssh_config names one.
IGNORED_KEYWORDS = TUNING | WITHOUT_EFFECT | OTHER_LOGINS
# CanonicalizeFallbackLocal is no, and no domain has the name.
_NO_CANONICAL_NAME = re.compile(r"Could not resolve host \"")
_IRRELEVANT = IGNORED_KEYWORDS | {"host", "match"}
_NOT_ABOUT_THE_ERROR = ("Pseudo-terminal", "Warning: Identity file")


class EffectiveConfig(msgspec.Struct, frozen=True):
    """What `ssh -G` printed: keywords in lower case, each with its values in order."""

    values: dict[str, tuple[str, ...]]

    def all(self, keyword: str) -> tuple[str, ...]:
        """Returns the values of a keyword, () if it has none."""
        return self.values.get(keyword, ())

    def renamed(self, old: str, new: str) -> EffectiveConfig:
        """Returns the same for a host of another name."""
        values = dict(self.values)
        for keyword in ("host", "hostname"):
            if self.all(keyword) == (old,):
                values[keyword] = (new,)
        return EffectiveConfig(values)

    def one(self, keyword: str) -> str:
        """Returns the value of a keyword, "" if it has none or is "none"."""
        value = next(iter(self.all(keyword)), "")
        if value.lower() == "none":
            return ""
        return value

    def paths(self, *keywords: str) -> tuple[str, ...]:
        """Returns the files of keywords whose value is a list.

        ssh prints the list without quotation marks.
        """
        found: list[str] = []
        for value in chain.from_iterable(map(self.all, keywords)):
            if value.lower() not in ("", "none"):
                found += re.split(r"\s+(?=[/~])", value)
        return tuple(found)


class SshConfigs:
    """The ssh_config of one run; safe to use from many threads. `files` are read instead of the
    user's and the system's.
    """

    def __init__(self, files: Sequence[str] | None = None) -> None:
        self._files = (*files_of_user(), SYSTEM_CONFIG) if files is None else tuple(files)
        self._lock = threading.Lock()
        self._relevant: bool | None = None
        self._answers = FileCache()
        self._failed = set[Hashable]()
        self._checked = set[Hashable]()
        self._logged = set[str]()

    def check_once(self, key: Hashable, check: Callable[[], None]) -> None:
        """Calls `check`, which raises what is wrong, until it once raised nothing for this key."""
        if key not in self._checked:
            check()
            self._checked.add(key)

    def relevant(self, deadline: Deadline) -> bool:
        """Returns whether the files have anything that may matter; they are read once.

        Raises `TransportError` (stage "connect") for a file that ssh itself would read forever, and
        if the files are not read by the deadline.
        """
        if self._relevant is None:
            key = ("ssh_config", self._files)
            try:
                self._relevant = shared_reader.get(key, self._any_relevant, deadline)
            except TimeoutError as e:
                hint = shell_join(["ls", "-lL", *self._files])
                raise _not_usable(f"ssh_config cannot be read: {e.strerror}", hint) from e
        return self._relevant

    def _any_relevant(self) -> bool:
        """Returns whether any of the files has a relevant option."""
        return any(map(has_relevant_options, self._files))

    def refuse_programs(self, arguments: Sequence[str], deadline: Deadline) -> None:
        """Raises `TransportError` (stage "connect") if reading ssh_config may start a program.

        `arguments` are those of ssh, in which -F may name another file.
        """
        named = config_file_option(arguments)[1:]
        files = tuple(path for path in named or self._files if path != "none")
        find = partial(first_match_exec, files)
        try:
            found = self._answers.get(self._key("Match exec", files), find, deadline)
        except (TimeoutError, UnsuitableFileError) as e:
            hint = shell_join(["ls", "-lL", *files])
            raise _not_usable(f"ssh_config cannot be read: {e.strerror}", hint) from e
        if found:
            hint = rerun_hint("-e", "ansible_ssh_common_args='-F none'")
            raise _not_usable(f"{found}, and --no-exec allows no program", hint)

    def query(
        self, program: str, arguments: Sequence[str], name: str, deadline: Deadline
    ) -> EffectiveConfig:
        """Returns what ssh makes of the options `arguments` and of ssh_config for the host `name`.

        Raises `TransportError` (stage "connect") if there is no ssh, if it reports an error, or
        takes too long.
        """
        # With a command, because without one ssh refuses a file with ForkAfterAuthentication.
        batch = o_options("BatchMode=yes", "RemoteCommand=none")
        argv = [program, "-G", *batch, *arguments, *host_argument(name), "true"]
        hint = shell_join(map(redact_option, argv))
        output = _run_ssh_g(argv, hint, deadline)
        if output.exit_status:
            raise _ssh_g_failed(output, name, hint)
        return _parse(output.stdout.decode("utf-8", "replace"))

    def query_once(
        self, program: str, arguments: Sequence[str], name: str, deadline: Deadline
    ) -> EffectiveConfig:
        """Returns the same as `query`, which is called once a run: for what many hosts share."""
        query = partial(self.query, program, arguments, name, deadline)
        try:
            return self._answers.get(self._key(program, *arguments, name), query, deadline)
        except TimeoutError as e:
            hint = shell_join([program, "-G", *map(redact_option, arguments), name])
            raise _not_in_time(hint) from e

    def query_shared(
        self,
        program: str,
        arguments: Sequence[str],
        name: str,
        deadline: Deadline,
        ignored: Collection[str] = (),
    ) -> EffectiveConfig:
        """Returns the same as `query`, which is called once for hosts that ssh cannot tell apart.

        `ignored` are keywords whose value may be that of another host.
        """
        key = self._class_of(arguments, name, deadline, ignored)
        query = partial(self.query, program, arguments, name, deadline)
        if key is None:
            return query()
        key = self._key("class", program, *arguments, key)
        if key in self._failed:
            return query()
        try:
            first, config = self._answers.get(key, lambda: (name, query()), deadline)
        except (TransportError, OSError):
            # Of another host, perhaps: this one's own error names it.
            self._failed.add(key)
            return query()
        return config.renamed(first, name)

    def _key(self, *parts: Hashable) -> Hashable:
        """Returns a key for the answers of this run."""
        return ("ssh -G", id(self), *parts)

    def _class_of(
        self, arguments: Sequence[str], name: str, deadline: Deadline, ignored: Collection[str]
    ) -> Hashable:
        """Returns what ssh can tell this name by, None if it must be asked."""
        if is_about_names(arguments):
            return None
        named = config_file_option(arguments)[1:]
        read = partial(self._read_classes, named)
        try:
            classes = self._answers.get(self._key("names", named), read, deadline)
        except OSError:
            return None
        if classes is None or (classes.control_path and "controlpath" not in ignored):
            return None
        return classes.class_of(name)

    def _read_classes(self, named: Sequence[str]) -> NameClasses | None:
        """Returns what tells names apart in the file of -F, else in the user's and the system's.

        A relative Include of -F's file is in ~/.ssh, as one of the user's own file is.
        """
        folder, home = f"{home_of_user()}/.ssh", home_of_user()
        files = [ConfigFile(path, folder, home) for path in named if path != "none"]
        if named:
            return read_classes(files)
        own = [ConfigFile(path, folder, home) for path in files_of_user()]
        system = ConfigFile(SYSTEM_CONFIG, str(Path(SYSTEM_CONFIG).parent), home)
        return read_classes([*own, system])

    def log_unsupported(self, keywords: Iterable[str]) -> None:
        """Logs, once a run each, what ssh_config has and the built-in client does not support."""
        with self._lock:
            new = sorted(set(keywords) - self._logged)
            self._logged.update(new)
        if new:
            log.info(
                "ssh_config: not supported by the built-in client: %s; --transport openssh supports"
                " them",
                ", ".join(new),
            )


def _run_ssh_g(argv: Sequence[str], hint: str, deadline: Deadline) -> Output:
    """Returns the output of `ssh -G`; raises `TransportError`."""
    try:
        result = run_child(
            argv,
            FixedStdin(b""),
            deadline,
            _LIMITS,
            environment=ssh_environment(),
            memory=MEMORY_MAX,
        )
    except (OSError, ValueError) as e:
        problem = f"ssh cannot be started: {e}"
        if isinstance(e, FileNotFoundError):
            problem = "there is no ssh to read them"
        raise TransportError(
            "connect",
            f"ssh_config or ssh arguments apply to this host, and {problem}",
            hint="sudo apt-get install openssh-client",
            kind="program not installed",
        ) from e
    if not result.in_time:
        raise _not_in_time(hint)
    return result.output


def _not_in_time(hint: str) -> TransportError:
    """Returns the error for an `ssh -G` that takes too long."""
    reason = (
        "ssh_config was not read in time (perhaps a Match exec, or a name server, does not answer)"
    )
    return TransportError("connect", reason, hint=hint, kind="timed out")


def _ssh_g_failed(output: Output, name: str, hint: str) -> TransportError:
    """Returns the error for an `ssh -G` that reports one."""
    problem = hide_content(_error_lines(output.stderr))
    if _NO_CANONICAL_NAME.search(problem):
        reason = f"the name {name!r} has no address in the domains of CanonicalDomains"
        reason += quote_line(problem, ": ")
        return TransportError("resolve", reason, hint=hint, kind="name not found")
    return _not_usable(
        f"ssh cannot parse ssh_config for this host{quote_line(problem, ': ')}", hint
    )


def _error_lines(stderr: bytes) -> str:
    """Returns the last lines of stderr that are about an error, at most three, as one line."""
    lines = filter(str.strip, stderr.decode("utf-8", "replace").split("\n"))
    return " ".join([line for line in lines if not line.startswith(_NOT_ABOUT_THE_ERROR)][-3:])


def _not_usable(reason: str, hint: str) -> TransportError:
    """Returns the error for an ssh_config that cannot be used."""
    return TransportError("connect", reason, hint=hint, kind="ssh_config not usable")


def has_relevant_options(path: str, depth: int = 0) -> bool:
    """Returns whether a file, or one that it includes, has a keyword that may matter.

    A file that is missing has none; one that cannot be read or understood may have any. Raises
    `TransportError` for one that ssh itself would read forever.
    """
    try:
        text = read_file(Path(path), FILE_MAX).decode("utf-8", "replace")
    except FileNotFoundError:
        return False
    except UnsuitableFileError as e:
        hint = shell_join(["ls", "-lL", path])
        raise _not_usable(f"{path} cannot be read: {e.strerror}", hint) from e
    except OSError:
        return True
    return any(_is_relevant(line, path, depth) for line in text.split("\n"))


def _is_relevant(line: str, path: str, depth: int) -> bool:
    """Returns whether one line, or a file that it includes, may matter."""
    keyword, _, rest = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
    keyword = keyword.lower()
    if keyword == "include":
        return _includes_relevant(path, rest, depth)
    if not keyword or keyword.startswith("#"):
        return False
    return keyword not in _IRRELEVANT


def _includes_relevant(path: str, patterns: str, depth: int) -> bool:
    """Returns whether a file of an Include may matter; too deep a one may."""
    if depth >= MAX_DEPTH:
        return True
    return any(has_relevant_options(found, depth + 1) for found in included_files(path, patterns))


def _parse(text: str) -> EffectiveConfig:
    """Parses the output of `ssh -G`: a keyword, a blank and a value on each line.

    Keywords are in lower case. One that is there several times, such as identityfile, has all of
    its values, in order.
    """
    values: dict[str, tuple[str, ...]] = {}
    for line in filter(None, text.split("\n")):
        keyword, _, value = line.partition(" ")
        keyword = keyword.lower()
        values[keyword] = (*values.get(keyword, ()), value)
    return EffectiveConfig(values)
