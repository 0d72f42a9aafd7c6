"""The run that a new one is compared with; and what depends on it: waivers, dates, drift, history.

Rules: `last` is the run of the same job that finished last in the output folder; an interrupted run
does not count. A run that a user names is checked before the audit begins, so that a misspelt name
costs no time. An old run that is damaged does not cost the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fleetaudit.analysis.compare import history_entry
from fleetaudit.analysis.drift import compute_drift, set_first_seen
from fleetaudit.analysis.waivers import Select, WaivedRun, Waiver, apply_waivers, convert_waivers
from fleetaudit.errors import FleetauditError
from fleetaudit.log import get_logger
from fleetaudit.model import (
    AuditRun,
    Drift,
    HostResult,
    Inventory,
    PastRun,
    RunInfo,
)
from fleetaudit.store.jobs import job_name
from fleetaudit.store.names import name_order
from fleetaudit.store.part_reader import Interner
from fleetaudit.store.run_file import read_head, read_run
from fleetaudit.store.run_search import find_runs
from fleetaudit.text.files import expand_home
from fleetaudit.text.yaml_lines import load_yaml

LAST, NONE = "last", "none"
MAX_HISTORY = 29
"""The most earlier runs of which a run has the counts: a month of nights with the run itself."""

_log = get_logger(__name__)


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The folder or file of the run to compare with, and of the last run, whose dates continue.

    Both are the same path unless the user names another run to compare with; None is no such run.
    """

    compared: Path | None = None
    last: Path | None = None

    def read(self) -> EarlierRuns:
        """Reads both runs, a path that is both only once; raises as `read_run`."""
        interner = Interner()
        runs = {path: read_run(path, interner) for path in self.paths}
        compared = None
        if self.compared:
            compared = runs[self.compared]
        return EarlierRuns(compared, tuple(runs.values()))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Returns the paths of the runs that there are, the last run first."""
        return tuple(filter(None, (self.last, self.compared)))

    def since_last(self, run: AuditRun) -> Drift | None:
        """Returns what changed in `run` since the last run, None if there is no last run.

        A last run that cannot be read is no error: the drift then says why it is unknown.
        """
        if self.last is None:
            return None
        if self.last == self.compared:
            return run.drift
        try:
            last = read_run(self.last)
        except FleetauditError as e:
            return _unknown_drift(self.last, run, e)
        return compute_drift(last, run)


class EarlierRuns(msgspec.Struct, frozen=True):
    """The run to compare with, and the runs that date findings, the newest first."""

    compared: AuditRun | None = None
    dated: tuple[AuditRun, ...] = ()


def choose_baseline(output: Path, name: str, info: RunInfo) -> Baseline:
    """Returns the baseline of the run `info`: `last`, `none`, a run of `output` by its id, or a
    folder or file elsewhere.

    `name` is the value of --baseline; a run of `output` takes precedence over a file of the same
    name. Raises `NothingToDoError` for a run that is missing, `InputError` for what is not a run.
    That there is no last run is no error.
    """
    if name == NONE:
        return Baseline()
    last = _find_last(output, info)
    if name == LAST:
        return Baseline(compared=last, last=last)
    stored = output / name
    is_stored = len(Path(name).parts) == 1 and stored.exists()
    path = stored if is_stored else expand_home(name)
    read_head(path)
    return Baseline(compared=path, last=last)


def _find_last(output: Path, info: RunInfo) -> Path | None:
    """Returns the last finished run of the job of `info`, except `info` itself.

    A run that cannot be read is logged if it may be a later one.
    """
    runs, job = find_runs(output), job_name(info)
    others = (run for run in runs.finished if run.path.name != info.id)
    last = next((run.path for run in others if job_name(run.info) == job), None)
    for path, error in runs.unreadable:
        if last is None or name_order(path.name) > name_order(last.name):
            _log.warning("not used as a baseline: %s", error)
    return last


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveWaivers:
    """The waivers, and the function that selects the hosts of a pattern."""

    waivers: tuple[Waiver, ...] = ()
    select: Select = field(repr=False)

    def apply(self, hosts: Sequence[HostResult], today: date) -> WaivedRun:
        """Returns `hosts` with their waivers, as `apply_waivers` does.

        `today` is the day of the run in UTC; a waiver that expired before it excuses nothing.
        Raises `InputError` for an invalid host pattern.
        """
        return apply_waivers(hosts, self.waivers, today, self.select)


def read_waivers(named: str | None, inventory: Inventory) -> ActiveWaivers:
    """Returns the waivers of the file that `--waivers` names, none without one.

    Raises `InputError` for what makes no sense in it, host patterns included, and
    `NothingToDoError` if it is missing.
    """
    from fleetaudit.inventory.patterns import select_hosts

    waivers: tuple[Waiver, ...] = ()
    if named:
        waivers = convert_waivers(load_yaml(expand_home(named)))
    active = ActiveWaivers(waivers=waivers, select=lambda pattern: select_hosts(inventory, pattern))
    # A pattern that makes no sense is an error before the audit, not after it.
    active.apply((), date.min)
    return active


def annotate_run(run: AuditRun, baseline: Baseline, waivers: ActiveWaivers) -> AuditRun:
    """Returns `run` with its waivers applied, its findings dated, what changed since the baseline,
    and the counts of earlier runs.

    Waivers apply as of the day on which the run began. An earlier run that cannot be read is no
    error: the run then has no history, and its drift says why it is unknown.
    """
    today = run.run.started[:10]
    earlier, error = EarlierRuns(), None
    try:
        earlier = baseline.read()
    except FleetauditError as e:
        error = e
    waived = waivers.apply(run.hosts, date.fromisoformat(today))
    compared = earlier.compared
    info = replace(run.run, baseline=None, notes=(*run.run.notes, *waived.notes()))
    if compared:
        info = replace(info, baseline=compared.run.id)
    run = replace(
        run,
        run=info,
        hosts=set_first_seen(waived.hosts, earlier.dated, today),
        history=_history(earlier.dated) if baseline.last else (),
    )
    if error is not None and baseline.compared:
        return replace(run, drift=_unknown_drift(baseline.compared, run, error))
    if compared:
        return replace(run, drift=compute_drift(compared, run))
    return run


def _history(earlier: Sequence[AuditRun]) -> tuple[PastRun, ...]:
    """Returns the counts of the earlier runs of the job, the last run at the end."""
    if not earlier:
        return ()
    last = earlier[0]
    return (*last.history, history_entry(last))[-MAX_HISTORY:]


def _unknown_drift(before: Path, run: AuditRun, error: FleetauditError) -> Drift:
    """Returns the drift since a run that cannot be read."""
    now = run.run.started
    return Drift(
        before=before.name,
        after=run.run.id,
        since=now,
        until=now,
        refused=f"it cannot be read: {error}",
    )
