"""Ranges in host names: `web[01:10:2]` and `db-[a:f]` expand to the names they stand for. Pure."""

from __future__ import annotations

import itertools
import math
import re
import string
from collections.abc import Sequence
from typing import NamedTuple

from fleetaudit.text.sanitize import shorten

MAX_NAMES = 100_000
"""Maximum number of host names that one range may expand to."""
_SYNTAX = "a range is written [begin:end] or [begin:end:step], as in web[01:10] or db-[a:f]"
_PIECES = re.compile(r"\[([^\[\]]*)\]")
_BRACKET = re.compile(r"[\[\]]")
_RANGE = re.compile(r"([^:]*):([^:]+)(?::([^:]*))?", re.DOTALL)
_STEP = re.compile(r"(?=[0-9]{1,9}\Z)0*[1-9][0-9]*")
_LETTERS = re.compile(r"[A-Za-z]:[A-Za-z]")
_NUMBERS = re.compile(r"[0-9]{1,18}:[0-9]{1,18}")


class InvalidNameError(ValueError):
    """A text that is not a host name; `hint` is what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


class _Range(NamedTuple):
    """One range, where it is written, and its bounds as text."""

    pattern: str
    text: str
    begin: str
    end: str
    step: int

    def error(self, problem: str, hint: str = _SYNTAX) -> InvalidNameError:
        """Returns the error about this range."""
        return _range_error(self.pattern, self.text, problem, hint)


class _Members(NamedTuple):
    """The numbers of a range and the width to fill with zeros, or its letters and 0."""

    width: int
    values: str | range

    def texts(self) -> Sequence[str]:
        """Returns what the range puts into each name."""
        if isinstance(self.values, str):
            return self.values
        return [str(number).zfill(self.width) for number in self.values]


def expand_ranges(pattern: str) -> Sequence[str]:
    """Returns the names that `pattern` stands for, in order; a name without ranges is itself.

    A range is `[begin:end]` or `[begin:end:step]`, of numbers or of letters, both bounds included;
    a begin with leading zeros keeps its width (`[01:10]`). Of several ranges the last one runs
    fastest. Raises `InvalidNameError` for a range that Ansible does not read, an empty one, and for
    more than `MAX_NAMES` names, before they are made. Ansible: `expand_hostname_range` in
    plugins/inventory/__init__.py, and "How to build your inventory: adding ranges of hosts".
    """
    if not _BRACKET.search(pattern):
        return (pattern,)
    literals, ranges = _split(pattern)
    count = math.prod(len(members.values) for members in ranges)
    if count > MAX_NAMES:
        raise InvalidNameError(
            f"“{shorten(pattern)}” stands for {count} names, more than the {MAX_NAMES} allowed",
            f"write ranges of at most {MAX_NAMES} names",
        )
    choices: list[Sequence[str]] = [(literals[0],)]
    for members, literal in zip(ranges, literals[1:], strict=True):
        choices += [members.texts(), (literal,)]
    return list(map("".join, itertools.product(*choices)))


def _split(pattern: str) -> tuple[list[str], list[_Members]]:
    """Returns the literal parts of a pattern, and the members of the range after each but the last.

    Raises `InvalidNameError` for a bracket without a partner, and for an invalid range.
    """
    pieces = _PIECES.split(pattern)
    literals = pieces[::2]
    if _BRACKET.search("".join(literals)):
        raise InvalidNameError(
            f"a bracket in “{shorten(pattern)}” has no partner",
            "a range is written web[01:10] or db-[a:f]",
        )
    return literals, [_expand_range(pattern, text) for text in pieces[1::2]]


def _expand_range(pattern: str, text: str) -> _Members:
    """Returns the members of one range; `text` is what is between its brackets.

    Raises `InvalidNameError` for mixed bounds and for an empty range: Ansible reads it as no host
    at all.
    """
    one = _parse_range(pattern, text)
    bounds = f"{one.begin}:{one.end}"
    if _LETTERS.fullmatch(bounds):
        members = _letters_of(one)
    elif _NUMBERS.fullmatch(bounds):
        members = _numbers_of(one)
    else:
        raise one.error(" is not a range of numbers or of letters")
    if not members.values:
        raise one.error(" is empty: it ends before it begins")
    return members


def _parse_range(pattern: str, text: str) -> _Range:
    """Returns the bounds and the step of a range, whatever the bounds are.

    A missing begin is 0 and a missing step is 1, as in Ansible. Raises `InvalidNameError` for
    anything but two or three parts, and for a step of 0.
    """
    found = _RANGE.fullmatch(text)
    if not found:
        raise _range_error(pattern, text, " is not a range", _SYNTAX)
    begin, end, step = found.groups("1")
    if not _STEP.fullmatch(step):
        raise _range_error(pattern, text, ": the step must be a number above 0", _SYNTAX)
    return _Range(pattern, text, begin or "0", end, int(step))


def _letters_of(one: _Range) -> _Members:
    """Returns the letters of a range, in the order a to z, A to Z."""
    letters = string.ascii_letters
    first, last = letters.index(one.begin), letters.index(one.end)
    return _Members(0, letters[first : last + 1 : one.step])


def _numbers_of(one: _Range) -> _Members:
    """Returns the numbers of a range; a begin with a leading zero sets the width of all.

    Raises `InvalidNameError` if begin and end then differ in length, as Ansible does.
    """
    width = 0
    if one.begin[0] == "0" and len(one.begin) > 1:
        width = len(one.begin)
        if len(one.end) != width:
            same_width = f"[{one.begin}:{one.end.zfill(width)}]"
            raise one.error(": begin and end differ in length", f"write {same_width}")
    return _Members(width, range(int(one.begin), int(one.end) + 1, one.step))


def _range_error(pattern: str, text: str, problem: str, hint: str) -> InvalidNameError:
    """Returns the error about a range in a pattern."""
    return InvalidNameError(f"“[{shorten(text)}]” in “{shorten(pattern)}”{problem}", hint)
