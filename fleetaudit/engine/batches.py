"""Batches of hosts (--serial), and when too many of one have failed (--max-fail-percentage). Pure.

Both mean what they mean in Ansible ("Controlling playbook execution: strategies and more"): of
several sizes the last one is repeated, a percentage is one of all hosts, rounded down but at least
one host, and the run ends early when more than the percentage of a batch has failed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_SIZES = 100
"""The most sizes in one list."""


class BatchSize(NamedTuple):
    """How many hosts a batch has: a number of hosts, or a percentage of all hosts."""

    number: int
    is_percentage: bool = False

    def of(self, hosts: int) -> int:
        """Returns how many of `hosts` hosts a batch of this size has, at least 1."""
        if not self.is_percentage:
            return self.number
        return max(1, hosts * self.number // 100)


def parse_serial(text: str) -> tuple[BatchSize, ...]:
    """Returns the sizes in "10", "25%" or "1,5,50%"; raises ValueError with what is expected."""
    words = [word.strip() for word in text.split(",")]
    if len(words) > MAX_SIZES:
        raise ValueError(f"{len(words)} sizes; at most {MAX_SIZES} are allowed")
    return tuple(map(_parse_size, words))


def _parse_size(word: str) -> BatchSize:
    """Returns one size; raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})(%?)", word)
    size = BatchSize(int(found[1]), bool(found[2])) if found else BatchSize(0)
    if size.number < 1 or (size.is_percentage and size.number > 100):
        raise ValueError(
            f"“{word}” is not the size of a batch; expected a number of hosts, a percentage, or a"
            " list of them: 10, 25%, or 1,5,50%"
        )
    return size


def split(hosts: Sequence[int], sizes: Sequence[BatchSize]) -> list[Sequence[int]]:
    """Returns the hosts in batches of these sizes, all in one without sizes."""
    batches = list[Sequence[int]]()
    begin = 0
    while begin < len(hosts):
        end = len(hosts)
        if sizes:
            size = sizes[min(len(batches), len(sizes) - 1)]
            end = begin + size.of(len(hosts))
        batches.append(hosts[begin:end])
        begin = end
    return batches


class FailureLimit:
    """Counts the hosts of a batch that could not be audited.

    `percentage` is how many per cent of them may fail, None for all.
    """

    def __init__(self, percentage: float | None) -> None:
        self.percentage = percentage
        self.failed = self.size = 0

    def begin_batch(self, size: int) -> None:
        """Begins to count for a batch of this size."""
        self.failed, self.size = 0, size

    def count_failure(self) -> bool:
        """Counts a host that failed; returns whether too many have."""
        self.failed += 1
        return self.percentage is not None and self.failed * 100 > self.percentage * self.size
