"""The heat map of many kernels: which rows and cells it has, and what they count."""

from __future__ import annotations

import pytest

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.compare.columns import merge_cells
from fleetaudit.analysis.compare.heat_map import MATRIX_BUILDS
from fleetaudit.analysis.compare.view_model import Cell, HeatMap, Verdict
from tests.support.many_kernels import HOSTS, SERIES, fleet_of


def heat_map(builds: int) -> HeatMap:
    """Returns the heat map of a made-up fleet."""
    found = compare(fleet_of(builds)).heat_map
    assert found
    return found


def cell(verdict: Verdict, *counts: tuple[str, int], void: int = 0, label: str = "") -> Cell:
    """Returns a cell with these endings."""
    return Cell(
        label=label or counts[0][0],
        verdict=verdict,
        counts=counts,
        hosts=sum(n for _, n in counts),
        void=void,
        on_host=0,
    )


@pytest.mark.parametrize(
    ("builds", "shown"), [(1, False), (MATRIX_BUILDS, False), (MATRIX_BUILDS + 1, True)]
)
def test_only_many_builds_have_a_heat_map(builds: int, shown: bool) -> None:
    assert (compare(fleet_of(builds)).heat_map is not None) is shown


def test_every_build_is_in_one_series_and_every_host_is_counted_once() -> None:
    found, run = heat_map(40), compare(fleet_of(40))
    assert [series.series for series in found.series] == list(SERIES)
    assert [build for series in found.series for build, _ in series.builds] == list(run.builds)
    assert sum(series.hosts for series in found.series) == 40 * HOSTS
    for series in found.series:
        for merged in series.cells:
            assert merged.hosts + merged.void == series.hosts
            assert merged.labelled + sum(n for _, n in merged.others) in (
                merged.hosts,
                2 * merged.hosts,
            )


def test_a_series_whose_builds_differ_is_mixed_and_does_not_agree() -> None:
    found = heat_map(40)
    reread = [column.scenario for column in found.columns].index("reread-fin-close")
    by_series = {series.series: series for series in found.series}
    mixed = by_series["6.12"].cells[reread]
    assert (mixed.label, mixed.counts) == ("mixed", (("FIN", 9), ("RST", 6)))
    assert not by_series["6.12"].agrees
    assert by_series["5.15"].cells[reread].label == "RST"
    assert by_series["5.15"].agrees


@pytest.mark.parametrize(
    ("cells", "label", "verdict", "others"),
    [
        ([cell("met", ("FIN", 2)), cell("met", ("FIN", 3))], "FIN", "met", ()),
        (
            [cell("met", ("FIN", 2)), cell("error", ("RST", 3))],
            "mixed",
            "error",
            (("RST", 3), ("FIN", 2)),
        ),
        (
            [cell("met", ("FIN", 1)), cell("unknown", ("inconclusive", 3))],
            "FIN",
            "unknown",
            (("inconclusive", 3),),
        ),
        ([cell("void", void=2, label="void"), cell("not run", label="x")], "void", "void", ()),
        ([cell("not run", label="x")], "not in playbook", "not run", ()),
        ([cell("met", ("FIN", 1)), cell("void", void=2, label="void")], "FIN", "met", ()),
    ],
)
def test_a_merged_cell_reads_as_a_cell_of_one_build_does(
    cells: list[Cell], label: str, verdict: Verdict, others: tuple[tuple[str, int], ...]
) -> None:
    merged = merge_cells(cells)
    assert (merged.label, merged.verdict, merged.others) == (label, verdict, others)
    assert merged.void == sum(one.void for one in cells)
