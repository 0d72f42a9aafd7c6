"""Versions of Debian packages are ordered as dpkg orders them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.text.debian_versions import debian_version_key

ORDERED = [
    "6.12~rc3-1",
    "6.12-1",
    "6.12.9-1~bpo12+1",
    "6.12.9-1~deb12u1",
    "6.12.9-1",
    "6.12.9-1+b1",
    "6.12.10-1",
    "6.12.43+deb13-1",
    "1:0-1",
]
VERSIONS = st.text("0123456789.+~:-abZ", max_size=12)


def test_the_versions_of_kernels_are_in_order() -> None:
    shuffled = random.Random(1).sample(ORDERED, len(ORDERED))
    assert sorted(shuffled, key=debian_version_key) == ORDERED


def test_a_missing_revision_is_zero() -> None:
    assert debian_version_key("1.0") == debian_version_key("1.0-0") == debian_version_key("0:1.0")
    assert debian_version_key("1.0-1") > debian_version_key("1.0")


@given(VERSIONS, VERSIONS, VERSIONS)
def test_any_text_has_a_place(one: str, two: str, three: str) -> None:
    ordered = sorted([one, two, three], key=debian_version_key)
    keys = [debian_version_key(version) for version in ordered]
    assert keys[0] <= keys[1] <= keys[2]
    assert keys[0] <= keys[2]


def test_a_number_of_ten_thousand_digits_is_compared() -> None:
    assert debian_version_key("1" * 10_000) < debian_version_key("2" * 10_000)
