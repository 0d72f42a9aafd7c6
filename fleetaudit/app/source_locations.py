"""Where the hosts of a run and its expectations are written, for run.json and for those who
annotate files.

Rules: a file is named relative to the repository (the nearest folder at or above the current one
with a `.git`), or else to the current folder: a run must not reveal the folders of the machine that
made it.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from msgspec.structs import replace

from fleetaudit.model import AuditRun, HostResult, Location, Plan

MAX_NAME = 4096
"""The longest name of a file, in characters."""


def add_locations(run: AuditRun, plan: Plan, folder: Path | None = None) -> AuditRun:
    """Returns the run with the locations of its hosts in the inventory, and of its expectations in
    the playbooks.

    A host of a `host,host,` list has none; the host of an inventory program has the program.
    `folder` is the one in which the files were named, by default the current one.
    """
    files = _SourceFiles(folder or Path.cwd())
    origins = {host.name: host.origin for host in plan.hosts}

    def locate(host: HostResult) -> HostResult:
        return replace(host, location=files.location_of(origins.get(host.name, "")))

    locations = {id_: files.location(*place) for id_, place in plan.lines.items()}
    return replace(run, hosts=tuple(map(locate, run.hosts)), locations=locations)


class _SourceFiles:
    """Makes locations of files as they were named in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        parents = (folder, *folder.parents)
        self._top = next((parent for parent in parents if (parent / ".git").exists()), folder)
        self._relative_name = functools.cache(self._find_relative_name)
        self._exists = functools.cache(self._is_file)

    def location_of(self, origin: str) -> Location | None:
        """Returns the location of “file:line” or “file”; of a program the location of its file.

        None if that is not a file.
        """
        file, _, line = origin.rpartition(":")
        if not line.isdecimal():
            file, line = origin, "1"
        if self._exists(file):
            return self.location(file, int(line))
        program = file.rpartition(" --")[0]
        return self.location(program, 1) if self._exists(program) else None

    def location(self, file: str, line: int) -> Location:
        """Returns the location of a line; lines count from 1."""
        return Location(file=self._relative_name(file), line=max(1, line))

    def _is_file(self, file: str) -> bool:
        """Returns whether a name is that of a file."""
        try:
            return bool(file) and (self._folder / file).is_file()
        except (OSError, ValueError):
            return False

    def _find_relative_name(self, file: str) -> str:
        """Returns the name relative to the repository; a shipped playbook keeps its name."""
        if not self._exists(file):
            return file[:MAX_NAME]
        path = Path(os.path.normpath(self._folder / file))
        name = _relative_to(path, self._top)
        if name is None:
            name = _relative_to(path.resolve(), self._top.resolve()) or path
        return name.as_posix()[:MAX_NAME]


def _relative_to(path: Path, folder: Path) -> Path | None:
    """Returns a path relative to a folder, None if it is elsewhere."""
    if not path.is_relative_to(folder):
        return None
    return path.relative_to(folder)
