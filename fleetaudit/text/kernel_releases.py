"""Orders kernel releases by their numbers and writes many as a few ranges. Pure.

Rules: releases come from hosts and are treated as text only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

ReleaseKey = tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]
_BASE = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18}){0,2}")
_CANDIDATE = re.compile(r"[-._~]rc([0-9]{1,18})")
_PARTS = re.compile(r"[0-9]{1,18}|[^0-9._~-]+")
_FINAL = 1 << 62
"""Sorts a release after all of its candidates."""


def release_key(release: str) -> ReleaseKey:
    """Returns a sort key: 5.10.0-9, 5.10.0-10, 6.1, 6.12-rc3, 6.12; releases without a number
    first.

    The parts of the key are the three numbers that a release begins with, the number of its release
    candidate, and whatever else is in its name. 6.12-rc3 begins with (6, 12, 0) and 3; a release
    that is no candidate has `_FINAL` in place of the 3.
    """
    base = _BASE.match(release)
    rest = release[base.end() :] if base else release
    words = tuple(map(_word_key, _PARTS.findall(rest)))
    return _padded(base), _candidate(rest), words


def _candidate(rest: str) -> int:
    """Returns the number of a release candidate, `_FINAL` for a release."""
    found = _CANDIDATE.search(rest)
    if not found:
        return _FINAL
    return int(found[1])


def _padded(base: re.Match[str] | None) -> tuple[int, ...]:
    """Returns three numbers: 6, 1, 0 for 6.1; () for none."""
    if not base:
        return ()
    numbers = (*map(int, base[0].split(".")), 0, 0)
    return numbers[:3]


def _word_key(word: str) -> tuple[int, int, str]:
    """Returns a sort key of one part of a release: texts in their order, then numbers."""
    if word[0] in "0123456789":
        return (1, int(word), "")
    return (0, 0, word)


def fold_releases(releases: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Returns releases in numeric order; three or more in a row become "5.10.0-46 to 6.1.0-50".

    `others` are the rest of the fleet's releases: no range contains one of them. A release that is
    in both stands alone. Neither has to be in order, and each may have a release several times.
    """
    folded, others = {*releases}, {*others}
    runs: list[list[str]] = [[]]
    for release in sorted(folded | others, key=lambda r: (release_key(r), r)):
        if release not in others:
            runs[-1].append(release)
            continue
        if release in folded:
            runs.append([release])
        runs.append([])
    return tuple(chain.from_iterable(map(_run_texts, runs)))


def _run_texts(run: list[str]) -> list[str]:
    """Returns one range for three or more releases, else the releases."""
    if len(run) < 3:
        return run
    return [f"{run[0]} to {run[-1]}"]


def release_series(release: str) -> str:
    """Returns the series of a release, its first two numbers: "5.10" of "5.10.0-30-amd64".

    "" if it does not begin with two numbers.
    """
    found = re.match(r"[0-9]{1,18}\.[0-9]{1,18}", release)
    return found[0] if found else ""
