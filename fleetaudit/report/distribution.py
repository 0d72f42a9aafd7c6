"""The geometry of a distribution: the values of one sysctl as one bar. Pure.

Rules: no markup and no colour here. Lengths are in percent of the width of the bar, which follows
from the width of the page; what stands on it is as tall and wide as text. Parts are in the order of
the rows below the bar, so that each can be found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from fleetaudit.analysis.compare.view_model import KERNEL_DEFAULT, SysctlView
from fleetaudit.text.phrases import count_noun

LEAST = 0.8
"""The least length of a part: one host of ten thousand is seen, too."""
GAP = 0.3
"""The space after each part."""
NARROWEST = 300
"""The width of the bar on a phone, in CSS pixels: a text that fits there fits anywhere."""
CHARACTER = 7.0
"""The width of one character of a text on the bar, in CSS pixels."""

Anchor = Literal["start", "middle", "end"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts with one value: from `x`, `width` long; `label` is "" if there is no room for it.

    `kind` is the severity of a finding, else how the value compares with the kernel default.
    """

    x: float
    width: float
    kind: str
    label: str

    @property
    def middle(self) -> float:
        """Where its label stands."""
        return round(self.x + self.width / 2, 2)

    @property
    def end(self) -> float:
        """Where it ends."""
        return round(self.x + self.width, 2)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The line below the parts with the kernel default, and where its words stand at the widest."""

    lines: tuple[tuple[float, float], ...]
    x: float
    anchor: Anchor


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one sysctl; `mark` is None if no host has the kernel default."""

    parts: tuple[Part, ...]
    mark: Mark | None


def draw_distribution(view: SysctlView) -> Distribution | None:
    """Returns the values of a sysctl by number of hosts, None if all hosts have the same value.

    Values that are not listed share the last part.
    """
    counts = [value.hosts.count for value in view.values]
    kinds: list[str] = [value.kind for value in view.values]
    texts = [value.value for value in view.values]
    if view.omitted:
        counts.append(view.omitted_hosts)
        kinds.append("rest")
        texts.append(count_noun(view.omitted, "other value"))
    if len(counts) < 2:
        return None
    parts = tuple(map(_part, _places(counts), kinds, texts))
    defaults = [p for p, v in zip(parts, view.values, strict=False) if v.is_default]
    return Distribution(parts=parts, mark=_mark(defaults))


def _places(counts: Sequence[int]) -> list[tuple[float, float]]:
    """Returns where each part begins and how long it is; all of them are 100 long with the gaps."""
    total = sum(counts) or 1
    lengths = [max(100 * count / total, LEAST) for count in counts]
    scale = 100 / sum(lengths)
    places, x = list[tuple[float, float]](), 0.0
    for length in lengths:
        places.append((round(x, 2), round(length * scale - GAP, 2)))
        x += length * scale
    return places


def _part(place: tuple[float, float], kind: str, text: str) -> Part:
    """Returns one part, with its text if there is room for it.

    How wide text beyond ASCII is, depends on the fonts of the reader.
    """
    x, width = place
    fits = text.isascii() and text.isprintable() and _width_of(text) <= width
    return Part(x=x, width=width, kind=kind, label=text if fits else "")


def _width_of(text: str) -> float:
    """Returns the length that a text and the space beside it take, at most."""
    return 100 * (len(text) + 1) * CHARACTER / NARROWEST


def _mark(defaults: Sequence[Part]) -> Mark | None:
    """Returns the mark of the parts with the kernel default; its words stay inside of the bar."""
    if not defaults:
        return None
    widest = max(defaults, key=lambda part: part.width)
    half = _width_of(KERNEL_DEFAULT) / 2
    lines = tuple((part.x, part.end) for part in defaults)
    if widest.middle < half:
        return Mark(lines=lines, x=widest.x, anchor="start")
    if widest.middle > 100 - half:
        return Mark(lines=lines, x=widest.end, anchor="end")
    return Mark(lines=lines, x=widest.middle, anchor="middle")
