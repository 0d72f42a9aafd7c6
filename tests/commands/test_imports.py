"""What a command imports: nothing heavy before it has something to do.

Time is measured by bench/start.py; here the imported modules are compared, which no load changes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetaudit.cli import fleetaudit
from tests import ROOT
from tests.support.commands import Workspace

pytestmark = pytest.mark.commands

LIBRARIES = {"cryptography", "jinja2", "msgspec", "paramiko", "rich", "yaml"}
STANDARD = {"asyncio", "dataclasses", "email", "http", "logging", "multiprocessing", "pathlib",
            "socket", "ssl", "subprocess"}  # fmt: skip
"""Modules of the standard library whose import takes milliseconds."""

PROGRAM = """
import json, sys
from fleetaudit.cli import run_command_line
status = run_command_line(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""


def imported(folder: Path, *arguments: str, program: str = PROGRAM) -> tuple[int, set[str]]:
    """Returns the exit status of a command, and the modules that `program` prints: those that are
    imported when it ends.

    -S: nothing is imported that only the installation of a package needs.
    """
    paths = [str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout, done.stderr
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["run", "--help"],
        ["doctor", "--help"],
        ["run", "--nonsense"],
        ["run", "--forks", "many"],
        ["run"],
        ["doctor"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_quick_answers_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    status, modules = imported(tmp_path, *arguments)
    is_help = arguments[-1] in ("--version", "--help")
    assert status == (0 if is_help else 64)
    assert not modules & (LIBRARIES | STANDARD)


@pytest.mark.parametrize("verb", ["", *fleetaudit.commands])
def test_help_imports_no_library_but_click(tmp_path: Path, verb: str) -> None:
    status, modules = imported(tmp_path, *filter(None, (verb, "--help")))
    assert status == 0
    assert "click" in modules
    assert not modules & LIBRARIES


def test_a_command_imports_no_module_of_another(tmp_path: Path) -> None:
    _, modules = imported(tmp_path, "run", "--nonsense")
    commands = {f"fleetaudit.cli.{verb}" for verb in fleetaudit.commands}
    assert modules & commands == {"fleetaudit.cli.run"}


UNUSED = {"asyncio", "http", "invoke", "multiprocessing", "rich", "ssl", "unittest"}
"""What no run without a terminal needs; paramiko alone would import most of it."""


@pytest.mark.parametrize(("client", "imports_paramiko"), [("paramiko", True), ("openssh", False)])
def test_a_run_over_ssh_imports_its_client_only(
    tmp_path: Path, client: str, imports_paramiko: bool
) -> None:
    words = ("run", "127.0.0.1:1,", "--retries", "0", "--transport", client)
    status, modules = imported(tmp_path, *words)
    assert status == 4
    assert ("paramiko" in modules) == imports_paramiko
    assert not modules & UNUSED


DURING = """
import json, sys
from fleetaudit.cli import run_command_line
from fleetaudit.engine.attempts import HostAuditor
audit, imported = HostAuditor.audit, []
def noting(self, host):
    before = set(sys.modules)
    try:
        return audit(self, host)
    finally:
        imported.extend(sorted(set(sys.modules) - before))
HostAuditor.audit = noting
status = run_command_line(sys.argv[1:])
print(json.dumps([status, imported]))
"""


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1:1,", 4), ("localhost,", 0)])
def test_nothing_of_ours_is_imported_while_a_host_is_audited(
    tmp_path: Path, host: str, expected: int
) -> None:
    """An import that fails there would cost a host, and would count as its time."""
    Workspace(tmp_path)  # writes the playbook
    words = ("run", host, "-p", "quick.yml", "--retries", "0")
    status, modules = imported(tmp_path, *words, program=DURING)
    assert status == expected
    assert not {name for name in modules if name.split(".")[0] not in sys.stdlib_module_names}
