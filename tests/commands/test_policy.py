"""`fleetaudit policy make`: what it prints, and its errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleetaudit.store.disk import write_atomically
from fleetaudit.store.run_file import encode_run
from tests.support.runs import small_fleet
from tests.unit.analysis.test_policy import policy


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "fleetaudit", "policy", "make", *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=300)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return write_atomically(tmp_path / "run.json", encode_run(small_fleet()))


def test_the_command_writes_to_the_screen_or_to_a_file(kept: Path, tmp_path: Path) -> None:
    shown = command(kept, "app01")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == policy(small_fleet(), "app01")
    written = command(kept, "app01", "-o", tmp_path / "policy.yml")
    assert (written.returncode, written.stdout) == (0, "")
    assert (tmp_path / "policy.yml").read_text("utf-8") == shown.stdout
    most = command(kept, "--majority")
    assert "The behaviour of most of " in most.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 64, "name a host of the run, or use --majority"),
        (["app01", "--majority"], 64, "name a host of the run, or use --majority"),
        (["app99"], 66, "no host “app99”"),
        (["db2.example.net"], 66, "proves nothing"),
        (["bastion"], 66, "was not audited"),
    ],
)
def test_the_command_says_what_is_wrong(
    kept: Path, arguments: list[str], status: int, said: str
) -> None:
    done = command(kept, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
