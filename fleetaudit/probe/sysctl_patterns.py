"""The sysctls that a plan asks for, as names and globs: a reply may have no others. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleetaudit.errors import ReplyError
from fleetaudit.text.sanitize import printable_line


@dataclass(frozen=True, slots=True)
class SysctlPatterns:
    """Names and globs, as a play has them; `number` stands for them in the keys of a cache."""

    number: int
    patterns: tuple[str, ...]

    def refuse_others(self, keys: Iterable[str]) -> None:
        """Raises `ReplyError` for a sysctl that none of the patterns selects."""
        for key in keys:
            if not self._selects(key):
                name = printable_line(key, 100)
                raise ReplyError(f"the reply has the sysctl {name}, which was not asked for")

    def _selects(self, key: str) -> bool:
        """Returns whether a pattern selects a sysctl."""
        return any(_matches(key, pattern) for pattern in self.patterns)


def _matches(key: str, pattern: str) -> bool:
    """Returns whether each part of a name matches that of a pattern; no wildcard matches a dot."""
    parts, expected = key.split("."), pattern.split(".")
    return len(parts) == len(expected) and all(map(_part_matches, parts, expected))


def _part_matches(part: str, pattern: str) -> bool:
    """Returns whether one part matches; "/" in a key stands for a dot in the name of a file.

    A probe without fnmatch reports the pattern itself, as absent.
    """
    return part == pattern or fnmatchcase(part.replace("/", "."), pattern)
