"""Tests of tests/unit start no program and have no marker, so they need nothing but Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.conftest import (
    FOLDERS,
    NEEDS,
    PROGRAMS,
    SLOWEST_FIRST,
)


@pytest.mark.parametrize("program", [*sorted(PROGRAMS), "true"])
def test_tests_of_this_folder_may_start_no_program(program: str) -> None:
    with pytest.raises(RuntimeError, match=f"starts {program}: move it out of tests/unit"):
        subprocess.run([program, "--version"], check=False)
    with pytest.raises(RuntimeError, match=f"starts {program}: move it out of tests/unit"):
        subprocess.run([f"/usr/bin/{program}", "--version"], check=False)


def test_tests_of_this_folder_may_not_start_another_python() -> None:
    with pytest.raises(RuntimeError, match="move it out of tests/unit"):
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_make_fast_runs_this_folder(pytestconfig: pytest.Config) -> None:
    makefile = (pytestconfig.rootpath / "Makefile").read_text("utf-8")
    (fast,) = [line for line in makefile.splitlines() if line.startswith("FAST_ARGS")]
    assert fast.split()[-1] == "tests/unit"
    assert " -m " not in fast


def test_every_marker_is_declared_and_has_its_place_in_the_order(
    pytestconfig: pytest.Config,
) -> None:
    declared = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert set(SLOWEST_FIRST) <= declared
    assert {*FOLDERS.values(), *NEEDS.values(), *PROGRAMS.values()} <= set(SLOWEST_FIRST)


def test_every_folder_with_tests_brings_a_marker_and_this_one_brings_none() -> None:
    tests = ROOT / "tests"
    folders = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}
    assert folders == {*FOLDERS, Path(__file__).parent.name}
