"""The files of ssh_config(5): those of the user and the system, those that they include, and which
of them starts a program when ssh reads it.

Rules: ssh starts a program for `Match exec` alone while it reads; what it would start later, it
prints. A line that is not understood here may be one. Reading ssh_config again after this may find
another file: the user's own are trusted not to change meanwhile.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fleetaudit.text.files import read_file

from .ssh_config_names import FILE_MAX, MAX_DEPTH, split_include

SYSTEM_CONFIG = "/etc/ssh/ssh_config"
_QUOTED = re.compile(
    r"((?: line |: line )\d+: (?:Bad configuration option: |[^\n\"]*(?=\")))[^\n]*"
)
_BEFORE_A_KEYWORD = ' \t\r\f\v="'
"""What ssh passes over before a keyword."""


def hide_content(messages: str) -> str:
    """Returns messages of ssh without what they quote of a line of its configuration.

    -F, or an Include, may name a file of secrets, and ssh quotes each line that is no option.
    """
    return _QUOTED.sub(r"\1…", messages)


def first_match_exec(files: Iterable[str], depth: int = 0) -> str:
    """Returns what in these files may start a program when ssh reads them, with its place.

    That is a Match with an exec, in a file or in one that it includes. "" if nothing does. Raises
    OSError for a pipe, a device or a file that is too large.
    """
    for path in files:
        for number, line in enumerate(_lines_of(path), 1):
            if found := _program_in(line, path, depth):
                return found if "/" in found else f"{found} in {path}:{number}"
    return ""


def _lines_of(path: str) -> list[str]:
    """Returns the lines of a file, [] for one that ssh cannot read either."""
    try:
        return read_file(Path(path), FILE_MAX).decode("utf-8", "replace").split("\n")
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError):
        return []


def _program_in(line: str, path: str, depth: int) -> str:
    """Returns what one line may start: itself, or a line of a file that it includes, with its
    place.
    """
    rest = line.lstrip(_BEFORE_A_KEYWORD)
    keyword = rest[:7].lower()
    if keyword.startswith("match") and "exec" in rest.lower():
        return "a Match exec starts a program"
    if keyword != "include":
        return ""
    patterns = rest[7:].removeprefix('"').lstrip(" \t=")
    included = list(included_files(path, patterns))
    if depth >= MAX_DEPTH or "/" in included or patterns.count('"') % 2:
        return "an Include that only ssh can follow may start a program"
    return first_match_exec(included, depth + 1)


def included_files(path: str, patterns: str) -> Iterator[str]:
    """Yields the files of an Include.

    A relative path is in /etc/ssh if `path` is below /etc, else in ~/.ssh. A path with a variable
    or a token gives "/", which counts as a file that may have any keyword.
    """
    try:
        words = split_include(patterns, comments=True)
    except ValueError:
        words = ["%"]  # only ssh knows
    folder = Path(home_of_user()) / ".ssh"
    if path.startswith("/etc/"):
        folder = Path(SYSTEM_CONFIG).parent
    for word in words:
        if "${" in word or "%" in word:
            # Unknown here which file it is. A folder cannot be read as a file, so ssh is asked.
            yield "/"
        elif word.startswith("~/"):
            yield from glob.glob(home_of_user() + word[1:])  # noqa: PTH207 — the pattern is absolute
        else:
            yield from glob.glob(str(folder / word))  # noqa: PTH207


def files_of_user() -> Iterator[str]:
    """Yields the user's own file, if the user has a home."""
    if home := home_of_user():
        yield f"{home}/.ssh/config"


def home_of_user() -> str:
    """Returns the home of the password database, where ssh looks whatever $HOME is; "" for none."""
    own = passwd_entry(os.getuid())
    return own.pw_dir if own else ""


def passwd_entry(number: int) -> pwd.struct_passwd | None:
    """Returns the entry of the password database for a user number, None if it has no name."""
    try:
        return pwd.getpwuid(number)
    except KeyError:
        return None
