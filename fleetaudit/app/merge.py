"""Merges several runs into one: shards of a fleet, or sites that audit themselves.

Rules: no host is dropped. A host in two runs is an error that names it, unless both runs have the
same result for it; so is a scenario that differs between two runs. Shards of one plan come in the
order of its inventory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from fleetaudit.errors import InputError
from fleetaudit.model import AuditRun, HostResult, Location, RunInfo, ScenarioRow
from fleetaudit.store.jobs import job_name
from fleetaudit.text.host_ranges import fold_hosts

from .kernel_table import add_known_kernels

T = TypeVar("T", ScenarioRow, HostResult)
NamedRuns = Sequence[tuple[Path, AuditRun]]


def merge_runs(runs: NamedRuns) -> AuditRun:
    """Returns the runs as one; one run stays as it is.

    The hosts are in the order of the inventory if all runs are shards of one plan, else in the
    order of the runs. Each run comes with the path that messages name it by; there is at least one.
    What changed since an earlier run belongs to each run and is left out. An expectation that two
    runs locate differently keeps the location of the first. What is known of the kernels comes from
    the table of this version. Raises `InputError` for hosts and
    scenarios that differ between two runs.
    """
    first = runs[0][1]
    if all(run == first for _, run in runs):
        return first
    scenarios = _merge_items(
        [(path, run.scenarios) for path, run in runs], "scenario", "were the playbooks the same?"
    )
    hosts = _merge_items(
        [(path, run.hosts) for path, run in runs],
        "host",
        "leave one of the two runs out, or audit each host in one",
    )
    infos = [run.run for _, run in runs]
    positions = _merge_positions([run for _, run in runs])
    if positions:
        hosts = tuple(sorted(hosts, key=lambda host: positions[host.name]))
    merged = AuditRun(
        run=_merge_infos(infos),
        scenarios=scenarios,
        hosts=hosts,
        locations=_merge_locations(run for _, run in reversed(runs)),
        positions=_positions_of_part(sorted(positions.values())),
    )
    return add_known_kernels(merged)


def _merge_positions(runs: Sequence[AuditRun]) -> dict[str, int]:
    """Returns the position of each host in the plan of which all runs are shards, {} without one.

    Runs of an earlier version have no positions.
    """
    plans = {(run.run.inventory, run.run.limit, run.run.playbooks) for run in runs}
    positions = dict[str, int]()
    for run in runs:
        names = [host.name for host in run.hosts]
        if len(run.positions) != len(names):
            return {}
        positions.update(zip(names, run.positions, strict=True))
    is_one_plan = len(plans) == 1 and len(set(positions.values())) == len(positions)
    return positions if is_one_plan else {}


def _positions_of_part(positions: Sequence[int]) -> tuple[int, ...]:
    """Returns the sorted positions of the hosts of a run, () if it has the whole plan.

    If shards at the end of a plan are missing, nothing shows it, and the order is right as well.
    """
    if list(positions) == list(range(len(positions))):
        return ()
    return tuple(positions)


def _merge_locations(runs: Iterable[AuditRun]) -> dict[str, Location]:
    """Returns the locations of the expectations; those of a later run take precedence."""
    locations = dict[str, Location]()
    for run in runs:
        locations.update(run.locations)
    return locations


def refuse_repeated_hosts(runs: NamedRuns) -> None:
    """Raises `InputError` for a host that is in two runs, even with the same result.

    Each run comes with the path that messages name it by.
    """
    seen = dict[str, Path]()
    for path, run in runs:
        if repeated := [host.name for host in run.hosts if host.name in seen]:
            raise InputError(
                f"also in {seen[repeated[0]]}: {', '.join(fold_hosts(repeated).ranges)}",
                source=str(path),
                hint="leave one of the two out, or audit each host once",
            )
        seen.update((host.name, path) for host in run.hosts)


def _merge_items(parts: Sequence[tuple[Path, Sequence[T]]], kind: str, hint: str) -> tuple[T, ...]:
    """Returns the items of all parts, each once, where it was first.

    Each part has the path that messages name it by. `kind` is "host" or "scenario", and `hint`
    what to do about two items of one name. Raises `InputError` for two that differ.
    """
    merged = dict[str, tuple[Path, T]]()
    for path, items in parts:
        others = _differing(items, merged)
        if others:
            names = _describe_names(kind, list(others))
            files = ", ".join(dict.fromkeys(map(str, others.values())))
            raise InputError(
                f"{names}: also in {files}, with different content", source=str(path), hint=hint
            )
        for item in items:
            merged.setdefault(item.name, (path, item))
    return tuple(item for _, item in merged.values())


def _differing(items: Iterable[T], merged: Mapping[str, tuple[Path, T]]) -> dict[str, Path]:
    """Returns the names of the items of which another one is merged already, with its path.

    An item that is equal to the merged one is not among them: it counts once.
    """
    differing = dict[str, Path]()
    for item in items:
        path, other = merged.get(item.name, (None, None))
        if path and item != other:
            differing[item.name] = path
    return differing


def _describe_names(kind: str, names: Sequence[str]) -> str:
    """Returns "host web1" or "hosts web[1-3] and 4 more"."""
    folded = fold_hosts(names)
    text = f"{kind}s {', '.join(folded.ranges)}"
    if len(names) == 1:
        text = f"{kind} {', '.join(folded.ranges)}"
    if folded.more:
        text += f" and {folded.more} more"
    return text


def _merge_infos(infos: Sequence[RunInfo]) -> RunInfo:
    """Returns the description of the runs together, from the first start to the last end.

    RFC 3339 in UTC sorts as text.
    """
    info = RunInfo(
        id="+".join(_distinct_values(infos, "id")),
        started=min(_distinct_values(infos, "started")),
        finished=max(_distinct_values(infos, "finished")),
        fleetaudit=", ".join(_distinct_values(infos, "fleetaudit")),
        playbooks=_distinct_items(infos, "playbooks"),
        controller=", ".join(_distinct_values(infos, "controller")),
        baseline=_common_value(infos, "baseline", None),
        inventory=_distinct_items(infos, "inventory"),
        limit=_merge_limits(infos),
        tags=_merge_tags(infos, "tags"),
        skip_tags=_merge_tags(infos, "skip_tags"),
        notes=_distinct_items(infos, "notes"),
        command=_common_value(infos, "command", UNSET),
    )
    return replace(info, job=job_name(info))


def _merge_limits(infos: Sequence[RunInfo]) -> str | None:
    """Returns the pattern that selects what each run selected.

    A run without a limit had every host of its inventory.
    """
    limits = _distinct_values(infos, "limit")
    return None if None in limits else ":".join(limits)


def _merge_tags(infos: Sequence[RunInfo], field: str) -> tuple[str, ...]:
    """Returns the tags of all runs, () if one of the runs had none."""
    if not all(map(attrgetter(field), infos)):
        return ()
    return _distinct_items(infos, field)


def _common_value(infos: Sequence[RunInfo], field: str, otherwise: Any) -> Any:
    """Returns the value of a field that all runs share, `otherwise` if they do not."""
    values = _distinct_values(infos, field)
    return values[0] if len(values) == 1 else otherwise


def _distinct_values(infos: Sequence[RunInfo], field: str) -> tuple[Any, ...]:
    """Returns the values of a field, each once, in the order of the runs."""
    return tuple(dict.fromkeys(map(attrgetter(field), infos)))


def _distinct_items(infos: Sequence[RunInfo], field: str) -> tuple[str, ...]:
    """Returns the items of a field that is a sequence, each once, in the order of the runs."""
    return tuple(dict.fromkeys(itertools.chain.from_iterable(map(attrgetter(field), infos))))
