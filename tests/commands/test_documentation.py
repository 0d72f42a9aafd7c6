"""The tutorial's commands run, and man accepts the man pages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import reference, tutorial


def test_every_command_of_the_tutorial_runs(tmp_path: Path) -> None:
    blocks = tutorial.BLOCK.findall(tutorial.PAGE.read_text("utf-8"))
    commands = [command for block in blocks for command in tutorial.commands_of(block)]
    assert len(commands) >= 8
    for command in commands:
        done = tutorial.run(command, tmp_path)
        assert done.returncode in (0, 2), f"{command}\n{done.stdout}"


@pytest.mark.skipif(not shutil.which("man") and not os.environ.get("CI"), reason="needs man")
def test_man_has_nothing_to_warn_of(tmp_path: Path) -> None:
    reference.main([str(tmp_path)])
    pages = sorted(tmp_path.glob("*.1"))
    assert len(pages) >= 15
    for page in pages:
        argv = ["man", "--warnings", "-l", str(page)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stderr == "", page.name
        assert "SYNOPSIS" in done.stdout
