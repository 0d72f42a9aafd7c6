"""The Python API: what `import fleetaudit` offers.

Rules: no function prints, asks for a password, writes a file or changes signal handlers. What is
wrong with an argument or a file is a `FleetauditError`; what is wrong with a host is its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetaudit.analysis.compare import Comparison
from fleetaudit.analysis.compare import compare as compare_run
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.engine import EngineSettings, StopRequest
from fleetaudit.errors import UsageError
from fleetaudit.model import AuditRun, Drift, HostResult, Playbook
from fleetaudit.playbook import load_playbook as read_playbook
from fleetaudit.report import registry
from fleetaudit.store.deduplication import share_evidence
from fleetaudit.store.run_file import read_run
from fleetaudit.text.files import expand_home

from . import clock
from .audit import AuditControl, audit_plan, judge_run
from .command_line import CommandLine
from .diff import diff_runs
from .merge import merge_runs
from .planning import (
    HostSelection,
    LoadedInventory,
    build_plan,
    make_run_info,
    read_inventory,
    scenario_rows,
)

StrPath = str | Path


def load_inventory(
    *sources: StrPath,
    vault_password_file: StrPath | None = None,
    extra_vars: Mapping[str, str] | None = None,
    no_exec: bool = False,
) -> LoadedInventory:
    """Reads Ansible inventories, and the ansible.cfg that applies to them.

    A source is a file, a folder, a program, or a list of hosts with a comma in it ("localhost,");
    all sources together are one inventory, a later one winning. Relative names start at the
    current folder, "~" is the home folder.

    `vault_password_file` decrypts files and values of ansible-vault; by default the one of
    ansible.cfg does. `extra_vars` are variables of every host that take precedence over its own,
    as -e of Ansible. With `no_exec` a program is refused; `ConnectionOptions.no_exec` refuses those
    that the audit would start.

    Raises `UsageError` without a source, `NothingToDoError` for a file that is missing,
    `InputError` with file and line for what is wrong or not supported in an inventory or in
    ansible.cfg, and `ConfigError` for an ANSIBLE_CONFIG or a vault password that cannot be used.
    """
    if not sources:
        raise UsageError('load_inventory: name an inventory, such as load_inventory("localhost,")')
    password_file = None
    if vault_password_file is not None:
        password_file = str(vault_password_file)
    return read_inventory(tuple(map(str, sources)), password_file, extra_vars, no_exec=no_exec)


def load_playbook(path: StrPath | None = None) -> Playbook:
    """Reads a playbook of scenarios, by default the shipped one.

    A bare name that is not a file is the name of another shipped playbook; "~" is the home folder.
    Raises `NothingToDoError` if there is no such playbook, and `InputError` with file and line for
    what makes no sense in it.
    """
    if path is None:
        return read_playbook(None)
    return read_playbook(expand_home(path))


def audit(
    inventory: LoadedInventory,
    playbook: Playbook | Sequence[Playbook] | None = None,
    *,
    limit: str | None = None,
    tags: Sequence[str] = (),
    connection: ConnectionOptions | None = None,
    settings: EngineSettings | None = None,
    on_result: Callable[[HostResult], object] | None = None,
    stop: StopRequest | None = None,
) -> AuditRun:
    """Audits the hosts of an inventory and returns the run.

    `playbook` is by default the shipped one; of several, each host runs all the scenarios that
    their plays have for it. `limit` is a pattern of Ansible that selects hosts, `tags` select
    scenarios. `connection` is what a command line would add to the variables of the inventory,
    `settings` are the limits of the audit: hosts at once, seconds a host, retries.

    `on_result` gets exactly one result for every host as it comes, in the thread of the caller; an
    exception that it raises stops the audit and is raised again when the hosts are closed.
    `stop.request()` ends the audit early, from any thread or signal handler: hosts without an
    answer are then not audited. Ctrl-C raises KeyboardInterrupt.

    The run has the results in the order of the inventory, with the findings of each host and those
    that depend on all of them. It is written nowhere, and accepted host keys are forgotten.

    Raises, before the first connection, `NothingToDoError` if `limit` or `tags` select nothing or
    no play matches a host, and `InputError` for plays that contradict each other or a setting of
    ansible.cfg that cannot be followed. A host that cannot be reached raises nothing.
    """
    folder, started = Path.cwd(), clock.format_rfc3339(clock.current_time())
    selection = HostSelection(limit=limit, tags=tuple(tags))
    playbooks = _playbooks(playbook)
    plan = build_plan(inventory, playbooks, selection, connection or ConnectionOptions())
    sources, stop = inventory.inventory.sources, stop or StopRequest()
    listener = _Listener(on_result, stop)
    outcome = audit_plan(
        plan,
        settings=settings or EngineSettings(),
        on_result=listener,
        control=AuditControl(stop=stop, repeat_command=CommandLine("run", sources).for_host),
    )
    if listener.error is not None:
        raise listener.error
    info = make_run_info(plan, sources, selection, id_=started.replace(":", ""), started=started)
    run = AuditRun(run=info, scenarios=scenario_rows(plan), hosts=share_evidence(outcome.results))
    return judge_run(run, plan, folder)


def _playbooks(playbook: Playbook | Sequence[Playbook] | None) -> tuple[Playbook, ...]:
    """Returns the playbooks of an audit."""
    if playbook is None:
        return (load_playbook(),)
    if isinstance(playbook, Playbook):
        return (playbook,)
    return tuple(playbook)


@dataclass(slots=True)
class _Listener:
    """Passes results to the caller until the caller's function raises an exception."""

    function: Callable[[HostResult], object] | None
    stop: StopRequest
    error: Exception | None = field(default=None, init=False)

    def __call__(self, result: HostResult) -> None:
        """Passes one result on; the first exception stops the audit."""
        if self.function is None or self.error is not None:
            return
        try:
            self.function(result)
        except Exception as e:
            self.error = e
            self.stop.request(f"on_result raised {type(e).__name__}")


