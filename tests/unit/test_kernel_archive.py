"""tools/kernel_archive.py: which packages of the lists have a kernel, and which of them twice."""

from __future__ import annotations

import pytest

from tools.kernel_archive import kernel_packages


def packages_of(*rows: tuple[str, str, str, str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Returns name, flavour and suites of what is found in rows of suite, name, version, source."""
    stanzas = [
        (suite, {"Package": name, "Version": version, "Source": source, "Architecture": "amd64"})
        for suite, name, version, source in rows
    ]
    return [(p.name, p.flavour, p.suites) for p in kernel_packages(stanzas)]


@pytest.mark.parametrize(
    ("name", "flavour"),
    [
        ("linux-image-6.12.43+deb13-cloud-amd64", "cloud-amd64"),
        ("linux-image-6.1.0-0.deb11.48-rt-amd64", "rt-amd64"),
        ("linux-image-5.10.0-30-amd64", "amd64"),
        ("linux-binary-7.2.13+deb14-arm64-16k", "arm64-16k"),
        ("linux-image-6.1.0-47-armmp-lpae", "armmp-lpae"),
        ("linux-image-6.1.0-47-powerpc64le", "powerpc64le"),
        ("linux-image-6.1.0-57-amd64-unsigned", "amd64"),
    ],
)
def test_the_flavour_is_the_end_of_the_release(name: str, flavour: str) -> None:
    (found,) = packages_of(("trixie", name, "6.12.43-1", "linux"))
    assert found == (name, flavour, ("trixie",))


@pytest.mark.parametrize(
    "name",
    [
        "linux-image-6.1-amd64",
        "linux-image-6.1-amd64-signed-template",
        "linux-image-6.12.43+deb13-amd64-dbg",
    ],
)
def test_packages_without_a_kernel_are_left_out(name: str) -> None:
    assert packages_of(("trixie", name, "6.1.180-1", "linux")) == []


def test_a_release_candidate_is_no_package_that_depends_on_the_newest() -> None:
    name = "linux-binary-7.3-amd64"
    (found,) = packages_of(("experimental", name, "7.3~rc7-1~exp1", "linux"))
    assert found[0] == name


def test_one_kernel_in_two_packages_or_suites_is_there_once() -> None:
    signed = "linux-image-6.19.6+deb13-amd64"
    found = packages_of(
        ("trixie-backports", signed, "6.19.6-2", "linux-signed-amd64 (6.19.6+2)"),
        ("trixie-backports", f"{signed}-unsigned", "6.19.6-2", "linux"),
        ("sid", signed, "6.19.6-2", "linux-signed-amd64 (6.19.6+2)"),
        ("sid", signed, "6.19.6-3", "linux-signed-amd64 (6.19.6+3)"),
    )
    assert found == [
        (signed, "amd64", ("trixie-backports", "sid")),
        (signed, "amd64", ("sid",)),
    ]


def test_a_package_that_only_depends_on_the_one_with_the_kernel_is_left_out() -> None:
    rows = [
        ("sid", f"linux-{kind}-7.2.13+deb14-amd64", "7.2.13-1", "linux")
        for kind in ("image", "binary")
    ]
    assert [name for name, _, _ in packages_of(*rows)] == ["linux-binary-7.2.13+deb14-amd64"]
