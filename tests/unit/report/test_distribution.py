"""The bar of the values of a sysctl: lengths add up, and texts stand where there is room."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from fleetaudit.analysis.compare.view_model import KERNEL_DEFAULT, SysctlValue, SysctlView
from fleetaudit.report.distribution import LEAST, Distribution, draw_distribution
from fleetaudit.text.host_ranges import HostRanges


def value(text: str, hosts: int, relation: str = KERNEL_DEFAULT) -> SysctlValue:
    """Returns a value on so many hosts."""
    return msgspec.convert(
        {
            "value": text,
            "relation": relation,
            "verdict": "not run",
            "used": "",
            "label": text,
            "hosts": HostRanges(count=hosts, ranges=()),
        },
        SysctlValue,
    )


def view(*values: SysctlValue, omitted: int = 0, omitted_hosts: int = 0) -> SysctlView:
    """Returns a sysctl with these values."""
    return msgspec.convert(
        {
            "anchor": "sysctl-1",
            "key": "net.x",
            "why": "varies",
            "by_memory": False,
            "expected": "",
            "values": values,
            "omitted": omitted,
            "omitted_hosts": omitted_hosts,
            "usual_row": 0,
        },
        SysctlView,
    )


def drawn(sysctl: SysctlView) -> Distribution:
    """Returns the bar of a sysctl that varies."""
    found = draw_distribution(sysctl)
    assert found
    return found


def test_a_sysctl_with_one_value_has_no_bar() -> None:
    assert draw_distribution(view(value("60", 9))) is None


@pytest.mark.parametrize("counts", [(1, 1), (9999, 1), (5, 3, 2), (1,) * 12, (10**6, 1, 1)])
def test_parts_follow_each_other_and_fill_the_bar(counts: tuple[int, ...]) -> None:
    parts = drawn(view(*(value(str(i), n) for i, n in enumerate(counts)))).parts
    assert parts[0].x == 0
    assert 99 <= parts[-1].end <= 100
    for one, after in pairwise(parts):
        assert one.end < after.x
        assert one.width >= LEAST / 2
    if len(counts) == 2:
        assert parts[0].width >= parts[1].width


def test_a_text_stands_only_where_there_is_room_for_all_of_it() -> None:
    parts = drawn(view(value("60", 99), value("120", 1, "changed; …"))).parts
    assert [part.label for part in parts] == ["60", ""]
    assert [part.kind for part in parts] == ["default", "changed"]


def test_values_that_are_not_listed_share_the_last_part() -> None:
    parts = drawn(view(value("60", 50), omitted=7, omitted_hosts=50)).parts
    assert (parts[1].kind, parts[1].label) == ("rest", "7 other values")
    assert abs(parts[0].width - parts[1].width) < 0.1


@pytest.mark.parametrize(
    ("counts", "anchor"), [((99, 1), "middle"), ((1, 99), "start"), ((99, 1, 99), "middle")]
)
def test_the_words_of_the_default_stay_inside_of_the_bar(
    counts: tuple[int, ...], anchor: str
) -> None:
    values = [value(str(i), n, "default unknown") for i, n in enumerate(counts)]
    values[0] = value("0", counts[0])
    mark = drawn(view(*values)).mark
    assert mark
    assert (mark.anchor, len(mark.lines)) == (anchor, 1)
    assert 0 <= mark.x <= 100


def test_the_words_of_a_default_at_the_end_end_there() -> None:
    bar = drawn(view(value("1", 99, "default unknown"), value("2", 1)))
    assert bar.mark
    assert (bar.mark.anchor, bar.mark.x) == ("end", bar.parts[1].end)


def test_without_a_known_default_nothing_is_marked() -> None:
    bar = drawn(view(value("1", 1, "default unknown"), value("2", 1, "default unknown")))
    assert bar.mark is None
    assert {part.kind for part in bar.parts} == {"unknown"}
