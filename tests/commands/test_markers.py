"""A test starts only programs that it is marked for; in this folder: `commands`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import PROGRAMS


@pytest.mark.parametrize("program", [p for p in sorted(PROGRAMS) if PROGRAMS[p] != "commands"])
def test_a_program_is_refused_to_a_test_without_its_marker(program: str) -> None:
    with pytest.raises(RuntimeError, match=f"starts {program}: mark it {PROGRAMS[program]}"):
        subprocess.run([program, "--version"], check=False)
    with pytest.raises(RuntimeError, match=f"starts {program}: mark it {PROGRAMS[program]}"):
        subprocess.run([f"/usr/bin/{program}", "--version"], check=False)


def test_a_test_of_this_folder_may_start_another_python() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0
