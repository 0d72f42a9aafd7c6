"""Writes many hosts as a few ranges, such as web[001-240]. Pure.

Rules: host names come from inventories and are treated as text only. Hosts that are not named are
counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec

MAX_RANGES = 12
"""Maximum number of ranges that a folded list names before it counts the rest."""
Series = tuple[str, str, int]
"""What numbered names have in common: the text before the number, the text after it, and the number
of digits; 0 for names without a number, `ANY_WIDTH` for numbers without leading zeros.
"""
ANY_WIDTH = -1

_ADDRESS = re.compile(r"[0-9.]+")
_LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)", re.DOTALL)
_PADDED = re.compile(r"0[0-9]")


class Run(NamedTuple):
    """Numbers that follow one another: the first, the last, and how many hosts have one of them."""

    first: int
    last: int
    hosts: int

    def text(self, pad: int) -> str:
        """Returns "001-240", or "001" for one number, with at least `pad` digits."""
        number = f"{self.first:0{pad}d}"
        if self.first == self.last:
            return number
        return f"{number}-{self.last:0{pad}d}"


class HostRanges(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts as ranges like "web[001-240]", in order; `more` of the `count` hosts are in none of
    them.
    """

    count: int
    ranges: tuple[str, ...]
    more: int = 0


def fold_hosts(names: Iterable[str], *, limit: int = MAX_RANGES) -> HostRanges:
    """Returns `names` as at most `limit` runs of numbers, each range where its first name stood.

    web1, web2, web4 and db are "web[1-2,4]" and "db": three runs. Numbers with leading zeros are
    folded with numbers of their own width only. Names that no range has room for are counted in
    `more`.
    """
    parts = list(map(_split, names))
    ranges, named, left = list[str](), 0, limit
    for (head, tail, width), numbers in _series(parts).items():
        runs = _runs(numbers)[:left]
        if not runs:
            break
        left -= len(runs)
        named += sum(run.hosts for run in runs)
        ranges.append(_range(head, runs, width, tail))
    return HostRanges(count=len(parts), ranges=tuple(ranges), more=len(parts) - named)


@lru_cache(maxsize=1 << 16)  # the same names are folded for every part of a report
def _split(name: str) -> tuple[str, str, str]:
    """Returns a name as the text before its number, the digits, and the text after it.

    The number that counts hosts is the last one of the first label (web01.dc1), and the last of an
    address. A name without a number is all text before it. web01.dc1 is "web", "01", ".dc1";
    10.0.0.7 is "10.0.0.", "7", "".
    """
    label = name.split(".", 1)[0]
    if _ADDRESS.fullmatch(name):
        label = name
    found = _LAST_NUMBER.fullmatch(label)
    if not found:
        return name, "", ""
    return found[1], found[2], found[3] + name[len(label) :]


def _series(parts: Iterable[tuple[str, str, str]]) -> dict[Series, list[int]]:
    """Returns the numbers of names that differ in nothing else, by head, tail and width.

    One number with a leading zero separates all of its names by width: web01 and web10 are one
    series, web1 is another. Without one, web9 and web10 are in one series of `ANY_WIDTH`.
    """
    padded = {(head, tail) for head, digits, tail in parts if _PADDED.match(digits)}
    series = dict[Series, list[int]]()
    for head, digits, tail in parts:
        width = len(digits)
        if digits and (head, tail) not in padded:
            width = ANY_WIDTH
        series.setdefault((head, tail, width), []).append(int(digits or 0))
    return series


def _runs(numbers: Iterable[int]) -> list[Run]:
    """Returns the runs of numbers that follow one another, in order.

    A number that occurs twice counts two hosts.
    """
    runs = list[Run]()
    for n in sorted(numbers):
        if runs and n <= runs[-1].last + 1:
            runs[-1] = Run(runs[-1].first, n, runs[-1].hosts + 1)
        else:
            runs.append(Run(n, n, 1))
    return runs


def _range(head: str, runs: list[Run], width: int, tail: str) -> str:
    """Returns the text of one range: its runs in brackets, a single number without.

    "web[1-2,4].dc1", "web01", or the head alone for names without a number.
    """
    if width == 0:
        return head
    pad = max(width, 0)
    inside = ",".join(run.text(pad) for run in runs)
    if inside.isdigit():
        return f"{head}{inside}{tail}"
    return f"{head}[{inside}]{tail}"


def count_of_hosts(number: int) -> str:
    """Returns a number of hosts as text: "1 host", "12 hosts"."""
    return "1 host" if number == 1 else f"{number} hosts"
