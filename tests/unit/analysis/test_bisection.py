"""Kernels in their order, what is known of each, and the result for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis.bisection import (
    Bisection,
    Followed,
    bisection_of,
    describe_unknown,
    encode,
    measured_of,
    result_of,
)
from fleetaudit.analysis.bisection.model import ListedKernel
from fleetaudit.analysis.bisection.order import describe_kernel, order_kernels, series_of
from fleetaudit.model import Audited, Kernel, NotAudited, Observation
from fleetaudit.report.bisect_text import bisection_text
from fleetaudit.store.bisection_state import KernelResult

HEADER = "{0} (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian {1} (2026-01-02)"
OLD, NEW = "RST", "FIN"


def kernel(release: str, version: str = "", *, package: str = "", file: str = "") -> ListedKernel:
    """Returns a kernel whose header names its release, and the version of its package if any."""
    header = HEADER.format(release, version) if version else f"{release} (me@here) #1 SMP"
    name = file or f"vmlinuz-{release}-{version}"
    return describe_kernel(name, f"sha of {name}", header, package, "x86_64")


def labels(*kernels: ListedKernel) -> list[str]:
    return [one.label for one in order_kernels(kernels).kernels]


def test_packages_are_ordered_by_their_versions_and_not_by_their_releases() -> None:
    kernels = [
        kernel("6.12.90+deb13-amd64", "6.12.90-1"),
        kernel("6.12.9+deb13-amd64", "6.12.9-1"),
        kernel("6.12.90+deb12-amd64", "6.12.90-1~bpo12+1"),
        kernel("6.12+deb13-amd64", "6.12~rc7-1~exp1"),
    ]
    assert [label.split("(")[1] for label in labels(*kernels)] == [
        "6.12~rc7-1~exp1)",
        "6.12.9-1)",
        "6.12.90-1~bpo12+1)",
        "6.12.90-1)",
    ]
    assert order_kernels(kernels).order == "package version"


def test_images_without_a_package_are_ordered_by_release_all_of_them() -> None:
    kernels = [
        kernel("6.12.10"),
        kernel("6.12.9", "6.12.99-1"),
        kernel("6.12-rc3"),
        kernel("6.12.0"),
    ]
    assert labels(*kernels) == ["6.12-rc3", "6.12.0", "6.12.9 (6.12.99-1)", "6.12.10"]
    assert order_kernels(kernels).order == "release"


def test_the_version_of_the_package_file_takes_precedence() -> None:
    assert (
        kernel("6.8.0-45-generic", package="6.8.0-45.45").label == "6.8.0-45-generic (6.8.0-45.45)"
    )


@pytest.mark.parametrize(
    ("release", "package", "series"),
    [("6.12.43+deb12-amd64", "", "6.12"), ("", "7.3~rc7-1", "7.3"), ("mine", "", "")],
)
def test_the_series_of_a_kernel(release: str, package: str, series: str) -> None:
    assert series_of(kernel(release, package=package)) == series


def test_what_the_order_leaves_open_is_noted() -> None:
    same = kernel("6.1.9-amd64", "6.1.9-1", file="copy")
    first = msgspec.structs.replace(same, file="first")
    other = kernel("6.1.9-cloud-amd64", "6.1.9-1")
    ordered = order_kernels([first, same, other])
    assert len(ordered.kernels) == 2
    repeated, tie, flavours = ordered.notes
    assert repeated == "copy: the same image as first; it is booted once"
    assert "have the same package version" in tie
    assert "(amd64, cloud-amd64)" in flavours


def test_kernels_with_equal_names_are_named_by_their_files() -> None:
    two = [kernel("6.1.9", file="a"), kernel("6.1.9", file="b")]
    assert labels(*two) == ["6.1.9 [a]", "6.1.9 [b]"]
    assert order_kernels([kernel("6.1.1-rc3"), kernel("6.1.2")]).notes == ()


def audited(*observations: Observation, void: str = "") -> Audited:
    release = Kernel(release="6.1.9", version="#1", machine="x86_64")
    return Audited(
        name="k", kernel=release, isolation="namespace", observations=observations, void=void
    )


def observation(
    ending: Any, *, reason: str = "", endings: dict[str, int] | None = None
) -> Observation:
    return Observation(
        scenario="close",
        family="ipv4",
        ending=ending,
        trials=2,
        endings=endings or {},
        reason=reason,
    )


def test_only_an_ending_that_is_known_counts() -> None:
    assert result_of(audited(observation("RST"))).endings == {"close/ipv4": "RST"}
    for ending in ("inconclusive", "not run", "sent, not delivered"):
        result = result_of(audited(observation(ending, reason="why")))
        assert (result.endings, result.unknown) == ({}, {"close/ipv4": f"{ending}: why"})
    mixed = result_of(audited(observation("RST", endings={"RST": 1, "FIN": 1})))
    assert mixed.unknown == {"close/ipv4": "the trials disagree: FIN, RST"}


def test_a_kernel_that_is_void_or_not_audited_is_known_by_its_reason_only() -> None:
    void = result_of(audited(observation("RST"), void="the control failed"))
    assert (void.status, void.reason, void.endings) == ("audited", "the control failed", {})
    failed = NotAudited(name="k", stage="connect", kind="guest did not boot", reason="r", hint="h")
    assert result_of(failed) == KernelResult(
        status="not audited", stage="connect", kind="guest did not boot", reason="r", hint="h"
    )


def test_scenarios_and_families_are_followed_by_name() -> None:
    key, other = ("close", "ipv4"), ("close", "ipv6")
    assert Followed().includes(key)
    assert Followed(names=("close",)).includes(other)
    assert Followed(names=("close/ipv4",)).includes(key)
    assert not Followed(names=("close/ipv4",)).includes(other)
    assert not Followed(names=("other",)).includes(key)
    assert not Followed(family="ipv6").includes(key)


KERNELS = order_kernels([kernel(f"6.1.{n}") for n in range(1, 6)])


def known(**endings: str) -> KernelResult:
    """Returns a result; close_ipv4="RST" is the ending of close/ipv4."""
    return KernelResult(
        status="audited", endings={key.replace("_", "/"): end for key, end in endings.items()}
    )


FAILED = KernelResult(
    status="not audited", stage="connect", reason="it panicked", hint="qemu-system-x86_64 x"
)


def found(*results: KernelResult | None, followed: Followed | None = None) -> Bisection:
    """Returns what results show, None for a kernel that was not booted."""
    by_image = {
        kernel.sha256: result
        for kernel, result in zip(KERNELS.kernels, results, strict=True)
        if result is not None
    }
    return bisection_of(
        KERNELS, by_image, followed or Followed(), titles={"close": "A title"}, fleetaudit="0"
    )


BOTH = {"close_ipv4": OLD, "close_ipv6": OLD, "same_ipv4": OLD}


def test_neighbours_are_a_complete_answer() -> None:
    new = known(close_ipv4=NEW, close_ipv6=NEW, same_ipv4=OLD)
    bisection = found(known(**BOTH), known(**BOTH), new, None, new)
    assert bisection.complete
    assert bisection.compared == 3
    assert bisection.booted == 4
    assert [(c.family, c.before, c.after) for c in bisection.changes] == [
        ("ipv4", "6.1.2", "6.1.3"),
        ("ipv6", "6.1.2", "6.1.3"),
    ]
    text = bisection_text(bisection, width=100)
    assert "Between 6.1.2 and 6.1.3:\n  close (IPv4 and IPv6): RST → FIN\n" in text
    assert "1 other ending is equal in the oldest and the newest kernel." in text


def test_a_range_says_which_kernels_are_left_and_why() -> None:
    unknown = KernelResult(status="audited", unknown={"close/ipv4": "inconclusive: odd"})
    bisection = found(known(close_ipv4=OLD), FAILED, unknown, known(close_ipv4=NEW), None)
    assert not bisection.complete
    assert [skip.reason for skip in bisection.changes[0].skipped] == [
        "it panicked",
        "inconclusive: odd",
    ]
    text = bisection_text(bisection, width=120)
    assert "The first kernel with the new ending is one of these: 6.1.2, 6.1.3, 6.1.4." in text
    assert "6.1.2: not audited: it panicked\n  next:  qemu-system-x86_64 x\n" in text


def test_equal_ends_do_not_exclude_a_change_between_them() -> None:
    bisection = found(known(close_ipv4=OLD), None, None, None, known(close_ipv4=OLD))
    assert bisection.complete
    text = bisection_text(bisection, width=200)
    assert "Nothing changed between 6.1.1 and 6.1.5: 1 ending compared." in text
    assert "changed back in between is not seen" in text


def test_an_ending_that_is_unknown_at_an_end_is_counted_and_not_called_equal() -> None:
    odd = KernelResult(
        status="audited", endings={"close/ipv4": OLD}, unknown={"odd/ipv4": "inconclusive"}
    )
    bisection = found(odd, None, None, None, known(close_ipv4=OLD, odd_ipv4=NEW))
    assert (bisection.compared, bisection.unknown) == (1, 1)
    text = bisection_text(bisection, width=200)
    assert "1 ending could not be compared: not run or inconclusive in the oldest or the" in text
    assert found(odd, odd, odd, odd, odd, followed=Followed(names=("close",))).unknown == 0


def test_why_nothing_that_is_followed_is_known() -> None:
    odd = KernelResult(status="audited", unknown={"other/ipv4": "x", "odd/ipv4": "inconclusive"})
    assert describe_unknown(odd, Followed(names=("odd",))) == "odd/ipv4: inconclusive"
    assert describe_unknown(odd, Followed(names=("no",))) == "nothing that is followed ran"
    assert describe_unknown(known(close_ipv4=OLD), Followed()) == ""
    bisection = found(odd, odd, odd, odd, odd, followed=Followed(names=("odd",)))
    assert not bisection.complete
    text = bisection_text(bisection, width=100)
    assert "6.1.1: no ending is known: odd/ipv4: inconclusive\n" in text


@pytest.mark.parametrize("last", [FAILED, known(close_ipv4=OLD)])
def test_without_two_kernels_to_compare_nothing_is_known(last: KernelResult) -> None:
    bisection = found(FAILED, FAILED, FAILED, FAILED, last)
    assert (bisection.complete, bisection.oldest, bisection.newest) == (False, None, None)
    assert "No two of the kernels can be compared" in bisection_text(bisection, width=100)


def test_a_scenario_that_is_not_followed_changes_nothing() -> None:
    one, two = known(close_ipv4=OLD, same_ipv4=OLD), known(close_ipv4=NEW, same_ipv4=OLD)
    bisection = found(one, None, None, None, two, followed=Followed(names=("same",)))
    assert (bisection.changes, bisection.compared) == ((), 1)
    empty = measured_of(KERNELS.kernels, {}, Followed())
    assert empty == {}


def test_the_text_of_a_kernel_never_reaches_the_terminal_as_it_is() -> None:
    evil = KernelResult(status="not audited", reason="\x1b[2J", hint="\x1b]0;x\x07")
    assert "\x1b" not in bisection_text(found(evil, evil, evil, evil, evil), width=80)
    assert b"\x1b" not in encode(found(evil, evil, evil, evil, evil))


def test_json_has_the_format_and_every_kernel() -> None:
    read = json.loads(encode(found(known(close_ipv4=OLD), None, None, None, known(close_ipv4=OLD))))
    assert read["format"] == "fleetaudit-bisect/1"
    assert [k["status"] for k in read["kernels"]] == ["audited", *["not booted"] * 3, "audited"]
