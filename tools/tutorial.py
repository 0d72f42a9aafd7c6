"""Runs the commands of docs/tutorial.md in order, and writes what they print below them.

    python -m tools.tutorial        rewrites the outputs in docs/tutorial.md

A block that begins with ```console holds commands (after "$ ") and their outputs. All of them run
in one temporary folder, with the `fleetaudit` of this Python's environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ [^\n]*<<'END'\n.*?^END$|^\$ [^\n]*$", re.MULTILINE | re.DOTALL)


def commands_of(block: str) -> Iterator[str]:
    """Yields the commands of a block without "$ ", a here document with its text."""
    for found in COMMAND.finditer(block):
        yield found[0].removeprefix("$ ")


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs one command line of the tutorial in a folder, with both outputs in one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(folder), "COLUMNS": "80"}
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )


def rewritten(page: str, output_of: Callable[[str], str]) -> str:
    """Returns the page with the output of each command below it."""

    def block(found: re.Match[str]) -> str:
        parts = [f"$ {command}\n{output_of(command)}" for command in commands_of(found[1])]
        return f"```console\n{''.join(parts)}```"

    return BLOCK.sub(block, page)


def main() -> int:
    """Rewrites the page; the exit status is 1 if a command ends with more than a finding (2)."""
    failed = []
    with tempfile.TemporaryDirectory() as name:

        def output_of(command: str) -> str:
            done = run(command, Path(name))
            if done.returncode not in (0, 2):
                failed.append(command)
            return done.stdout.replace(str(Path(sys.executable).parent), "/home/me/.venv/bin")

        PAGE.write_text(rewritten(PAGE.read_text("utf-8"), output_of), "utf-8")
    print("\n".join([f"failed: {command}" for command in failed] or [str(PAGE)]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
