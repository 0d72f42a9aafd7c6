"""The geometry of drawings: the ladder of a trace, and the lengths of bars, in CSS pixels. Pure.

Rules: no markup and no colour here; a template draws what this module computes. Time runs down, the
closer stands left. A row has its place by its order, not by its clock, because some are
microseconds and others seconds apart. Data, FIN and RST are distinguished by a word and by the
shape of the arrow.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from fleetaudit.analysis.compare.view_model import Trace, TraceRow
from fleetaudit.model import PastRun
from fleetaudit.text.phrases import count_noun, surround

CLOSER_X, PEER_X, WIDTH = 80, 360, 380
"""The two lifelines and the width of the drawing; the time stands left of the closer.

A drawing of this width is readable on a phone, where the page scales it to the screen.
"""
TOP, ROW, STEP_ROW, SLOPE, LINE = 36, 34, 26, 6, 13
"""Heights: above the first row, of a row with one line of text, of an arrow, of a further line."""
MOST_ROWS = 48
"""Maximum number of rows of a ladder. Of a longer trace the middle is omitted."""
LINE_LENGTH = 38
"""How many characters fit on one line between the lifelines; longer texts have several lines."""

NO_BREAK = "\N{NO-BREAK SPACE}"

Shape = Literal["syn", "data", "ack", "fin", "rst"]
_SHAPES: tuple[tuple[str, Shape], ...] = (("R", "rst"), ("F", "fin"), ("S", "syn"))
"""Shapes by TCP flag, the most important flag first."""
_ACTORS = {"closer": CLOSER_X, "peer": PEER_X}


class Arrow(msgspec.Struct, frozen=True, kw_only=True):
    """A segment: a line from (x1, y1) to (x2, y2), text above it, its moment left.

    `y` is the base line of the first line of text, which begins with `word`, the TCP flags;
    `lines` has the rest of it and the further lines.
    """

    y: int
    x1: int
    y1: int
    x2: int
    y2: int
    shape: Shape
    word: str
    lines: tuple[str, ...]
    at_us: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A band across both lifelines, `y` its top: a step, or a text about rows that are left out.

    `at_us` is None for such a text.
    """

    y: int
    height: int
    lines: tuple[str, ...]
    at_us: int | None
    actor_x: int | None


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """A trace as a time-sequence diagram.

    `marked` is the top of the part that differs from another trace, None without one.
    """

    width: int
    height: int
    closer_x: int
    peer_x: int
    arrows: tuple[Arrow, ...]
    notes: tuple[Note, ...]
    marked: int | None


class _Drawing(msgspec.Struct):
    """A ladder while it is drawn; `y` is the top of the next row."""

    y: int = TOP
    arrows: list[Arrow] = msgspec.field(default_factory=list)
    notes: list[Note] = msgspec.field(default_factory=list)

    def add(self, row: TraceRow | str) -> None:
        """Draws one row: a segment, a step, or a text."""
        if isinstance(row, str):
            self._add_note(row, None, None)
        elif row.who == "step":
            self._add_note(row.text, row.at_us, _actor(row.text))
        else:
            arrow = _arrow(row, self.y)
            self.arrows.append(arrow)
            self.y = arrow.y1 + ROW - 19

    def _add_note(self, text: str, at_us: int | None, actor_x: int | None) -> None:
        """Draws a band across both lifelines."""
        lines = _wrap(text)
        height = 20 + LINE * (len(lines) - 1)
        self.notes.append(
            Note(y=self.y + 3, height=height, lines=lines, at_us=at_us, actor_x=actor_x)
        )
        self.y += height + STEP_ROW - 20


def draw_ladder(trace: Trace, differs_at: int | None = None) -> Ladder:
    """Returns the ladder of `trace`; rows from number `differs_at` on are marked.

    Rows are counted from 0, those that are left out too. A ladder is `WIDTH` wide; its height grows
    with its rows, of which there are at most `MOST_ROWS`, and a text about the rest.
    """
    drawing = _Drawing()
    marked: int | None = None
    for number, row in _rows_to_draw(trace):
        if number == differs_at:
            marked = drawing.y + 2
        drawing.add(row)
    return Ladder(
        width=WIDTH,
        height=drawing.y + 8,
        closer_x=CLOSER_X,
        peer_x=PEER_X,
        arrows=tuple(drawing.arrows),
        notes=tuple(drawing.notes),
        marked=marked,
    )


