"""A virtual environment of its own for the tools that fleetaudit is compared with."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from .lab import ROOT

FOLDER = ROOT / ".cache" / "bench-fleet"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def program(name: str) -> Path:
    return FOLDER / "bin" / name


def missing(*modules: str) -> str:
    """Returns what to do for modules that are not installed, "" if they all are."""
    found = FOLDER.glob("lib/python3*/site-packages/*")
    absent = set(modules) - {path.name for path in found}
    if not absent:
        return ""
    return f"{', '.join(sorted(absent))} is not installed: python -m bench.fleet --install"


def install() -> None:
    """Makes the environment, or brings it up to date; needs a network or a local index."""
    if not program("python").exists():
        venv.create(FOLDER, with_pip=True)
    pip = (program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if subprocess.run([*pip, "--requirement", str(REQUIREMENTS)]).returncode:
        sys.exit("the tools to compare with could not be installed; what is missing is skipped")
