"""Makes the heat map of many kernels: a row per kernel series, with the rows of its builds. Pure.

Rules: a cell of a series counts the hosts of its builds, and reads as a cell of one build does. The
columns are those that the matrix shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from .columns import merge_cells
from .view_model import Build, Cell, Column, HeatMap, HeatMapSeries

MATRIX_BUILDS = 12
"""How many kernel builds a matrix shows; of more there is a heat map."""
BuildRow = tuple[Build, tuple[Cell, ...]]
"""A build and its cells, one per column."""


def make_heat_map(builds: Sequence[Build], columns: Iterable[Column]) -> HeatMap | None:
    """Returns the heat map of more than `MATRIX_BUILDS` builds, None of fewer.

    `builds` are in the order of the cells of `columns`, which is the order of the series. It is
    None also if no column is notable: then there is nothing to compare.
    """
    notable = tuple(column for column in columns if column.notable)
    if len(builds) <= MATRIX_BUILDS or not notable:
        return None
    by_build = zip(*(column.cells for column in notable), strict=True)
    rows = zip(builds, by_build, strict=True)
    series = tuple(_series(name, tuple(of)) for name, of in groupby(rows, _series_of))
    return HeatMap(columns=notable, series=series, builds=len(builds))


def _series_of(row: BuildRow) -> str:
    """Returns the kernel series of a build."""
    return row[0].series


def _series(name: str, rows: Sequence[BuildRow]) -> HeatMapSeries:
    """Returns the row of one kernel series."""
    by_column = zip(*(cells for _, cells in rows), strict=True)
    return HeatMapSeries(
        series=name,
        hosts=sum(build.hosts.count for build, _ in rows),
        cells=tuple(map(merge_cells, by_column)),
        builds=tuple(rows),
    )
