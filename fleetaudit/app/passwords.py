"""Passwords: asked for on the terminal, or read from a file; never an option's value, and never
waited for for ever.

Rules: no password is typed where it is shown, and none is in a core dump of this process.
"""

from __future__ import annotations

import getpass
import os
import stat
import termios

from fleetaudit.cli import console
from fleetaudit.errors import ConfigError, NothingToDoError, UsageError
from fleetaudit.model import Secret
from fleetaudit.text.files import expand_home
from fleetaudit.text.pipes import read_chunks

LONGEST = 4096
"""Bytes of a password that are read."""
WAIT_S = 60.0
"""How long a pipe may take to deliver one, in seconds: a password manager may have to ask its owner
first.
"""
STANDARD_INPUT = frozenset(("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))
"""Names of standard input, which can be read once."""
PROMPT_OPTIONS = {"--connection-password-file": "-k", "--become-password-file": "-K"}
"""The options that name a file, and those that ask for the same password."""


def prompt_password(
    prompt: str, option: str, instead: str, *, empty: Secret | None = None
) -> Secret:
    """Returns what somebody types on the terminal, `empty` where that is nothing; raises
    `UsageError`.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as e:
        raise UsageError(f"{option} needs a terminal, and there is none:  {instead} FILE") from e
    try:
        text = getpass.getpass(prompt)
    except EOFError:
        text = ""
    except (
        UnicodeDecodeError
    ):  # which has in it what was typed, so it is no cause that a log could show
        raise UsageError(
            f"{option}: what was typed is not valid text in this terminal's encoding"
        ) from None
    except (OSError, termios.error) as e:
        raise UsageError(
            f"{option} needs a terminal, and the terminal was closed:  {instead} FILE"
        ) from e
    if text:
        return Secret(text)
    if empty is None:
        raise UsageError(f"{option}: no password was given")
    return empty


def read_password_file(named: str, option: str) -> Secret:
    """Returns the first line of a file, of a pipe too (/dev/fd/3), "-" for standard input; raises
    `FleetauditError`.
    """
    path = expand_home("/dev/stdin" if named == "-" else named)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _look_at(fd, option, named)
            line = _first_line(fd, option, named)
        finally:
            os.close(fd)
    except FileNotFoundError as e:
        raise NothingToDoError(f"{option} {named}: no such file") from e
    except OSError as e:
        raise ConfigError(
            f"{option} {named}: cannot be read: {(e.strerror or str(e)).lower()}"
        ) from e
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ConfigError(f"{option} {named}: its first line is no UTF-8") from e
    if not text:
        raise ConfigError(f"{option} {named}: its first line is empty")
    return Secret(text)


def _on_the_command_line(option: str) -> str:
    """Returns how an option is typed that may be named as the environment or a configuration has
    it.
    """
    said = option.lower().replace("_", "-")
    return next((typed for typed in PROMPT_OPTIONS if typed.removeprefix("--") in said), option)


def _look_at(fd: int, option: str, named: str) -> None:
    info = os.fstat(fd)
    if os.isatty(fd):
        asks = PROMPT_OPTIONS.get(_on_the_command_line(option), "-k or -K")
        raise UsageError(
            f"{option} {named}: a terminal, which shows what is typed; {asks} asks without"
            " showing it"
        )
    if not stat.S_ISREG(info.st_mode):
        return
    if info.st_mode & 0o111:
        # Ansible would run it; a file that holds the password itself would be looked up as a
        # command.
        typed = _on_the_command_line(option)
        raise ConfigError(
            f"{option} {named}: a program is not run; pipe its output:  {typed} <(PROGRAM)"
        )
    if info.st_mode & stat.S_IROTH:
        console.print_message(
            f"fleetaudit: warning: everybody on this machine can read {named}:  chmod 600 {named}"
        )


def _first_line(fd: int, option: str, named: str) -> bytes:
    """Returns the first line, without its end."""
    data = b""
    try:
        for part in read_chunks(fd, WAIT_S):
            data += part
            if b"\n" in data or len(data) > LONGEST:
                break
    except TimeoutError as e:
        raise ConfigError(f"{option} {named}: {e.strerror}") from e
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    if len(line) > LONGEST:
        raise ConfigError(f"{option} {named}: its first line is too long for a password")
    return line
