"""Where the lines of a drawing go: the ladder of a trace, and how long bars are. Pure geometry, in
CSS pixels.

Rules: no markup and no colour here; a template draws what these say. Time runs down, the closer
stands left. A row has its place by its order, not by its clock: microseconds and seconds are read
beside it. What is data, FIN or RST is told by a word and by the arrow's shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fleetaudit.analysis.compare.view_model import Trace, TraceRow
from fleetaudit.model import PastRun

CLOSER_X, PEER_X, WIDTH = 88, 408, 432
"""The two lifelines and the drawing's width; time stands left of the closer."""
TOP, ROW, STEP_ROW, SLOPE = 36, 34, 26, 6
MOST_ROWS = 48
"""How many moments a ladder draws before it leaves out the middle; the table beside it has them
all.
"""

Shape = Literal["syn", "data", "ack", "fin", "rst"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """A segment: from (x1, y1) to (x2, y2), its word and what it carries above the line, its moment
    left of it.
    """

    y: int
    x1: int
    y1: int
    x2: int
    y2: int
    shape: Shape
    word: str
    detail: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A step, or how much was left out (`at_us` is None): a band across both lifelines, `y` its
    top.
    """

    y: int
    text: str
    at_us: int | None
    actor_x: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A trace as a time-sequence diagram; `marked` is the top of what another trace does not have,
    None without one.
    """

    width: int
    height: int
    closer_x: int
    peer_x: int
    arrows: tuple[Arrow, ...]
    notes: tuple[Note, ...]
    marked: int | None


def ladder(trace: Trace, parts_at: int | None = None) -> Ladder:
    """Returns the ladder of `trace`; rows from the one numbered `parts_at` on are marked."""
    arrows, notes, y, marked = list[Arrow](), list[Note](), TOP, None
    rows: list[tuple[int, TraceRow | str]] = list(enumerate(trace.rows))
    if trace.omitted:
        # The probe cuts long traces in their middle and keeps what opens, closes or resets.
        half = len(rows) // 2
        rows.insert(half, (-1, f"{trace.omitted:,} segments were not kept"))
    if len(rows) > MOST_ROWS:
        left = len(rows) - MOST_ROWS
        rows[MOST_ROWS // 2 : -MOST_ROWS // 2] = [(-1, f"{left:,} moments are only in the table")]
    for number, row in rows:
        if number == parts_at:
            marked = y + 2
        if isinstance(row, str):
            notes.append(Note(y=y + 3, text=row, at_us=None, actor_x=None))
            y += STEP_ROW
        elif row.who == "step":
            notes.append(
                Note(y=y + 3, text=_cut(row.text, 46), at_us=row.at_us, actor_x=_actor(row.text))
            )
            y += STEP_ROW
        else:
            arrows.append(_arrow(row, y))
            y += ROW
    return Ladder(
        width=WIDTH,
        height=y + 8,
        closer_x=CLOSER_X,
        peer_x=PEER_X,
        arrows=tuple(arrows),
        notes=tuple(notes),
        marked=marked,
    )


def shape_of(flags: str, length: int) -> Shape:
    """Returns what a segment is to the eye: what it ends or opens before what it carries."""
    for letter, shape in _BY_FLAG:
        if letter in flags:
            return shape
    return "data" if length else "ack"


_BY_FLAG: tuple[tuple[str, Shape], ...] = (("R", "rst"), ("F", "fin"), ("S", "syn"))


def _arrow(row: TraceRow, y: int) -> Arrow:
    right = row.who == "closer"
    x1, x2 = (CLOSER_X, PEER_X) if right else (PEER_X, CLOSER_X)
    inset = 4 if right else -4
    said = (
        [f"{row.length:,} byte{'' if row.length == 1 else 's'} {row.seq}"]
        if row.length
        else [f"seq {row.seq}"]
    )
    said += [f"ack {row.ack}"] if "." in row.flags else []
    said += [f"urg {row.urgent}"] if row.urgent else []
    said += [f"win {row.offered:,}"] if row.offered is not None else []
    said += [f"wscale {row.scale}"] if row.scale is not None else []
    said += [option for option in row.options.split() if option != "TS"]
    return Arrow(
        y=y + 13,
        x1=x1 + inset,
        y1=y + 19,
        x2=x2 - inset,
        y2=y + 19 + SLOPE,
        shape=shape_of(row.flags, row.length),
        word=row.text,
        detail=_cut(" · ".join(said), 44 - len(row.text)),
        at_us=row.at_us,
    )


def _actor(step: str) -> int | None:
    return {"closer": CLOSER_X, "peer": PEER_X}.get(step.partition(" ")[0])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(most - 1, 0)] + "…"


def log_share(value: float, values: Sequence[float]) -> float:
    """Returns how long a bar is for `value` among `values`, from 0 to 1: linear, or by decades
    where they span more than two of them.
    """
    positive = [v for v in values if v > 0]
    if value <= 0 or not positive:
        return 0.0
    low, high = min(positive), max(positive)
    if high <= 100 * low:
        return value / high
    floor = math.floor(math.log10(low))
    return (math.log10(value) - floor + 0.2) / (math.log10(high) - floor + 0.2)


def is_log(values: Sequence[float]) -> bool:
    """Returns whether `log_share` goes by decades for these."""
    positive = [v for v in values if v > 0]
    return bool(positive) and max(positive) > 100 * min(positive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One run in the history: how long each part of its bar is, of 100."""

    audited: float
    missing: float
    short: float
    past: PastRun


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Coverage and shortfall over runs, oldest first; 100 is the most hosts that any of them
    selected.
    """

    most: int
    bars: tuple[Bar, ...]


def history(runs: Sequence[PastRun]) -> History:
    """Returns a bar a run: audited hosts, those not audited behind them, and those that fall short
    of more than what is for information.
    """
    most = max((run.selected for run in runs), default=0)

    def share(n: int) -> float:
        return round(100 * n / most, 2) if most else 0.0

    return History(
        most=most,
        bars=tuple(
            Bar(
                audited=share(run.audited),
                missing=share(run.not_audited),
                short=share(sum(n for severity, n in run.short if severity != "info")),
                past=run,
            )
            for run in runs
        ),
    )
