"""All cases of the section."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tests.hostile.table import Case

from . import calls, clocks, disks, pauses, streams
from .worlds import Worlds

COLUMNS = ("command", "tried", "statuses")


def all_cases(worlds: Worlds, share: int = 1) -> Iterator[Case]:
    """Yields every case; of the moments of a command, every `share`-th is tried."""
    sections = (calls, disks, pauses, clocks, streams)
    return chain.from_iterable(section.cases(worlds, share) for section in sections)
