"""Several runs as one: shards of a fleet, or sites that audit themselves. Pure.

Rules: nothing is dropped and nothing is chosen. A host in two runs is an error that names it,
unless both say the very same of it; so is a scenario that one name gives two meanings.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from fleetaudit.errors import InputError
from fleetaudit.model import (
    AuditRun,
    HostResult,
    RunInfo,
    ScenarioRow,
)
from fleetaudit.store.jobs import job_name
from fleetaudit.text.host_ranges import fold_hosts

T = TypeVar("T", ScenarioRow, HostResult)
Named = Sequence[tuple[Path, AuditRun]]


def merge_runs(runs: Named) -> AuditRun:
    """Returns the runs as one, hosts in the order of the runs; one run stays as it is.

    Raises `InputError` for hosts and scenarios that two runs tell differently. What changed since
    the run before is each run's own and is left out.
    """
    first = runs[0][1]
    if all(run == first for _, run in runs):
        return first
    scenarios = _together(
        [(path, run.scenarios) for path, run in runs], "scenario", "were the playbooks the same?"
    )
    hosts = _together(
        [(path, run.hosts) for path, run in runs],
        "host",
        "leave one of the two runs out, or audit each host in one",
    )
    locations = {id_: place for _, run in reversed(runs) for id_, place in run.locations.items()}
    return AuditRun(
        run=_info([run.run for _, run in runs]),
        scenarios=scenarios,
        hosts=hosts,
        locations=locations,
    )


def _together(parts: Sequence[tuple[Path, Sequence[T]]], kind: str, hint: str) -> tuple[T, ...]:
    found = dict[str, tuple[Path, T]]()
    for path, items in parts:
        differing = [
            item.name for item in items if item.name in found and found[item.name][1] != item
        ]
        if differing:
            names = fold_hosts(differing)
            words = ", ".join(names.ranges) + (f" and {names.more} more" if names.more else "")
            others = ", ".join(dict.fromkeys(str(found[name][0]) for name in differing))
            many = "" if len(differing) == 1 else "s"
            message = f"{kind}{many} {words}: also in {others}, which says otherwise"
            raise InputError(message, source=str(path), hint=hint)
        for item in items:
            found.setdefault(item.name, (path, item))
    return tuple(item for _, item in found.values())


def _info(infos: Sequence[RunInfo]) -> RunInfo:
    """About the runs together: from the first's start to the last's end (RFC 3339 in UTC sorts as
    text).
    """
    limits = [info.limit for info in infos]
    baselines = {info.baseline for info in infos}
    info = RunInfo(
        id="+".join(_distinct(info.id for info in infos)),
        started=min(info.started for info in infos),
        finished=max(info.finished for info in infos),
        fleetaudit=", ".join(_distinct(info.fleetaudit for info in infos)),
        playbooks=_distinct(name for info in infos for name in info.playbooks),
        controller=", ".join(_distinct(info.controller for info in infos)),
        baseline=infos[0].baseline if len(baselines) == 1 else None,
        inventory=_distinct(name for info in infos for name in info.inventory),
        # Patterns side by side select what each selects; one run without a limit had everything of
        # its inventory.
        limit=(
            None
            if None in limits
            else ":".join(_distinct(limit for limit in limits if limit is not None))
        ),
        tags=_of_all([info.tags for info in infos]),
        skip_tags=_of_all([info.skip_tags for info in infos]),
        notes=_distinct(note for info in infos for note in info.notes),
    )
    return replace(info, job=job_name(info))


def _of_all(tags: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the tags of all runs, () if one of the runs had none."""
    return _distinct(itertools.chain(*tags)) if all(tags) else ()


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
