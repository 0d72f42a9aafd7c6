"""The words that complete a command line: runs, hosts and scenarios of the output folder.

Rules: it reads the output folder and connects to nothing. What cannot be read completes nothing: an
error message would appear in the middle of the line that somebody types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from fleetaudit.errors import FleetauditError
from fleetaudit.store.names import LATEST_LINK
from fleetaudit.store.run_file import read_host_names, read_hosts
from fleetaudit.store.run_search import run_names

from .history import list_jobs
from .planning import read_playbooks

T = TypeVar("T")


def list_run_names(output: Path) -> list[str]:
    """Returns the runs of an output folder, the newest first after "latest".

    A folder that is missing or cannot be read has none.
    """
    try:
        names = sorted(run_names(output), reverse=True)
    except (OSError, FleetauditError):
        names = []
    if (output / LATEST_LINK).exists():
        names.insert(0, LATEST_LINK)
    return names


def list_job_names(output: Path) -> tuple[str, ...]:
    """Returns the jobs of an output folder, that of `latest` first; none of one that cannot be
    read.
    """
    return _read(list_jobs, output) or ()


def list_hosts(run_path: Path | None) -> list[str]:
    """Returns the hosts of a run in its order, none without a run that can be read."""
    return _read(read_host_names, run_path) or []


def scenario_titles(run_path: Path | None) -> dict[str, str]:
    """Returns the titles of the scenarios of a run by their names, none without a readable run."""
    run = _read(lambda path: read_hosts(path, ()), run_path)
    if run is None:
        return {}
    return {row.name: row.title for row in run.scenarios}


def playbook_titles(playbooks: Sequence[str]) -> dict[str, str]:
    """Returns the titles of the scenarios of playbooks, none if these cannot be read.

    `playbooks` are paths or names of shipped ones, () for the default one.
    """
    try:
        found = read_playbooks(playbooks)
    except (OSError, FleetauditError):
        return {}
    plays = chain.from_iterable(playbook.plays for playbook in found)
    scenarios = chain.from_iterable(play.scenarios for play in plays)
    return {scenario.name: scenario.title for scenario in scenarios}


def _read(read: Callable[[Path], T], run_path: Path | None) -> T | None:
    """Returns what is read of a run, None if it cannot be read."""
    if run_path is None:
        return None
    try:
        return read(run_path)
    except (OSError, FleetauditError):
        return None
