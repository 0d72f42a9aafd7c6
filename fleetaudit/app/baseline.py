"""Chooses the run that a new one is compared with, and completes a run before it is written:
waivers, dates and drift.

Rules: `last` is the run of the same job that finished last in the output folder (see store/run_search.py);
an interrupted run does not count. A run that a user names is checked before the audit begins, so
that a misspelt name costs no time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import msgspec

from fleetaudit.analysis import drift
from fleetaudit.analysis import waivers as accepting
from fleetaudit.analysis.compare import history_entry
from fleetaudit.errors import FleetauditError
from fleetaudit.model import (
    AuditRun,
    HostResult,
    Inventory,
    RunInfo,
)
from fleetaudit.store.jobs import job_name
from fleetaudit.store.names import name_order
from fleetaudit.store.run_file import read_head, read_run
from fleetaudit.store.run_search import find_runs
from fleetaudit.text.files import expand_home
from fleetaudit.text.yaml_lines import load_yaml

LAST, NONE = "last", "none"
MOST_PAST = 29
"""How many runs before it a run remembers in numbers: a month of nights with it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The folder or file of the run to compare with, and that of the last run, whose dates are
    carried on.
    """

    compared: Path | None = None
    last: Path | None = None

    def runs(self) -> tuple[AuditRun | None, tuple[AuditRun, ...]]:
        """Returns the run to compare with, and the runs that know since when a finding stands,
        newest first.
        """
        compared = read_run(self.compared) if self.compared else None
        if self.last is None or self.last == self.compared:
            return compared, (compared,) if compared else ()
        last = read_run(self.last)
        return compared, (last, compared) if compared else (last,)

    def since_last(self, run: AuditRun) -> drift.Drift | None:
        """Returns what changed in `run` since the last run, None where there is none."""
        if self.last is None:
            return None
        if self.last == self.compared:
            return run.drift
        try:
            last = read_run(self.last)
        except FleetauditError as e:
            return _unknown(self.last, run, str(e))
        return drift.compute_drift(last, run)


def choose_baseline(output: Path, word: str, asked: RunInfo) -> Baseline:
    """Returns what `--baseline` names: `last`, `none`, a run of `output` by its id, or a folder or
    file elsewhere.

    Raises `NothingToDoError` for a run that is missing and `InputError` for a file that is not a
    run. A missing last run is not an error.
    """
    if word == NONE:
        return Baseline()
    last = _last(output, asked)
    if word == LAST:
        return Baseline(compared=last, last=last)
    inside = output / word
    path = inside if len(Path(word).parts) == 1 and inside.exists() else expand_home(word)
    read_head(path)
    return Baseline(compared=path, last=last)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveWaivers:
    """The waivers, and the inventory that tells which hosts they mean."""

    waivers: tuple[accepting.Waiver, ...] = ()
    select: accepting.Select = field(repr=False)

    def apply(self, hosts: Sequence[HostResult], today: date) -> accepting.WaivedRun:
        """Returns `hosts` with their waivers, as `waivers.apply` does."""
        return accepting.apply_waivers(hosts, self.waivers, today, self.select)


def read_waivers(named: str | None, inventory: Inventory) -> ActiveWaivers:
    """Returns the waivers of the file that `--waivers` names, none without one.

    Raises `InputError` for what makes no sense in it, host patterns included, and
    `NothingToDoError` where it is missing.
    """
    from fleetaudit.inventory.patterns import select_hosts

    found = accepting.convert_waivers(load_yaml(expand_home(named))) if named else ()
    accepted = ActiveWaivers(waivers=found, select=lambda pattern: select_hosts(inventory, pattern))
    accepted.apply(
        (), date.min
    )  # so that a wrong pattern is an error before the audit, not after it
    return accepted


def annotate_run(run: AuditRun, baseline: Baseline, accepted: ActiveWaivers) -> AuditRun:
    """Returns `run` with its waivers applied, its findings dated, what changed since the baseline,
    and the runs before.

    The day is that on which the run began.
    """
    today = run.run.started[:10]
    compared, earlier, unreadable = None, tuple[AuditRun, ...](), ""
    try:
        compared, earlier = baseline.runs()
    except FleetauditError as e:  # an old run that is damaged does not cost this one
        unreadable = str(e)
    applied = accepted.apply(run.hosts, date.fromisoformat(today))
    info = msgspec.structs.replace(
        run.run,
        baseline=compared.run.id if compared else None,
        notes=(*run.run.notes, *applied.notes()),
    )
    history = (
        (*earlier[0].history, history_entry(earlier[0]))[-MOST_PAST:]
        if baseline.last and earlier
        else ()
    )
    run = msgspec.structs.replace(
        run, run=info, hosts=drift.set_first_seen(applied.hosts, earlier, today), history=history
    )
    if unreadable and baseline.compared:
        return msgspec.structs.replace(run, drift=_unknown(baseline.compared, run, unreadable))
    return (
        msgspec.structs.replace(run, drift=drift.compute_drift(compared, run)) if compared else run
    )


def _unknown(before: Path, run: AuditRun, why: str) -> drift.Drift:
    """Returns what is known to have changed since a run that cannot be read."""
    now = run.run.started
    return drift.Drift(
        before=before.name,
        after=run.run.id,
        since=now,
        until=now,
        refused=f"it cannot be read: {why}",
    )


def _last(output: Path, asked: RunInfo) -> Path | None:
    runs, job = find_runs(output), job_name(asked)
    of_this_job = (
        run.path for run in runs.finished if job_name(run.info) == job and run.path.name != asked.id
    )
    last = next(of_this_job, None)
    for path, e in runs.unreadable:
        if last is None or name_order(path.name) > name_order(
            last.name
        ):  # it may be the newest one
            _log.warning("passed over as a baseline: %s", e)
    return last
