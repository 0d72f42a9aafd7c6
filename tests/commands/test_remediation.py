"""The commands that a report recommends run on a real system."""

from __future__ import annotations

import subprocess

import pytest

from fleetaudit.analysis.remediation import EXPOSURE_REMEDIES


def test_the_command_that_shows_unread_sockets_is_one_that_runs() -> None:
    command = EXPOSURE_REMEDIES["unread_sockets"].partition("“")[2].partition("”")[0]
    assert command.startswith("ss -Htnp")
    try:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=300)
    except FileNotFoundError:  # pragma: no cover
        pytest.skip("no sh")
    if done.returncode == 127 or "not found" in done.stderr:
        pytest.skip(f"not installed: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
