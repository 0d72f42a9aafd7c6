"""Builds the library that makes calls fail."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.sshd import require

SOURCE = Path(__file__).with_name("faults.c")
KILL, SHORT, JUMP, STOP = -1, -2, -3, -4
"""Actions of `faults_arm` that are no errno."""


@cache
def build() -> Path:
    """Returns the compiled library; skips the test where there is no C compiler."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    library = folder / "faults.so"
    command = [*_compiler(), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=600)
    return library


def _compiler() -> list[str]:
    """Returns the compiler of the system, or that of the wheel ziglang if it is installed."""
    if not shutil.which("cc") and importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    require("cc")
    return ["cc"]
