"""requirements/: what is installed is pinned by hash, whole, and inside of the bounds of
pyproject.toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import ROOT

LOCKS = {
    "build": ROOT / "requirements/build.txt",
    "run": ROOT / "requirements/run.txt",
    "docs": ROOT / "requirements/docs.txt",
    "test": ROOT / "requirements/test.txt",
    "lowest": ROOT / "requirements/lowest.txt",
    "supply": ROOT / "requirements/supply.txt",
}


def declared() -> dict[str, list[Requirement]]:
    """Returns the requirements of pyproject.toml: for running, building and testing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = {
        "run": project["project"]["dependencies"],
        "build": project["build-system"]["requires"] + project["dependency-groups"]["build"],
        "test": project["project"]["optional-dependencies"]["test"],
        "docs": project["project"]["optional-dependencies"]["docs"],
        "supply": project["dependency-groups"]["supply"],
    }
    return {name: [Requirement(line) for line in lines] for name, lines in lists.items()}


def entries(lock: str) -> Iterator[tuple[Requirement, list[str]]]:
    """Yields each requirement of a lock with its hashes."""
    text = "".join(
        line
        for line in LOCKS[lock].read_text().splitlines(True)
        if not line.strip().startswith("#")
    )
    for line in text.replace("\\\n", "").splitlines():
        requirement, *hashes = line.split(" --hash=")
        yield Requirement(requirement), [one.strip() for one in hashes]


def pins(lock: str) -> dict[str, Version]:
    """Returns the version of each project in a lock."""
    return {
        canonicalize_name(r.name): Version(str(r.specifier).removeprefix("=="))
        for r, _ in entries(lock)
    }


def needed(lock: str) -> list[Requirement]:
    """Returns the direct requirements that a lock has to satisfy."""
    parts = declared()
    alone = {
        "run": parts["run"],
        "build": parts["build"],
        "docs": parts["run"] + parts["docs"],
        "supply": parts["supply"],
    }
    return alone.get(lock) or parts["run"] + parts["build"] + parts["test"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_version_by_hash_and_names_no_place_to_fetch_it_from(lock: str) -> None:
    text = LOCKS[lock].read_text()
    assert not re.search(r"^\s*-|://", text.replace("    --hash=", ""), re.MULTILINE)
    for requirement, hashes in entries(lock):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_the_bounds(lock: str) -> None:
    """Where it does not: `make lock` writes it."""
    locked = pins(lock)
    for requirement in needed(lock):
        version = locked.get(canonicalize_name(requirement.name))
        assert version in requirement.specifier if version else False, (
            f"{requirement}, in the lock: {version}"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_its_entries_need(lock: str) -> None:
    locked = pins(lock)
    for name, version in locked.items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        if Version(installed.version) != version:
            continue  # another lock's, whose needs are not known here
        for requirement in map(Requirement, installed.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            there = locked.get(canonicalize_name(requirement.name))
            assert there in requirement.specifier if there else False, (
                f"{name} needs {requirement}, locked: {there}"
            )


def test_locks_that_are_installed_together_agree() -> None:
    together = pins("test")
    for lock in ("run", "build"):
        assert pins(lock).items() <= together.items()


@pytest.mark.parametrize("name", ["ziglang", "clang-format"])
def test_the_tools_of_the_native_probe_are_one_exact_version(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = {one.name: one for one in map(Requirement, project["dependency-groups"]["native"])}
    assert str(tools[name].specifier) == f"=={pins('test')[name]}"


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    for requirement in (one for part in declared().values() for one in part):
        assert {clause.operator for clause in requirement.specifier} == {">=", "<"}, requirement


def test_the_lowest_versions_are_those_of_the_bounds() -> None:
    locked = pins("lowest")
    for requirement in needed("lowest"):
        (bound,) = [clause.version for clause in requirement.specifier if clause.operator == ">="]
        lowest, version = Version(bound), locked[canonicalize_name(requirement.name)]
        if requirement.name.startswith("types-"):  # the versions of stubs end with a date
            version = Version(".".join(map(str, version.release[: len(lowest.release)])))
        assert version == lowest, f"{requirement}, lowest in use: {version}"
