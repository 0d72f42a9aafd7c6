"""Puts the times of a reply back into the evidence that was made of its shape. Pure.

A verdict and its evidence are made without times and shared by all hosts that sent the same shape.
Only the first host of a kernel build shows its times: they are put into a copy for this host.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from msgspec.structs import replace

from fleetaudit.errors import ReplyError
from fleetaudit.model import Connection, Evidence, Segment, StepTimes

from .reply import RawConnection, RawSegment, RawTrial, Times
from .wire import capture_note


class Size(NamedTuple):
    """How many connections, steps and segments a trial has, or several trials together."""

    connections: int = 0
    steps: int = 0
    segments: int = 0

    @classmethod
    def of(cls, trial: RawTrial) -> Size:
        """Returns the size of one reported trial."""
        return cls(trial.connection is not None, trial.steps, len(trial.wire or ()))


def add_sizes(sizes: list[Size]) -> Size:
    """Returns the size of all together."""
    if not sizes:
        return Size()
    return Size(*map(sum, zip(*sizes, strict=True)))


def starts_of(sizes: list[Size]) -> list[Size]:
    """Returns where each part starts in the flat lists of `Times`, and after the last one the
    end.
    """
    if not sizes:
        return [Size()]
    columns = (accumulate(column, initial=0) for column in zip(*sizes, strict=True))
    return [Size(*start) for start in zip(*columns, strict=True)]


def check_times(times: Times, size: Size) -> None:
    """Raises `ReplyError` if a reply has other times than its shape, of this size, needs."""
    connections, steps, segments = size
    if (
        (len(times.began), len(times.ports)) != (connections, 2 * connections)
        or len(times.steps) != steps
        or (len(times.at), len(times.windows)) != (segments, segments)
        or len(times.headers) > connections
        or any(index >= connections for index, _ in times.headers)
    ):
        raise ReplyError(
            "the shape of the reply and its times do not fit each other: the shape has"
            f" {connections} connections, {steps} steps and {segments} segments, the times"
            f" {len(times.began)}, {len(times.steps)} and {len(times.at)} (with"
            f" {len(times.ports)} ports, {len(times.windows)} windows and"
            f" {len(times.headers)} captured headers)"
        )


def evidence_without_times(trial: RawTrial) -> Evidence:
    """Returns the evidence of a trial, as the report shows it, with 0 in the place of each time."""
    return Evidence(
        wire=None if trial.wire is None else tuple(map(_segment, trial.wire)),
        connection=_connection_without_times(trial.connection),
        wire_note=capture_note(trial),
        wire_omitted=trial.wire_omitted,
        peer=trial.peer,
        kernel=trial.kernel,
        steps=_steps([0] * trial.steps),
        queue=trial.queue,
        bytes=trial.bytes,
    )


def evidence_with_times(evidence: Evidence, times: Times, start: Size) -> Evidence:
    """Returns the evidence of a trial with its times, which begin at `start` in the lists."""
    steps = times.steps[start.steps : start.steps + len(evidence.steps)]
    segments = slice(start.segments, start.segments + len(evidence.segments))
    rows = zip(evidence.segments, times.at[segments], times.windows[segments], strict=True)
    return replace(
        evidence,
        wire=evidence.wire and tuple(_with_time(*row) for row in rows),
        connection=evidence.connection
        and _connection_with_times(evidence.connection, times, start.connections),
        steps=_steps(steps),
    )


def _connection_without_times(raw: RawConnection | None) -> Connection | None:
    """Returns a connection as the report shows it, without its time and ports."""
    if raw is None:
        return None
    return Connection(began=0.0, ports=(0, 0), scales=raw.scales, mapped=raw.mapped)


def _segment(raw: RawSegment) -> Segment:
    """Returns a segment as the report shows it, without its time and window."""
    return Segment(
        at_us=0,
        sender=raw.sender,
        flags=raw.flags,
        seq=raw.seq,
        ack=raw.ack,
        length=raw.length,
        urgent=raw.urgent,
        options=raw.options,
    )


def _with_time(segment: Segment, at_us: int, window: int | None) -> Segment:
    """Returns a segment with its time and window."""
    return replace(segment, at_us=at_us, window=window)


def _connection_with_times(connection: Connection, times: Times, index: int) -> Connection:
    """Returns a connection with when its trial began, its ports and its captured headers."""
    ports = (times.ports[2 * index], times.ports[2 * index + 1])
    headers = [text for at, text in times.headers if at == index]
    return replace(connection, began=times.began[index], ports=ports, headers="".join(headers[:1]))


def _steps(times: list[int] | tuple[int, ...]) -> StepTimes:
    """Returns when each step began, with its index."""
    return tuple((at_us, index) for index, at_us in enumerate(times))