def load_run(path: StrPath) -> AuditRun:
    """Reads a run: a run folder of `fleetaudit run`, or its run.json.

    A file with the bytes of `render(run, "json")` is a run.json, too. Raises `NothingToDoError` if
    there is none, and `InputError` for what is not a run or was never finished.
    """
    return read_run(expand_home(path))


def compare(run: AuditRun) -> Comparison:
    """Compares the hosts of a run: which kernels differ, which expectations are not met.

    Reads and connects to nothing; the same run gives the same comparison.
    """
    return compare_run(run)


def render(run: AuditRun, format: str = "text", *, width: int = 100) -> bytes:
    """Renders a run in UTF-8: html, json, junit, csv, sarif, prometheus or text.

    The same run gives the same bytes. "json" is what `load_run` reads. `width` is the width of
    "text" in columns; other formats ignore it. Raises `UsageError` for any other format.
    """
    if format not in registry.SINGLE_FILE_NAMES:
        raise UsageError(f"render: “{format}” is none of {', '.join(registry.SINGLE_FILE_NAMES)}")
    return registry.render(run, format, width=width)


def merge(*runs: AuditRun) -> AuditRun:
    """Merges runs into one: shards of a fleet, or sites that audit themselves.

    The hosts are in the order of the runs; a host may be in two of them only with the same result.
    What changed since an earlier run belongs to each run and is left out. Raises `UsageError`
    without a run, and `InputError` for a host or a scenario that differs between two runs.
    """
    if not runs:
        raise UsageError("merge: name at least one run")
    return merge_runs([(Path(run.run.id), run) for run in runs])


def diff(before: AuditRun, after: AuditRun) -> Drift:
    """Returns what changed from one run to a later one of the same inventory and playbook.

    Regressions come first, then fixes. Both runs are judged by the expectations of `after`. Raises
    `InputError` if the two cannot be compared, such as runs without a common host.
    """
    return diff_runs(before, after, names=(before.run.id, after.run.id))
