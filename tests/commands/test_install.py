"""The wheel, as a user has it: a fresh environment, another folder, no checkout in sight."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from fleetaudit.probe.native_program import ARCHITECTURES
from tests import ROOT
from tests.support.native import built

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


NATIVE = (
    "from fleetaudit.probe.native_program import ARCHITECTURES, has_native; "
    "print(*filter(has_native, ARCHITECTURES))"
)


def test_the_wheel_has_the_native_probe_for_every_architecture(
    installed: Path, tmp_path: Path
) -> None:
    for architecture in ARCHITECTURES:
        built(architecture)
    assert _output(tmp_path, installed / "python", "-c", NATIVE).split() == [*ARCHITECTURES]
    done(installed / "fleetaudit", "probe", "--native", "x86_64", "-o", tmp_path / "probe")
    assert (tmp_path / "probe").read_bytes().startswith(built())


def _output(folder: Path, *command: str | Path, **environment: str) -> str:
    """Returns what a command prints that must succeed in a folder."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_wheel_of_the_source_archive_audits_with_python_and_names_make_native(
    installed: Path, tmp_path: Path
) -> None:
    """Whoever installs the source archive with pip has no compiler, and needs none."""
    done(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"fleetaudit/probe/native/main.c", "tools/native.py"} <= names
    assert not [name for name in names if "/built/" in name]
    folder = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
    done(*pip, "--target", folder, archive)
    fleetaudit = (installed / "python", "-m", "fleetaudit")
    where = {"PYTHONPATH": str(folder)}
    assert _output(tmp_path, installed / "python", "-c", NATIVE, **where) == "\n"
    _output(tmp_path, *fleetaudit, "run", "localhost,", **where)
    refused = subprocess.run(
        [*fleetaudit, "probe", "--native", "s390x", "-o", "probe"],
        cwd=tmp_path,
        env={**os.environ, **where},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode == 66
    assert refused.stderr.endswith(": make native\n")
    assert not (tmp_path / "probe").exists()


def test_two_clones_build_the_same_wheel(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: it has no .git")
    wheels = [
        _built(tmp_path / "first", "UTC", 0o022),
        _built(tmp_path / "2nd", "Asia/Tokyo", 0o077),
    ]
    assert wheels[0] == wheels[1]


def _built(clone: Path, zone: str, umask: int) -> bytes:
    """Returns a wheel that is built in a new clone, in another time zone and with another umask."""
    environment = {**os.environ, "TZ": zone}
    environment.pop("SOURCE_DATE_EPOCH", None)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", clone / "dist")
    for command in (("git", "clone", "-q", ROOT, clone), (*build, clone)):
        subprocess.run(
            command, check=True, capture_output=True, env=environment, umask=umask, timeout=300
        )
    (wheel,) = (clone / "dist").glob("*.whl")
    return wheel.read_bytes()


def test_the_wheel_has_its_list_of_components(installed: Path) -> None:
    (sbom,) = installed.parent.glob("lib/*/site-packages/fleetaudit-*.dist-info/sboms/*.json")
    assert sbom.read_bytes() == (ROOT / "requirements/sbom.cdx.json").read_bytes()
