"""Finds kernel builds in the table of kernels, and where the endings of a series change. Pure.

Rules: only known endings are compared; one that was inconclusive or did not run changes nothing.
The order of a series is that of its source versions, within one flavour of one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fleetaudit.model import EXPECTABLE_ENDINGS, Ending, Family, Kernel
from fleetaudit.text.debian_versions import debian_version_key
from fleetaudit.text.kernel_releases import release_series

from .model import KernelTable, Row, TableBuild, row_ending

_SOURCE_VERSION = re.compile(r"Debian ([0-9][A-Za-z0-9.+~-]{0,63}) \(")
"""The source version in what uname -v prints: #1 SMP Debian 6.1.170-3 (2026-04-27)."""
Line = tuple[TableBuild, ...]
"""Builds of one series, machine and flavour, in the order of their source versions."""
_LineKey = tuple[str, str, str]


class Cell(NamedTuple):
    """A scenario over one family."""

    scenario: str
    family: Family


class EndingChange(NamedTuple):
    """A cell whose ending changes between two builds of a line: `place` is that of the later one.

    `last` is the last build that is known to have the ending before.
    """

    cell: Cell
    before: Ending
    after: Ending
    last: TableBuild
    place: int


class TableIndex:
    """A table of kernels, prepared for look-ups."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table
        self.steps = {scenario.name: scenario.steps for scenario in table.scenarios}
        self.cells = tuple(
            Cell(scenario.name, family)
            for scenario in table.scenarios
            for family in scenario.families
        )
        self._exact = {build.identity: build for build in table.builds}
        self._by_source = {(b.package_version, b.machine): b for b in reversed(table.builds)}
        self._lines = _make_lines(table.builds)
        self._changes = dict[Line, tuple[EndingChange, ...]]()

    def find(self, kernel: Kernel) -> TableBuild | None:
        """Returns the very build of a kernel, None if the table does not have it."""
        return self._exact.get((kernel.release, kernel.version, kernel.machine))

    def find_source(self, kernel: Kernel) -> TableBuild | None:
        """Returns a build of the same source for the same machine, None without one."""
        found = _SOURCE_VERSION.search(kernel.version)
        if not found:
            return None
        return self._by_source.get((found[1], kernel.machine))

    def find_series(self, kernel: Kernel) -> Line:
        """Returns the longest line of the series of a kernel, () if the table has none."""
        series = release_series(kernel.release)
        lines = (
            line
            for (of_series, machine, _), line in self._lines.items()
            if (of_series, machine) == (series, kernel.machine)
        )
        return max(lines, key=len, default=())

    def line_of(self, build: TableBuild) -> Line:
        """Returns the line that a build of the table is in."""
        return self._lines[_line_key(build)]

    def row(self, build: TableBuild) -> Row:
        """Returns the endings of a build."""
        return self.table.endings.get(build.endings, {})

    def changes(self, line: Line) -> tuple[EndingChange, ...]:
        """Returns where endings change in a line, in its order."""
        if line not in self._changes:
            self._changes[line] = tuple(self._find_changes(line))
        return self._changes[line]

    def _find_changes(self, line: Line) -> list[EndingChange]:
        """Returns where endings change in a line."""
        changes = list[EndingChange]()
        last = dict[Cell, tuple[Ending, TableBuild]]()
        for place, build in enumerate(line):
            for cell, ending in self._known(build):
                before, of_build = last.get(cell, (ending, build))
                if before != ending:
                    changes.append(EndingChange(cell, before, ending, of_build, place))
                last[cell] = ending, build
        return changes

    def _known(self, build: TableBuild) -> list[tuple[Cell, Ending]]:
        """Returns the known endings of a build, in the order of the scenarios."""
        row = self.row(build)
        found = ((cell, row_ending(row, *cell)) for cell in self.cells)
        return [(cell, ending) for cell, ending in found if ending in EXPECTABLE_ENDINGS]


def _make_lines(builds: Iterable[TableBuild]) -> dict[_LineKey, Line]:
    """Returns the lines of a table."""
    lines = dict[_LineKey, list[TableBuild]]()
    for build in builds:
        lines.setdefault(_line_key(build), []).append(build)
    return {key: _sorted_line(line) for key, line in lines.items()}


def _line_key(build: TableBuild) -> _LineKey:
    """Returns series, machine and flavour of a build."""
    return release_series(build.package_version), build.machine, build.flavour


def _sorted_line(builds: Sequence[TableBuild]) -> Line:
    """Returns builds in the order of their source versions."""
    return tuple(sorted(builds, key=lambda build: debian_version_key(build.package_version)))
