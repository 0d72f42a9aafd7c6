"""With settings that change nothing, Ansible reads the same inventory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetaudit.app.planning import read_inventory
from fleetaudit.inventory.printing import render_list
from tests.unit.inventory.test_unsupported_settings import (
    CHANGES_NOTHING,
    here,
    source_of,
    write,
)

__all__ = ["here"]

READ_ALIKE = [
    "mappings merge, and there are none",
    "an order of groups without variables",
    "patterns where no folder is read",
    "a folder without what is skipped",
    "plug-ins with the one for INI",
    "Ansible's own plug-ins by their long names",
]


@pytest.mark.parametrize("case", READ_ALIKE)
def test_with_a_setting_that_changes_nothing_ansible_reads_the_same(case: str, here: Path) -> None:
    if not importlib.util.find_spec("ansible"):
        pytest.skip("ansible-core is not installed")
    text, files, _ = CHANGES_NOTHING[case]
    write({"ansible.cfg": text, **files})
    command = [sys.executable, "-m", "ansible", "inventory", "-i", source_of(files), "--list"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here).stdout
    inventory = read_inventory((source_of(files),), None).inventory
    assert json.loads(
        render_list(inventory, [host.name for host in inventory.hosts])
    ) == json.loads(theirs)
