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

from fleetaudit.model import AuditRun, Location, Plan

_LONGEST = 4096


def add_locations(run: AuditRun, plan: Plan, here: Path | None = None) -> AuditRun:
    """Returns the run with the locations of its hosts in the inventory, and of its expectations in
    the playbooks.

    A host of a `host,host,` list has none. `here` is the folder in which their files were named, by
    default the current one.
    """
    place = _Places(here or Path.cwd())
    origins = {host.name: host.origin for host in plan.hosts}
    hosts = tuple(
        replace(host, location=place.of_origin(origins.get(host.name, ""))) for host in run.hosts
    )
    expectations = {id_: place.of(source, line) for id_, (source, line) in plan.lines.items()}
    return replace(run, hosts=hosts, locations=expectations)


class _Places:
    """Makes locations of names of files as they were typed."""

    def __init__(self, here: Path) -> None:
        self._here = here
        self._top = next(
            (folder for folder in (here, *here.parents) if (folder / ".git").exists()), here
        )
        self._relative = functools.cache(self._named)

    def of_origin(self, origin: str) -> Location | None:
        """Returns the location of “file:line” or “file”, None if that is not a file; of a program
        its file.
        """
        file, _, line = origin.rpartition(":")
        if not line.isdecimal():
            file, line = origin, "1"
        program = file.rpartition(" --")[0]
        if not self._exists(file) and program:
            file, line = program, "1"
        return self.of(file, int(line)) if self._exists(file) else None

    def of(self, file: str, line: int) -> Location:
        return Location(file=self._relative(file), line=max(1, line))

    def _exists(self, file: str) -> bool:
        try:
            return bool(file) and (self._here / file).is_file()
        except (OSError, ValueError):
            return False

    def _named(self, file: str) -> str:
        if not self._exists(file):  # a shipped playbook has its name
            return file[:_LONGEST]
        path = Path(os.path.normpath(self._here / file))
        for one, top in ((path, self._top), (path.resolve(), self._top.resolve())):
            if one.is_relative_to(top):
                return one.relative_to(top).as_posix()[:_LONGEST]
        return path.as_posix()[:_LONGEST]
