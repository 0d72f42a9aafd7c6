"""Many hosts as a few ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.text.host_ranges import fold_hosts


@pytest.mark.parametrize(
    ("names", "ranges"),
    [
        ([f"web{i:03}" for i in range(1, 241)], ("web[001-240]",)),
        (["web09", "web10", "web12"], ("web[09-10,12]",)),
        (["db1", "db2", "db10"], ("db[1-2,10]",)),
        (["web01.dc1", "web02.dc1", "web01.dc2"], ("web[01-02].dc1", "web01.dc2")),
        (["10.0.0.9", "10.0.0.10", "10.0.1.9"], ("10.0.0.[9-10]", "10.0.1.9")),
        (["bastion", "a-b"], ("bastion", "a-b")),
        ([], ()),
    ],
)
def test_hosts_are_folded_into_ranges(names: list[str], ranges: tuple[str, ...]) -> None:
    folded = fold_hosts(names)
    assert (folded.ranges, folded.count, folded.more) == (ranges, len(names), 0)


@given(st.lists(st.text(max_size=12), max_size=60, unique=True))
def test_folding_never_loses_a_host(names: list[str]) -> None:
    folded = fold_hosts(names, limit=5)
    assert folded.count == len(names)
    assert 0 <= folded.more <= max(0, len(names) - 1) or not names
