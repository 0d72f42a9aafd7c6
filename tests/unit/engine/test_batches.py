"""Sizes of batches, as Ansible means them, and when too many hosts of one have failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.engine.batches import BatchSize, FailureLimit, parse_serial, split


@pytest.mark.parametrize(
    ("text", "hosts", "expected"),
    [
        ("1", 3, [1, 1, 1]),
        ("2", 5, [2, 2, 1]),
        ("10", 3, [3]),
        ("1,5,10", 30, [1, 5, 10, 10, 4]),
        ("30%", 10, [3, 3, 3, 1]),
        ("10%", 3, [1, 1, 1]),
        ("10%,20%,100%", 10, [1, 2, 7]),
        ("1, 50%", 9, [1, 4, 4]),
        ("100%", 7, [7]),
        ("1", 0, []),
    ],
)
def test_batches_have_the_sizes_that_ansible_gives_them(
    text: str, hosts: int, expected: list[int]
) -> None:
    batches = split(range(hosts), parse_serial(text))
    assert [len(batch) for batch in batches] == expected


def test_without_sizes_all_hosts_are_one_batch() -> None:
    assert split(range(5), ()) == [range(5)]
    assert split(range(0), ()) == []


SIZES = st.builds(BatchSize, st.integers(1, 100), st.booleans())


@given(hosts=st.integers(0, 300), sizes=st.lists(SIZES, max_size=5))
def test_every_host_is_in_one_batch_in_its_order(hosts: int, sizes: list[BatchSize]) -> None:
    batches = split(range(hosts), sizes)
    assert [host for batch in batches for host in batch] == list(range(hosts))
    assert all(batches)


@pytest.mark.parametrize(
    "text", ["", "0", "0%", "101%", "-1", "1.5", "ten", "1,,2", "%", "5 %", "1" * 10, "1," * 100]
)
def test_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number of hosts|at most 100"):
        parse_serial(text)


@pytest.mark.parametrize(
    ("percentage", "size", "allowed"),
    [(0, 10, 0), (20, 10, 2), (25, 10, 2), (30, 10, 3), (49, 2, 0), (50, 2, 1), (100, 3, 3)],
)
def test_the_limit_is_exceeded_by_more_than_the_percentage(
    percentage: float, size: int, allowed: int
) -> None:
    limit = FailureLimit(percentage)
    for _ in range(2):  # each batch counts for itself
        limit.begin_batch(size)
        exceeded = [limit.count_failure() for _ in range(size)]
        assert exceeded == [failed > allowed for failed in range(1, size + 1)]


def test_without_a_percentage_all_may_fail() -> None:
    limit = FailureLimit(None)
    limit.begin_batch(1)
    assert not limit.count_failure()
