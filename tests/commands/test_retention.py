"""A folder that cannot be removed costs no run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleetaudit.store.retention import RetentionPolicy, prune
from fleetaudit.store.run_file import read_run
from tests.unit.store.test_retention import FILES, NOW, add
from tests.unit.store.test_run_folder import a_run


def test_a_folder_that_cannot_be_removed_keeps_its_name_and_its_run(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a file that may not be removed")
    old = add(tmp_path, 90)
    add(tmp_path, 1)
    import subprocess

    report = tmp_path / old / "report.html"
    if subprocess.run(["chattr", "+i", report], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system with immutable files (chattr +i)")
    try:
        done = prune(tmp_path, RetentionPolicy(days=30), now=NOW, files=FILES)
    finally:
        subprocess.run(["chattr", "-i", report], check=True)
    assert done.removed == ()
    assert done.kept[0].startswith(f"{old}: it cannot be removed")
    assert read_run(tmp_path / old) == a_run("a")
