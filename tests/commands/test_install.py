"""The wheel, as a user has it: a fresh environment, another folder, no checkout in sight."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of programs of a fresh environment with nothing but the wheel and the
    versions of the lock.
    """
    folder = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    pip = (folder / "venv/bin/python", "-m", "pip")
    done(*pip, "install", "--quiet", "--require-hashes", "-r", ROOT / "requirements/run.txt")
    done(*pip, "install", "--quiet", "--no-deps", wheel)
    done(*pip, "check")  # what the wheel asks for is what the lock has
    return folder / "venv" / "bin"


def done(*command: str | Path) -> None:
    """Runs a command that must succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_installed_wheel_audits_this_machine_with_the_playbook_inside_it(
    installed: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [installed / "fleetaudit", "run", "localhost,"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads((tmp_path / "reports/latest/run.json").read_text())
    assert [(h["name"], h["status"]) for h in run["hosts"]] == [("localhost", "audited")]
    assert len(run["scenarios"]) > 50
    assert "<html" in (tmp_path / "reports/latest/report.html").read_text()


def test_installed_wheel_knows_its_catalogue_and_its_version(
    installed: Path, tmp_path: Path
) -> None:
    scenarios = subprocess.run(
        [installed / "fleetaudit", "scenarios"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "unread-close" in scenarios.stdout
    version = subprocess.run(
        [installed / "fleetaudit", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert version.stdout.strip()


def test_an_installed_wheel_has_the_python_api_and_its_types(
    installed: Path, tmp_path: Path
) -> None:
    program = (
        "import fleetaudit, importlib.resources as r; "
        "print(r.files('fleetaudit').joinpath('py.typed').is_file(), "
        "len(fleetaudit.load_playbook().plays) > 0)"
    )
    done = subprocess.run(
        [installed / "python", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")
