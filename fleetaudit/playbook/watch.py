"""Reads the key `watch` of a play: for how long its hosts are watched. Pure."""

from __future__ import annotations

from fleetaudit.model import ExposureExpectation, Watch
from fleetaudit.text.document import Document, ValuePath
from fleetaudit.text.durations import parse_duration

from .expectations import build_exposure_expectations
from .format import WatchFile

SHORTEST_S, LONGEST_S = 1.0, 3600.0
"""The bounds of a watch, in seconds."""


def build_watch(
    document: Document, file: float | str | WatchFile | None, where: ValuePath
) -> Watch | None:
    """Returns the watch of a play, None without one; `where` is the path of its key.

    Raises `InputError` for what is not a length of time between a second and an hour.
    """
    if file is None:
        return None
    if isinstance(file, WatchFile):
        seconds = _seconds(document, file.for_, (*where, "for"))
        return Watch(seconds=seconds, peers=file.peers)
    return Watch(seconds=_seconds(document, file, where))


def build_watch_expectations(
    document: Document, file: float | str | WatchFile | None, where: ValuePath
) -> dict[str, tuple[ExposureExpectation, ...]]:
    """Returns what is expected of the resets that are seen, by the name of the number.

    `where` is the path of the key `watch`. Raises as `build_exposure_expectations`.
    """
    if not isinstance(file, WatchFile):
        return {}
    return build_exposure_expectations(document, file.expect, (*where, "expect"))


def _seconds(document: Document, value: float | str, where: ValuePath) -> float:
    """Returns a length of time in seconds; raises `InputError` if it is too short or too long."""
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except ValueError as e:
        raise document.error(str(e), where) from e
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise document.error("a watch lasts from 1s to 1h", where)
    return seconds
