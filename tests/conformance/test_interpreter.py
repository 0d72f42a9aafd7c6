"""Which Python runs on a host: the one that Ansible uses, wherever Ansible gets an answer."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Workspace

pytestmark = pytest.mark.commands
NAMED = {
    "path": "FOLDER/python",
    "blank": "FOLDER/my python/python",
    "template": "{{ folder }}/python",
    "bare": "our-own-python",
    "gone": "FOLDER/no/python",
    "quoted": "'FOLDER/python'",
    "broken": "FOLDER/broken",
}
ONLY_OURS = {"words": "/usr/bin/env FOLDER/python"}
"""What older versions of Ansible take, and this one does not."""


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """Returns a folder with Pythons that say in a file that they were called, and an inventory that
    names them.
    """
    place = Workspace(tmp_path)
    (tmp_path / "my python").mkdir()
    for name in ("python", "my python/python", "our-own-python"):
        place.write(
            name, f'#!/bin/sh\necho "$0" >>"{tmp_path}/used"\nexec {sys.executable} "$@"\n'
        ).chmod(0o755)
    place.write("broken", "#!/bin/sh\nexit 3\n").chmod(0o755)
    hosts = {
        name: {"ansible_python_interpreter": value.replace("FOLDER", str(tmp_path))}
        for name, value in {**NAMED, **ONLY_OURS}.items()
    }
    shared = {"ansible_connection": "local", "folder": str(tmp_path)}
    place.write("inventory.json", json.dumps({"all": {"vars": shared, "hosts": hosts}}))
    return place


def used(place: Workspace) -> set[str]:
    """Returns which of our Pythons were called since the last time."""
    path = place.path / "used"
    names = set(path.read_text().splitlines()) if path.exists() else set()
    path.unlink(missing_ok=True)
    return names


def test_the_python_that_ansible_uses_is_the_one_that_answers(place: Workspace) -> None:
    python = os.environ.get("FLEETAUDIT_ANSIBLE_PYTHON") or sys.executable
    if python == sys.executable and not importlib.util.find_spec("ansible"):
        pytest.skip(
            "ansible-core is not installed (or name a Python that has it in"
            " FLEETAUDIT_ANSIBLE_PYTHON)"
        )
    place.write("empty.cfg", "")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_CONFIG": str(place.path / "empty.cfg"),
        "HOME": str(place.path),
        "LC_ALL": "C.UTF-8",
    }
    environment["PATH"] = f"{place.path}:{environment['PATH']}"
    for name in (*NAMED, *ONLY_OURS):
        words = [
            python,
            "-m",
            "ansible",
            "adhoc",
            "-i",
            "inventory.json",
            name,
            "-m",
            "ansible.builtin.ping",
        ]
        theirs = subprocess.run(
            words, cwd=place.path, env=environment, capture_output=True, text=True, timeout=300
        )
        by_ansible = used(place) if theirs.returncode == 0 else set()
        ours = place.run(
            "doctor", "inventory.json", "-l", name, "--format", "json", PATH=environment["PATH"]
        )
        assert ours.returncode == 0, ours.stdout + ours.stderr
        by_us = used(place)
        if name in ONLY_OURS:
            assert (by_ansible, by_us) == (set(), {str(place.path / "python")}), name
        else:
            assert by_us == by_ansible, name
        note = "does not work" in ours.stdout
        assert note is (not by_us), name
    assert shutil.which("our-own-python") is None
