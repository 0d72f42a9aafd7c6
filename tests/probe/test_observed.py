"""A playbook of what was observed, run on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Workspace
from tests.unit.analysis.test_observed import PLAY


@pytest.mark.commands
def test_it_runs_and_the_status_is_0(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.write("own.yml", PLAY)
    done = place.run("run", "localhost,", "-p", "own.yml", "--baseline", "none")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Close, and see what comes (watched-close, IPv4" in done.stdout
    listed = place.run("scenarios", "-p", "own.yml")
    assert "  no expectation\n" in listed.stdout
    explained = place.run("explain", "reports/latest", "localhost", "watched-close")
    assert "RST in 3 trials; no expectation" in explained.stdout, explained.stderr
