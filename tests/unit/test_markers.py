"""The fast tests start no program that they are not marked for, so they need nothing but Python."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import PROGRAMS, SLOWEST_FIRST


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_program_is_refused_to_a_test_without_its_marker(program: str) -> None:
    with pytest.raises(RuntimeError, match=f"starts {program}: mark it {PROGRAMS[program]}"):
        subprocess.run([program, "--version"], check=False)
    with pytest.raises(RuntimeError, match=f"starts {program}: mark it {PROGRAMS[program]}"):
        subprocess.run([f"/usr/bin/{program}", "--version"], check=False)


def test_another_python_is_refused_to_a_test_without_a_marker() -> None:
    with pytest.raises(RuntimeError, match="mark it commands, or probe"):
        subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.commands
def test_a_marked_test_may_start_another_python() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0


def test_every_marker_is_left_out_of_the_fast_tests(pytestconfig: pytest.Config) -> None:
    declared = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert set(SLOWEST_FIRST) <= declared
    makefile = (pytestconfig.rootpath / "Makefile").read_text("utf-8")
    (fast,) = [line for line in makefile.splitlines() if line.startswith("FAST_ARGS")]
    assert f'"not ({" or ".join(sorted(SLOWEST_FIRST))})"' in fast
