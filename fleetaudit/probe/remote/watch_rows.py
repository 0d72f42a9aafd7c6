"""Rows of counts by program, local port and reason: bounded, whatever happens on the host."""

from typing import Dict, List, Sequence, Tuple

from .watch_owners import REST, Owner

MAX_ROWS = 1000
OTHER = "other"


class BoundedRows(object):
    """Counts by key: an owner, a port and a reason. Once there are MAX_ROWS - 1, one more is for
    all that have no row of their own.
    """

    def __init__(self):
        # type: () -> None
        self.counts = {}  # type: Dict[Tuple[Owner, int, str], List[int]]

    def add(self, key, numbers):
        # type: (Tuple[Owner, int, str], Sequence[int]) -> Tuple[Owner, int, str]
        """Adds numbers to the row of a key, and returns the key of the row that they went to."""
        if key not in self.counts and len(self.counts) >= MAX_ROWS - 1:
            key = (REST, 0, OTHER)
        row = self.counts.setdefault(key, [0] * len(numbers))
        row[:] = map(sum, zip(row, numbers))
        return key

    def sorted(self):
        # type: () -> List[Tuple[Tuple[Owner, int, str], List[int]]]
        """Returns the keys with their numbers, the largest first number first."""
        return sorted(self.counts.items(), key=lambda item: (-item[1][0], item[0]))
