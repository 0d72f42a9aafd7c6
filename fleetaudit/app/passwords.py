"""Reads a password from a file or a pipe: one line, within a time limit.

Rules: no password is typed where it is shown, and no message repeats any part of one.
"""

from __future__ import annotations

import os
import stat

import msgspec

from fleetaudit.errors import ConfigError, NothingToDoError, UsageError
from fleetaudit.model import Secret, core_dumps
from fleetaudit.text.files import expand_home
from fleetaudit.text.pipes import read_chunks

from .reporter import Report, ignore_message

MAX_BYTES = 4096
"""The longest password that is read, in bytes."""
WAIT_S = 60.0
"""How long a pipe may take to deliver a password, in seconds: a password manager may have to ask
its owner first.
"""
STANDARD_INPUT = frozenset(("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))
"""Names of standard input, which can be read once."""
PROMPT_OPTIONS = {"--connection-password-file": "-k", "--become-password-file": "-K"}
"""The options that name a file, and those that prompt for the same password."""


class _Source(msgspec.Struct, frozen=True):
    """The file that an option names, as messages name it."""

    option: str
    named: str

    def __str__(self) -> str:
        return f"{self.option} {self.named}"

    def typed_option(self) -> str:
        """Returns the option to type for one that is named as the environment or a configuration
        has it.
        """
        name = self.option.lower().replace("_", "-")
        options = (option for option in PROMPT_OPTIONS if option.removeprefix("--") in name)
        return next(options, self.option)


def read_password_file(named: str, option: str, report: Report = ignore_message) -> Secret:
    """Returns the first line of a file or a pipe (/dev/fd/3); "-" is standard input.

    `option` names the file in messages; `report` gets a warning about a file that everybody can
    read. Raises `NothingToDoError` if there is no such file, `UsageError` for a terminal, which
    would show what is typed, and `ConfigError` for a program, for a file that cannot be read, for a
    pipe that delivers nothing within `WAIT_S`, and for a line that is empty, not UTF-8 or longer
    than `MAX_BYTES`.
    """
    core_dumps.disable()
    path = expand_home("/dev/stdin" if named == "-" else named)
    source = _Source(option, named)
    try:
        line = _read_line(os.fspath(path), source, report)
    except FileNotFoundError as e:
        raise NothingToDoError(f"{source}: no such file") from e
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise ConfigError(f"{source}: cannot be read: {reason}") from e
    return _decode(line, source)


def _read_line(path: str, source: _Source, report: Report) -> bytes:
    """Returns the first line of a file, after checking that the file may be read."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check_file(fd, source)
        _warn_if_public(fd, source.named, report)
        return _first_line(fd, source)
    finally:
        os.close(fd)


def _decode(line: bytes, source: _Source) -> Secret:
    """Returns the password in a line; raises `ConfigError`."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ConfigError(f"{source}: its first line is not UTF-8") from e
    if not text:
        raise ConfigError(f"{source}: its first line is empty")
    return Secret(text)


def _check_file(fd: int, source: _Source) -> None:
    """Raises an error for a terminal, which would show the password, and for a program."""
    info = os.fstat(fd)
    if os.isatty(fd):
        prompts = PROMPT_OPTIONS.get(source.typed_option(), "-k or -K")
        raise UsageError(
            f"{source}: a terminal, which shows what is typed; {prompts} asks without showing it"
        )
    if stat.S_ISREG(info.st_mode) and info.st_mode & 0o111:
        # Ansible would run it; a file that holds the password itself would be looked up as a
        # command.
        typed = source.typed_option()
        raise ConfigError(f"{source}: a program is not run; pipe its output:  {typed} <(PROGRAM)")


def _warn_if_public(fd: int, named: str, report: Report) -> None:
    """Reports a regular file that everybody on this machine can read."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        report(
            f"fleetaudit: warning: everybody on this machine can read {named}:  chmod 600 {named}"
        )


def _first_line(fd: int, source: _Source) -> bytes:
    """Returns the first line, without its end."""
    data = b""
    try:
        for part in read_chunks(fd, WAIT_S):
            data += part
            if b"\n" in data or len(data) > MAX_BYTES:
                break
    except TimeoutError as e:
        raise ConfigError(f"{source}: {e.strerror}") from e
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    if len(line) > MAX_BYTES:
        raise ConfigError(f"{source}: its first line is too long for a password")
    return line
