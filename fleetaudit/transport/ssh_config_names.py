"""Which host names ssh_config cannot tell apart, so that one `ssh -G` (12 ms) is enough for all of
them.

Rules: correctness first. Names are in one class only if every pattern of every Host line, in every
file that ssh reads, says the same about them, and if nothing that ssh prints can contain a name.
Which lines are within which Host does not matter: classes may be too small, never too large. A file
with more than that has no classes, and ssh is asked about each host: a Match (except "Match all"),
CanonicalizeHostname, a token such as %h, an Include that cannot be followed, any line that is not
plainly a keyword and a value. So it is about a name that ssh may change: upper case, user@host, an
IPv6 address, a number that is an address in a short form.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from fleetaudit.text.files import read_file
from fleetaudit.text.wildcards import wildcard_regex

_LINE_MAX = 65_536
FILE_MAX = 16 * 1024 * 1024
MAX_DEPTH = 16  # of Includes: OpenSSH's own bound

# What `ssh -G` prints as it is written; tokens in it are expanded for each host by us.
_PRINTED_AS_WRITTEN = {"identityfile", "certificatefile", "proxycommand", "proxyjump"}
_LINE = re.compile(r"[ \t]*([A-Za-z0-9]+)(?:[ \t]*=[ \t]*|[ \t]+)([!-~][ -~\t]*)")
_NO_LINE = re.compile(r"[ \t]*(?:#.*)?")
_PATTERN = re.compile(r"!?[A-Za-z0-9._*?-]+")
_WILDCARD = re.compile(r"[*?]")
_NAME = re.compile(
    r"(?:[a-z0-9_][a-z0-9_-]*\.)*[a-z_][a-z0-9_-]*"
    r"|(?:(?:[1-9]?\d|1\d\d|2[0-4]\d|25[0-5])(?:\.(?!$)|$)){4}"  # an IPv4 address
)
_ABOUT_NAMES = re.compile(r"(?i)\s*(?:-o\s*)?(?:include|match|host|hostname|canonical\w*)[\s=]")


class Unclear(Exception):
    """The names that a file tells apart are not known here."""


class NameClasses(msgspec.Struct, frozen=True):
    """What tells names apart: `names` and `patterns` of Host lines; all values of HostName.

    `control_path` is true if ControlPath has a token.
    """

    names: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]
    host_names: frozenset[str]
    control_path: bool

    def class_of(self, name: str) -> tuple[object, ...] | None:
        """Returns the class of a name, None if ssh must be asked about this name alone."""
        if name in self.host_names or not _NAME.fullmatch(name):
            return None
        literal = name if name in self.names else ""
        return literal, *(pattern.fullmatch(name) is not None for pattern in self.patterns)


class ConfigFile(msgspec.Struct, frozen=True):
    """A file that ssh reads: `folder` is for its relative Includes, `home` for those with ~/."""

    path: str
    folder: str
    home: str


def read_classes(files: Sequence[ConfigFile]) -> NameClasses | None:
    """Returns what tells names apart in files, None if that is unclear.

    One that is missing tells nothing apart.
    """
    try:
        return _classes(chain.from_iterable(_lines(file, 0) for file in files))
    except (OSError, ValueError, Unclear):
        return None


def is_about_names(arguments: Iterable[str]) -> bool:
    """Returns whether an argument of ssh may make what it prints depend on the host's name."""
    return any(_ABOUT_NAMES.match(word) or _has_token(word) for word in arguments)


def _has_token(argument: str) -> bool:
    """Returns whether an argument has a token that ssh expands."""
    as_written = re.match(r"(?i)\s*(?:-o\s*)?(?:identityfile|certificatefile)[\s=]", argument)
    return "%" in argument and not as_written


def _lines(file: ConfigFile, depth: int) -> Iterator[tuple[str, str]]:
    """Yields keyword, in lower case, and value of each line of a file and of those it includes."""
    if depth > MAX_DEPTH:
        raise Unclear
    try:
        text = read_file(Path(file.path), FILE_MAX).decode("utf-8", "replace")
    except FileNotFoundError:
        return
    for line in re.split(r"\r?\n", text):
        if _NO_LINE.fullmatch(line):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise Unclear
        keyword, value = found[1].lower(), found[2]
        if keyword != "include":
            yield keyword, value
            continue
        for included in _included(value, file):
            yield from _lines(included, depth + 1)


def _included(value: str, file: ConfigFile) -> Iterator[ConfigFile]:
    """Yields the files of an Include.

    Raises `Unclear` for what only ssh can expand, and ValueError as `split_include`.
    """
    for word in split_include(value):
        if re.search(r"[$%\\{}#\[\]]|^~(?!/)", word):
            raise Unclear
        path = re.sub(r"^~(?=/)", lambda _: file.home, word)
        found = glob.glob(str(Path(file.folder) / path))  # noqa: PTH207 — it may be absolute
        yield from (msgspec.structs.replace(file, path=name) for name in found)


def split_include(patterns: str, *, comments: bool = False) -> list[str]:
    """Returns the words of an Include; raises ValueError for an unclosed quotation, and for more
    than `_LINE_MAX` characters, because shlex takes quadratic time.
    """
    if len(patterns) > _LINE_MAX:
        raise ValueError
    return shlex.split(patterns, comments=comments)


def _classes(lines: Iterable[tuple[str, str]]) -> NameClasses:
    """Returns what tells names apart in lines of keyword and value.

    Names that none of it tells apart get the same from ssh_config, so ssh is asked once for all of
    them. Raises `Unclear` for a line whose effect may depend on the name in another way.
    """
    tokens, host_names, control_path = dict[str, None](), set[str](), False
    for keyword, value in lines:
        if keyword == "host":
            tokens |= dict.fromkeys(_patterns(value))
        elif keyword == "controlpath":
            control_path |= "%" in value
        elif keyword not in _PRINTED_AS_WRITTEN:
            _check_value(keyword, value)
        if keyword == "hostname":
            host_names.add(value.strip(' \t"').lower())
    return NameClasses(
        names=frozenset(tokens),
        patterns=tuple(map(_compiled, filter(_WILDCARD.search, tokens))),
        host_names=frozenset(host_names),
        control_path=control_path,
    )


def _patterns(value: str) -> list[str]:
    """Returns the patterns of a Host line, without their "!"; raises `Unclear`."""
    words = value.split()
    if not all(map(_PATTERN.fullmatch, words)):
        raise Unclear
    return [word.removeprefix("!") for word in words]


def _check_value(keyword: str, value: str) -> None:
    """Raises `Unclear` for a line whose effect may depend on the name."""
    is_match = keyword == "match" and value.strip().lower() != "all"
    if is_match or keyword.startswith("canonical") or "%" in value:
        raise Unclear


def _compiled(pattern: str) -> re.Pattern[str]:
    """Returns the regular expression of a pattern; ssh knows only * and ?."""
    return re.compile(wildcard_regex(pattern), re.DOTALL)