def _rows_to_draw(trace: Trace) -> list[tuple[int, TraceRow | str]]:
    """Returns the rows with their numbers; a text replaces the rows that are left out."""
    rows: list[tuple[int, TraceRow | str]] = list(enumerate(trace.rows))
    if trace.omitted:
        # The probe cuts long traces in the middle and keeps what opens, closes or resets.
        rows.insert(len(rows) // 2, (-1, f"{trace.omitted:,} segments were not recorded"))
    omitted = len(rows) - MOST_ROWS
    if omitted > 0:
        text = f"{omitted:,} more rows are only in the table"
        rows[MOST_ROWS // 2 : -MOST_ROWS // 2] = [(-1, text)]
    return rows


def shape_of(flags: str, length: int) -> Shape:
    """Returns the shape of a segment: what it opens or ends counts before what it carries.

    `flags` are letters as tcpdump prints them, `length` is the payload in bytes: "R." is "rst" and
    "P." with 10 bytes is "data".
    """
    otherwise: Shape = "data" if length else "ack"
    return next((shape for letter, shape in _SHAPES if letter in flags), otherwise)


def _arrow(row: TraceRow, y: int) -> Arrow:
    """Returns the arrow of a segment in the row with the top `y`."""
    start, end, inset = PEER_X, CLOSER_X, -4
    if row.who == "closer":
        start, end, inset = CLOSER_X, PEER_X, 4
    first, *further = _wrap(_label(row))
    word = first[: len(row.text)]
    line_y = y + 19 + LINE * len(further)
    return Arrow(
        y=y + 13,
        x1=start + inset,
        y1=line_y,
        x2=end - inset,
        y2=line_y + SLOPE,
        shape=shape_of(row.flags, row.length),
        word=word,
        lines=(first.removeprefix(word), *further),
        at_us=row.at_us,
    )


def _label(row: TraceRow) -> str:
    """Returns the flags of a segment and what it carries; a line ends only between two of them."""
    parts = " · ".join(map(_unbroken, filter(None, _details(row))))
    return f"{_unbroken(row.text)} {parts}"


def _unbroken(text: str) -> str:
    """Returns a text with blanks at which no line ends."""
    return text.replace(" ", NO_BREAK)


def _wrap(text: str) -> tuple[str, ...]:
    """Returns the lines of a text, none of them wider than the space between the lifelines.

    A text of an unknown script may have letters of twice the width.
    """
    width = (
        LINE_LENGTH if text.replace("·", "").replace(NO_BREAK, "").isascii() else LINE_LENGTH // 2
    )
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return tuple(line.replace(NO_BREAK, " ").strip("· ") for line in lines) or ("",)


def _details(row: TraceRow) -> Iterator[str]:
    """Yields what a segment carries, in the words of tcpdump."""
    yield _payload(row)
    if "." in row.flags:
        yield f"ack {row.ack}"
    yield surround("urg ", row.urgent)
    if row.offered is not None:
        yield f"win {row.offered:,}"
    if row.scale is not None:
        yield f"wscale {row.scale}"
    yield from (option for option in row.options.split() if option != "TS")


def _payload(row: TraceRow) -> str:
    """Returns "10 bytes 1:11", or "seq 1" of a segment without payload."""
    if row.length:
        return f"{count_noun(row.length, 'byte')} {row.seq}"
    return f"seq {row.seq}"


def _actor(step: str) -> int | None:
    """Returns the lifeline of the side that does a step, None for other steps."""
    return _ACTORS.get(step.partition(" ")[0])


def log_share(value: float, values: Sequence[float]) -> float:
    """Returns the length of the bar of `value` among `values`, from 0 to 1.

    It is linear, or logarithmic where the values span more than two decades. On a logarithmic
    scale the lowest decade still has a visible length, and a value of 0 or less has none.
    """
    if value <= 0:
        return 0.0
    positive = _positive(values)
    high = max(positive, default=value)
    if not is_logarithmic(values):
        return value / high
    floor = math.floor(math.log10(min(positive)))
    return (math.log10(value) - floor + 0.2) / (math.log10(high) - floor + 0.2)


def is_logarithmic(values: Sequence[float]) -> bool:
    """Returns whether `log_share` is logarithmic for these values.

    It is if the highest is more than 100 times the lowest that is above 0.
    """
    positive = _positive(values)
    if not positive:
        return False
    return max(positive) > 100 * min(positive)


def _positive(values: Iterable[float]) -> list[float]:
    """Returns the values above 0."""
    return [value for value in values if value > 0]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One run in the history: the lengths of the parts of its bar, in percent."""

    audited: float
    not_audited: float
    unmet: float
    past: PastRun


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, oldest first; 100 percent is `most`, the most hosts that any of them selected."""

    most: int
    bars: tuple[Bar, ...]


def draw_history(runs: Sequence[PastRun]) -> History:
    """Returns one bar per run: hosts audited, not audited, and with a warning or an error.

    `runs` come oldest first, and so do the bars; without runs there are none.
    """
    most = max((run.selected for run in runs), default=0)
    return History(most=most, bars=tuple(_bar(run, most) for run in runs))


def _bar(run: PastRun, most: int) -> Bar:
    """Returns the bar of one run; `most` hosts are 100 percent."""
    unmet = sum(hosts for severity, hosts in run.short if severity != "info")
    return Bar(
        audited=_percent(run.audited, most),
        not_audited=_percent(run.not_audited, most),
        unmet=_percent(unmet, most),
        past=run,
    )


def _percent(n: int, total: int) -> float:
    """Returns a share in percent, 0 of nothing."""
    if not total:
        return 0.0
    return round(100 * n / total, 2)
