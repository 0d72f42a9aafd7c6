"""The search finds every change that it can find, with few measurements, and says what it cannot
tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis.bisection.search import (
    Change,
    Step,
    Values,
    find_changes,
    find_ends,
    next_step,
)
from fleetaudit.text.debian_versions import debian_version_key
from fleetaudit.text.kernel_releases import release_series
from tests import ROOT

KEY, OTHER = ("one", "ipv4"), ("two", "ipv4")


class Search:
    """A whole search over known values; `log` has the places of each step."""

    def __init__(self, places: Sequence[Values]) -> None:
        self.measured = dict[int, Values]()
        self.log = list[Step]()
        while (step := next_step(len(places), self.measured)).places:
            assert not self.measured.keys() & {*step.places}, "a place is never tried twice"
            self.log.append(step)
            self.measured |= {place: places[place] for place in step.places}
            assert len(self.log) <= len(places)
        self.changes = find_changes(self.measured)

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [(change.before, change.after) for change in self.changes]


def column(values: Sequence[str], key: tuple[str, str] = KEY) -> list[Values]:
    """Returns places with one value each, "-" for one that cannot be measured."""
    return [{key: value} if value != "-" else {} for value in values]


def merged(*columns: Sequence[Values]) -> list[Values]:
    return [{k: v for part in parts for k, v in part.items()} for parts in zip(*columns)]  # noqa: B905 — equal lengths


def test_one_change_among_nine_takes_the_two_ends_and_three_more() -> None:
    search = Search(column("RRFFFFFFF"))
    assert search.changes == (Change(KEY, 1, 2, ("R", "F")),)
    assert [step.places for step in search.log] == [(0, 8), (4,), (2,), (1,)]
    assert [(step.left, step.steps) for step in search.log] == [(0, 0), (7, 3), (3, 2), (1, 1)]


def test_equal_ends_end_the_search_and_hide_what_changed_back() -> None:
    search = Search(column("FRRF"))
    assert search.changes == ()
    assert [step.places for step in search.log] == [(0, 3)]


def test_what_changed_back_is_followed_where_another_change_shows_it() -> None:
    search = Search(merged(column("RRFFFFF"), column("FFRRRFF", OTHER)))
    assert search.spans == [(1, 2), (1, 2), (4, 5)]


def test_three_values_are_two_changes() -> None:
    assert Search(column("RRRFFFFN")).spans == [(2, 3), (6, 7)]


def test_changes_at_one_place_share_every_measurement() -> None:
    alone, both = (
        Search(column("RRRFFFFF")),
        Search(merged(column("RRRFFFFF"), column("FFFRRRRR", OTHER))),
    )
    assert [step.places for step in alone.log] == [step.places for step in both.log]


def test_gaps_apart_from_each_other_are_halved_in_one_step() -> None:
    search = Search(merged(column("RRFFFFFFFFFFFFFFF"), column("FFFFFFFFFFFFFFRRR", OTHER)))
    assert [step.places for step in search.log] == [(0, 16), (8,), (4, 12), (2, 14), (1, 13)]


def test_a_neighbour_of_a_skipped_place_is_tried() -> None:
    search = Search(column("RRR--FFFF"))
    assert search.changes == (Change(KEY, 2, 5, ("R", "F")),)
    assert {3, 4} <= search.measured.keys()


def test_all_between_skipped_leaves_the_range() -> None:
    assert Search(column("R---F")).changes == (Change(KEY, 0, 4, ("R", "F")),)


def test_ends_that_cannot_be_measured_are_replaced_by_their_neighbours() -> None:
    search = Search(column("--RF-"))
    assert find_ends(5, search.measured) == (2, 3)
    assert search.spans == [(2, 3)]
    assert [step.places for step in search.log] == [(0, 4), (1, 3), (2,)]


def test_nothing_can_be_measured() -> None:
    search = Search(column("----"))
    assert search.changes == ()
    assert find_ends(4, search.measured) == ()
    assert search.measured.keys() == {0, 1, 2, 3}


def test_one_place_alone_is_both_ends() -> None:
    assert find_ends(3, Search(column("-R-")).measured) == (1, 1)


def test_a_key_that_one_place_lacks_is_searched_among_the_others() -> None:
    places: list[Values] = [
        {KEY: "R"},
        {OTHER: "F"},
        {KEY: "R", OTHER: "F"},
        {KEY: "F", OTHER: "F"},
    ]
    assert Search(places).spans == [(2, 3)]


def test_the_changes_of_real_kernels_are_found_in_every_series_of_the_table() -> None:
    table = json.loads((ROOT / "fleetaudit/data/kernel-table.json").read_text("utf-8"))
    groups = dict[tuple[str, str], list[Any]]()
    for build in sorted(table["builds"], key=lambda b: debian_version_key(b["package_version"])):
        series = release_series(build["package_version"])
        groups.setdefault((series, build["flavour"]), []).append(build)
    assert max(map(len, groups.values())) >= 8
    found = 0
    for builds in groups.values():
        endings = [table["endings"][build["endings"]] for build in builds]
        places = [{(name, ""): str(end) for name, end in each.items()} for each in endings]
        search = Search(places)
        assert {*search.changes} <= {*find_changes(dict(enumerate(places)))}
        for name in places[0].keys() & places[-1].keys():
            changed = places[0][name] != places[-1][name]
            assert changed <= any(change.key == name for change in search.changes)
        found += len(search.changes)
        spans = len({*search.spans})
        assert len(search.measured) <= 2 + spans * len(builds).bit_length()
    assert found > 0


@given(st.integers(2, 200), st.data())
def test_one_change_is_found_within_the_bound(number: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, number - 1))
    search = Search(column("R" * at + "F" * (number - at)))
    assert search.spans == [(at - 1, at)]
    assert len(search.measured) <= 2 + math.ceil(math.log2(number - 1))


@given(st.lists(st.text("RFN-", min_size=24, max_size=24), min_size=1, max_size=4))
def test_any_values_give_true_and_narrow_changes(columns: list[str]) -> None:
    keys = [(str(n), "ipv4") for n in range(len(columns))]
    places = merged(*(column(values, key) for values, key in zip(columns, keys, strict=True)))
    search = Search(places)
    for change in search.changes:
        values = columns[keys.index(change.key)]
        assert (values[change.before], values[change.after]) == change.values
        between = range(change.before + 1, change.after)
        assert all(place in search.measured and values[place] == "-" for place in between)
    assert {key for key in keys if _differs(search.measured, key)} <= {
        c.key for c in search.changes
    }


@given(st.lists(st.integers(1, 63), min_size=1, max_size=5))
def test_several_changes_cost_at_most_a_search_each(starts: list[int]) -> None:
    columns = [column("R" * at + "F" * (64 - at), (str(n), "ipv4")) for n, at in enumerate(starts)]
    search = Search(merged(*columns))
    assert sorted(search.spans) == sorted((at - 1, at) for at in starts)
    assert len(search.measured) <= 2 + len({*starts}) * 6


def _differs(measured: Mapping[int, Values], key: tuple[str, str]) -> bool:
    """Returns whether the first and the last known value of a key differ."""
    known = [measured[place][key] for place in sorted(measured) if key in measured[place]]
    return bool(known) and known[0] != known[-1]
