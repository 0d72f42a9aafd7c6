"""Sorts the changes between two runs into the sections of the page: regressions first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from fleetaudit.analysis.compare.common import group_by
from fleetaudit.analysis.compare.view_model import ChangeRow

from .view_model import ChangeSection


class _Sort(NamedTuple):
    """One section: its changes are those with one of `effects` or one of `kinds`."""

    key: str
    title: str
    none: str = ""
    effects: Collection[str] = ()
    kinds: Collection[str] = ()

    def has(self, row: ChangeRow) -> bool:
        """Returns whether a change belongs here."""
        return row.effect in self.effects or row.kind in self.kinds


_LAST = _Sort("other", "Other changes")
_SORTS = (
    _Sort(
        "regressions", "Regressions", "No expectation that was met is not met now.", ("regression",)
    ),
    _Sort(
        "unknown",
        "No longer known",
        effects=("no longer told", "newly not audited", "no longer selected"),
    ),
    _Sort("fixes", "Fixed", effects=("fix",)),
    _Sort(
        "known-again",
        "Now known",
        effects=("told again", "audited again", "newly selected"),
    ),
    _Sort("one-run", "Hosts that are new, gone, renamed or rebuilt", kinds=("host",)),
    _Sort("endings", "Other endings", kinds=("scenario",)),
    _Sort("resets", "Programs that reset", kinds=("resets",)),
    _Sort("services", "Services", kinds=("service",)),
    _Sort("systems", "Kernels and systems", kinds=("kernel", "system", "isolation")),
    _Sort("values", "Sysctls", kinds=("sysctl",)),
)
"""The sections in the order of the page; a change belongs to the first that fits, or to `_LAST`."""


def sort_changes(rows: Iterable[ChangeRow]) -> tuple[ChangeSection, ...]:
    """Returns the sections that have a row or something to say without one, each with its rows."""
    by_sort = group_by(rows, _sort_of)
    sections = (
        ChangeSection(
            key=sort.key, title=sort.title, none=sort.none, rows=tuple(by_sort.get(sort, ()))
        )
        for sort in (*_SORTS, _LAST)
    )
    return tuple(section for section in sections if section.rows or section.none)


def _sort_of(row: ChangeRow) -> _Sort:
    """Returns the section of a change."""
    return next((sort for sort in _SORTS if sort.has(row)), _LAST)
