"""Kernel releases: their order, and many as a few ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.text.kernel_releases import fold_releases, release_key, release_series

FORTY = [f"{major}.{minor}.{patch}" for major in (5, 6) for minor in (4, 10) for patch in range(10)]


@pytest.mark.parametrize(
    ("releases", "others", "parts"),
    [
        ([], [], ()),
        (["6.1.0-49"], [], ("6.1.0-49",)),
        (["6.1.9", "6.1.10"], [], ("6.1.9", "6.1.10")),
        (
            ["6.12.117", "5.10.0-46", "7.3.4", "6.18.44"],
            ["6.12.43"],
            ("5.10.0-46", "6.12.117 to 7.3.4"),
        ),
        (
            ["5.10.0-10", "5.10.0-9", "5.10.0-11"],
            [],
            ("5.10.0-9 to 5.10.0-11",),
        ),  # by number, in whatever order
        (["6.1", "6.2", "6.3", "6.4"], ["6.2.1"], ("6.1", "6.2", "6.3", "6.4")),
        # Distribution kernels of one base number: another flavour, another build, the vanilla one.
        (
            ["6.1.0-49-amd64", "6.1.0-50-amd64", "6.1.0-51-amd64"],
            ["6.1.0-50-cloud-amd64"],
            ("6.1.0-49-amd64", "6.1.0-50-amd64", "6.1.0-51-amd64"),
        ),
        (
            ["4.18.0-553.el8", "4.18.0-80.el8", "4.18.0-193.el8"],
            [],
            ("4.18.0-80.el8 to 4.18.0-553.el8",),
        ),
        (["6.12-rc1", "6.12-rc2", "6.12"], ["6.12-rc3"], ("6.12-rc1", "6.12-rc2", "6.12")),
        # The same release in two builds, which end differently.
        (["6.1", "6.2", "6.3"], ["6.2"], ("6.1", "6.2", "6.3")),
        (
            ["6.1", "6.2", "6.3", "custom"],
            [],
            ("custom to 6.3",),
        ),  # a release without a number comes first
        (FORTY, [], ("5.4.0 to 6.10.9",)),
        (FORTY[:17] + FORTY[18:], FORTY[17:18], ("5.4.0 to 5.10.6", "5.10.8 to 6.10.9")),
        (FORTY[::2], FORTY[1::2], tuple(FORTY[::2])),
    ],
)
def test_releases_are_folded_and_never_over_another_release(
    releases: list[str], others: list[str], parts: tuple[str, ...]
) -> None:
    assert fold_releases(releases, others) == parts
    assert fold_releases(reversed(releases), reversed(others)) == parts


@given(
    st.lists(
        st.tuples(st.from_regex(r"[56]\.[0-9]\.[0-9]{1,2}", fullmatch=True), st.booleans()),
        max_size=40,
    )
)
def test_a_range_of_releases_contains_its_own_releases_and_no_other(
    fleet: list[tuple[str, bool]],
) -> None:
    mine, others = {r for r, own in fleet if own}, {r for r, own in fleet if not own}
    ordered = sorted(mine | others, key=lambda r: (release_key(r), r))
    held = list[str]()
    for part in fold_releases(mine, others):
        first, _, last = part.partition(" to ")
        held += ordered[ordered.index(first) : ordered.index(last or first) + 1]
    assert held == [r for r in ordered if r in mine]


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_releases_can_be_ordered(a: str, b: str) -> None:
    assert (release_key(a) < release_key(b)) or (release_key(a) >= release_key(b))
    assert release_series(a) == "" or a.startswith(release_series(a))
