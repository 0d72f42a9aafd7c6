"""Sysctls that differ only as the memory of their hosts does are no difference between hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis.compare import compare, summarize_changes
from fleetaudit.analysis.compare.view_model import SysctlView
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.analysis.memory_sysctls import part_without_memory
from fleetaudit.model import Finding, Sysctl
from tests.support.runs import K612, Fleet, run_of

MEM, RMEM, WMEM = "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"
BACKLOG, ORPHANS = "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_max_orphans"


@pytest.mark.parametrize(
    ("key", "value", "rest"),
    [
        (MEM, "1 2 3", ""),
        (MEM, "absent", "absent"),
        ("net.ipv4.udp_mem", "1 2 3", ""),
        (RMEM, "4096 131072 6291456", "4096 131072"),
        (RMEM, "4096 131072 33554432", "4096 131072"),
        (RMEM, "4096 131072 33554433", "4096 131072 33554433"),
        (WMEM, "4096 16384 4194304", "4096 16384"),
        (WMEM, "4096 16384 8388608", "4096 16384 8388608"),
        (WMEM, "4096 16384", "4096 16384"),
        (WMEM, "4096 16384 x", "4096 16384 x"),
        (WMEM, "4096 16384 -1", "4096 16384 -1"),
        (WMEM, "1 2 " + "9" * 5000, "1 2 " + "9" * 5000),
        (WMEM, "1 2 ²", "1 2 ²"),
        ("net.core.rmem_max", "212992", "212992"),
    ],
)
def test_the_part_of_a_value_that_no_memory_explains(key: str, value: str, rest: str) -> None:
    assert part_without_memory(key, value) == rest


def view(key: str, *values: Sysctl, **changed: Any) -> SysctlView:
    """Returns the view of a sysctl with these values; the first host is `changed`."""
    hosts = [Fleet().host(f"h{i}", K612, sysctls={key: value}) for i, value in enumerate(values)]
    hosts[0] = msgspec.structs.replace(hosts[0], **changed)
    (found,) = (sysctl for sysctl in compare(run_of(hosts)).sysctls if sysctl.key == key)
    return found


def of(text: str, default: str | None = None) -> Sysctl:
    """Returns a sysctl with this value."""
    return Sysctl(value=text, default=default)


@pytest.mark.parametrize(
    ("key", "values", "by_memory"),
    [
        (MEM, (of("1 2 3"), of("4 5 6")), True),
        (ORPHANS, (of("4096"), of("8192")), True),
        (RMEM, (of("4096 131072 6291456"), of("4096 131072 5000000")), True),
        # The first two numbers are the same for every memory.
        (RMEM, (of("4096 131072 6291456"), of("8192 131072 6291456")), False),
        (WMEM, (of("4096 16384 4194304"), of("4096 16384 16777216")), False),
        (BACKLOG, (of("256", "256"), of("512", "512")), True),
        # This host's own kernel has another default.
        (BACKLOG, (of("256", "256"), of("4096", "512")), False),
        ("net.core.rmem_max", (of("212992"), of("4194304")), False),
        (MEM, (of("1 2 3"), Sysctl(state="absent")), False),
    ],
)
def test_values_differ_by_memory_only_if_nothing_else_explains_them(
    key: str, values: tuple[Sysctl, ...], by_memory: bool
) -> None:
    assert view(key, *values).by_memory is by_memory


@pytest.mark.parametrize(
    ("places", "by_memory"),
    [(None, True), ({}, True), ({MEM: ("/etc/sysctl.d/a.conf:1",)}, False)],
)
def test_a_value_that_a_file_sets_is_a_difference(
    places: Mapping[str, Any] | None, by_memory: bool
) -> None:
    assert view(MEM, of("1 2 3"), of("4 5 6"), sysctl_places=places).by_memory is by_memory


def test_an_expected_value_is_a_difference() -> None:
    finding = Finding(
        id=f"sysctl:{MEM}",
        severity="warning",
        expected="4 5 6",
        observed="1 2 3",
        because="",
        fix="",
    )
    assert not view(MEM, of("1 2 3"), of("4 5 6"), findings=(finding,)).by_memory


def counted(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[tuple[int, str], ...]:
    """Returns how the changes of the sysctls of one host are counted."""
    runs = [
        run_of(
            [Fleet().host("web1", K612, sysctls={key: of(text) for key, text in values.items()})]
        )
        for values in (before, after)
    ]
    return summarize_changes(compute_drift(*runs)).counts


@pytest.mark.parametrize(
    ("before", "after", "texts"),
    [
        ({MEM: "1 2 3"}, {MEM: "4 5 6"}, ["with another value that follows from the memory"]),
        ({"net.core.somaxconn": "128"}, {"net.core.somaxconn": "4096"}, ["changed"]),
        ({WMEM: "4096 16384 4194304"}, {WMEM: "4096 16384 9000000"}, ["changed"]),
        (
            {MEM: "1 2 3", WMEM: "1 2 3"},
            {MEM: "4 5 6", WMEM: "2 2 3"},
            ["changed", "with another value that follows from the memory"],
        ),
        ({MEM: "1 2 3"}, {MEM: "1 2 3"}, []),
    ],
)
def test_what_the_memory_explains_is_not_counted_among_the_changes(
    before: Mapping[str, str], after: Mapping[str, str], texts: list[str]
) -> None:
    assert counted(before, after) == tuple((1, text) for text in texts)
