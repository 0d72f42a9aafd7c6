"""What the start of fleetaudit costs: CPU of commands that do little else.

    python -m bench.start [ROUNDS]

Prints the median and the least CPU (user and system, in milliseconds, of the process and its
children) of each command. The rounds are interleaved, so that what else runs on the machine meets
all commands equally. Modules are compiled before, as those of an installed package are. `run` of a
host that refuses the connection is what a run over SSH costs before and after its hosts: inventory,
playbook, plan, imports, page.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
REFUSES = "127.0.0.1:1,"
"""An inventory of one host: nothing listens on this port."""
MAIN = "import sys; from fleetaudit.cli import main; main(sys.argv[1:])"
PYTHON = (sys.executable, "-c")
COMMANDS: Mapping[str, Sequence[str]] = {
    "python -S": (sys.executable, "-S", "-c", "0"),
    "python": (*PYTHON, "0"),
    "import click": (*PYTHON, "import click"),
    "fleetaudit --version": (*PYTHON, MAIN, "--version"),
    "fleetaudit nonsense": (*PYTHON, MAIN, "nonsense"),
    "fleetaudit run --nonsense": (*PYTHON, MAIN, "run", "--nonsense"),
    "fleetaudit run (no inventory)": (*PYTHON, MAIN, "run"),
    "fleetaudit --help": (*PYTHON, MAIN, "--help"),
    "fleetaudit scenarios": (*PYTHON, MAIN, "scenarios"),
    "fleetaudit inventory": (*PYTHON, MAIN, "inventory", REFUSES, "--list-hosts"),
    "fleetaudit run --check": (*PYTHON, MAIN, "run", REFUSES, "--check"),
    "fleetaudit run (refused)": (*PYTHON, MAIN, "run", REFUSES, "--retries", "0"),
}


def cpu_ms(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Runs a command and returns its CPU in milliseconds."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    return (usage.ru_utime + usage.ru_stime) * 1000


def environment(folder: Path) -> dict[str, str]:
    """Returns an environment without configuration, in which compiled modules are kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETAUDIT")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    more = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    return kept | more | {"HOME": str(folder)}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = environment(folder)
        for command in COMMANDS.values():
            cpu_ms(command, folder, settings)
        costs: dict[str, list[float]] = {title: [] for title in COMMANDS}
        for _ in range(rounds):
            for title, command in COMMANDS.items():
                costs[title].append(cpu_ms(command, folder, settings))
    print(f"{'CPU in ms':32}{'median':>8}{'least':>8}")
    for title, measured in costs.items():
        print(f"{title:32}{statistics.median(measured):8.1f}{min(measured):8.1f}")


if __name__ == "__main__":
    main()
