"""The view of evidence: traces of single trials, and pairs of them to compare."""

from __future__ import annotations

from typing import Literal

import msgspec

from .kernels import Build, Verdict


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a trial, in microseconds: a step, or a segment that the closer or the peer sent.

    `window` is the field of the segment, `offered` the window in bytes, `scale` the window scale
    option of a SYN; each None if unknown or absent.
    """

    at_us: int
    who: Literal["step", "closer", "peer"]
    text: str
    flags: str = ""
    seq: str = ""
    ack: int = 0
    length: int = 0
    urgent: int = 0
    options: str = ""
    window: int | None = None
    offered: int | None = None
    scale: int | None = None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of one trial: steps and segments, then each other witness.

    `observed` is the ending in words. `omitted` counts the segments that the probe left out. `peer`
    is () and `kernel` is None if the witness could not be read.
    """

    anchor: str
    title: str
    host: str
    build: Build
    observed: str
    verdict: Verdict
    on_host: bool
    rows: tuple[TraceRow, ...]
    wire_note: str
    omitted: int
    peer: tuple[tuple[str, str], ...]
    kernel: tuple[tuple[str, int], ...] | None
    queue: tuple[tuple[str, int], ...]
    bytes: tuple[tuple[str, int], ...]


class TraceSide(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a trace pair: an ending, the builds with it, and the trace of one of their hosts.

    `differs_at` is the first row that differs from the other side, or the number of rows if none
    does.
    """

    ending: str
    verdict: Verdict
    builds: tuple[Build, ...]
    hosts: int
    trace: Trace
    differs_at: int


class TracePair(msgspec.Struct, frozen=True, kw_only=True):
    """Two traces of one scenario that kernels end differently."""

    anchor: str
    scenario: str
    title: str
    link: str
    families: str
    expect: str
    sides: tuple[TraceSide, TraceSide]

    @property
    def same_wire(self) -> bool:
        """Whether both sides have the same segments, so that another witness tells them apart."""
        return all(side.differs_at >= len(side.trace.rows) for side in self.sides)
