"""Many hosts in few words, and kernel releases in the order of their numbers. Pure.

Rules: every text here may come from a host or an inventory and is treated as text only; what is not
named is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_RANGES = 12
"""How many runs of hosts a folded list names before it counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRanges:
    """Hosts in few words: `ranges` like "web[001-240]", in order; `more` hosts of `count` are in
    none of them.
    """

    count: int
    ranges: tuple[str, ...]
    more: int = 0


def fold_hosts(names: Iterable[str], *, shown: int = MAX_RANGES) -> HostRanges:
    """Returns `names` as ranges, each where its first name stood; numbers that are padded fold with
    their own width.
    """
    count = 0
    series = dict[tuple[str, str, int], list[int]]()
    padded = set[tuple[str, str]]()
    split = list[tuple[str, str, str]]()
    for name in names:
        count += 1
        head, digits, tail = _split(name)
        split.append((head, digits, tail))
        if len(digits) > 1 and digits[0] == "0":
            padded.add((head, tail))
    for head, digits, tail in split:
        width = len(digits) if not digits or (head, tail) in padded else -1
        series.setdefault((head, tail, width), []).append(int(digits or 0))
    ranges, named, left = list[str](), 0, shown
    for (head, tail, width), numbers in series.items():
        runs = _runs(numbers)[:left]
        if not runs:
            break
        left -= len(runs)
        named += sum(n for _, _, n in runs)
        ranges.append(_range(head, runs, width, tail))
    return HostRanges(count=count, ranges=tuple(ranges), more=count - named)


def _split(name: str) -> tuple[str, str, str]:
    """The number that counts hosts: the last in the first label (web01.dc1), the last of all in an
    address.
    """
    label = name if re.fullmatch(r"[0-9.]+", name) else name.split(".", 1)[0]
    found = re.match(r"(.*?)([0-9]{1,18})([^0-9]*)\Z", label, re.DOTALL)
    if not found:
        return name, "", ""
    return found[1], found[2], found[3] + name[len(label) :]


def _runs(numbers: Iterable[int]) -> list[tuple[int, int, int]]:
    """First, last and how many hosts, of each run of numbers that follow one another."""
    runs = list[tuple[int, int, int]]()
    for n in sorted(numbers):
        if runs and n <= runs[-1][1] + 1:
            first, _, hosts = runs[-1]
            runs[-1] = (first, n, hosts + 1)
        else:
            runs.append((n, n, 1))
    return runs


def _range(head: str, runs: list[tuple[int, int, int]], width: int, tail: str) -> str:
    if width == 0:
        return head
    pad = max(width, 0)
    parts = [f"{a:0{pad}d}" if a == b else f"{a:0{pad}d}-{b:0{pad}d}" for a, b, _ in runs]
    inside = ",".join(parts)
    return (
        f"{head}{inside}{tail}"
        if len(runs) == 1 and runs[0][0] == runs[0][1]
        else f"{head}[{inside}]{tail}"
    )


ReleaseKey = tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]


def release_key(release: str) -> ReleaseKey:
    """Returns what sorts releases by number: 5.10.0-9, 5.10.0-10, 6.1, 6.12-rc3, 6.12; no number
    comes first.
    """
    base = re.match(r"[0-9]{1,18}(?:\.[0-9]{1,18}){0,2}", release)
    numbers = [int(n) for n in base[0].split(".")] if base else []
    rest = release[base.end() :] if base else release
    candidate = re.search(r"[-._~]rc([0-9]{1,18})", rest)
    words = tuple(
        (1, int(part), "") if part[0] in "0123456789" else (0, 0, part)
        for part in re.findall(r"[0-9]{1,18}|[^0-9._~-]+", rest)
    )
    padded = tuple(numbers + [0] * (3 - len(numbers))) if numbers else ()
    return padded, int(candidate[1]) if candidate else 1 << 62, words


def fold_releases(releases: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Returns releases in numeric order, three and more that follow one another as "5.10.0-46 to
    6.1.0-50".

    `others` are the rest of the fleet's releases: no range has one of them inside. A release that
    is in both stands alone.
    """
    wanted, others = {*releases}, {*others}
    runs: list[list[str]] = [[]]
    for release in sorted(wanted | others, key=lambda r: (release_key(r), r)):
        if release in others:
            runs += [[release], []] if release in wanted else [[]]
        else:
            runs[-1].append(release)
    return tuple(
        part for run in runs for part in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else run)
    )


def release_series(release: str) -> str:
    """Returns the series that a release belongs to: "5.10" of "5.10.0-30-amd64"; "" where it has
    none.
    """
    found = re.match(r"[0-9]{1,18}\.[0-9]{1,18}", release)
    return found[0] if found else ""
