"""The run of replies that were fetched by other means, from hosts that fleetaudit cannot reach.

Rules: no host and no reply is lost. With an inventory every selected host is in the run, also one
without a reply. The content of a file is as hostile as the output of a connection, and is processed
in the same way: by the engine, `probe.protocol` and the judge.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from fleetaudit.analysis.judge import HostJudge, judge_fleet
from fleetaudit.engine import EngineSettings, RunCommand, audit
from fleetaudit.errors import NothingToDoError, TransportError
from fleetaudit.model import (
    AuditRun,
    Host,
    HostPlan,
    HostResult,
    Inventory,
    NoTarget,
    NotAudited,
    Plan,
    Target,
)
from fleetaudit.probe.offer import Offer
from fleetaudit.store.deduplication import judge_and_deduplicate
from fleetaudit.text.files import read_file
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.ssh_options import host_argument

from .kernel_table import add_known_kernels
from .planning import (
    HostSelection,
    build_offline_plan,
    make_run_info,
    read_inventory,
    read_playbooks,
    scenario_rows,
)
from .reply_files import parse_reply_file, replies_by_host
from .reporter import Report, ignore_message
from .source_locations import add_locations

MAX_FILE_BYTES = 32 * 1024 * 1024
"""The largest file that is read: Ansible's JSON holds the reply twice, with every quote escaped."""


class RepliesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The files of replies, and the options that select their plan: playbooks, inventory, limit."""

    files: tuple[Path, ...]
    playbooks: tuple[str, ...] = ()
    inventories: tuple[str, ...] = ()
    limit: str | None = None
    vault_password_file: str | None = None
    no_exec: bool = False

    @property
    def folder(self) -> Path:
        """Returns the folder of the replies, as the next command names it."""
        if not self.files:
            return Path("replies")
        return self.files[0].parent

    def probe_command(self, host: str, file: Path | None) -> str:
        """Returns the commands that make a new reply of a host, to be pasted into a shell.

        The reply goes into `file`, or, if it is None, into a new file of the folder of replies.
        """
        playbooks = (("-p", playbook) for playbook in self.playbooks)
        probe = ["fleetaudit", "probe", *itertools.chain.from_iterable(playbooks)]
        if self.inventories:
            probe += [*self.inventories, "-l", host]
        # A name that looks like an option has to stay a name.
        address = host_argument(host) if host.startswith("-") else [host]
        ssh = shlex.join(("ssh", *address, "python3", "-B", "-E", "-s", "-"))
        reply = shlex.quote(str(file or self.folder / f"{host}.reply"))
        return f"{shlex.join(probe)} > call.py && {ssh} < call.py > {reply}"


def audit_replies(
    request: RepliesRequest, elsewhere: Collection[str] = (), *, report: Report = ignore_message
) -> tuple[AuditRun, int]:
    """Returns the run of the replies, and how many of its hosts a bug in fleetaudit cost.

    A host without a reply is not missing if it is `elsewhere`, in another run. `report` gets the
    notes about the inventory. What is wrong with the content of a file is the result of its host.
    Raises `InputError` for a second reply of one host and for a file that is named after no host,
    and `NothingToDoError` if no play matches a host.
    """
    plan, files = _plan_and_files(request, report)
    hosts = tuple(host for host in plan.hosts if host.name in files or host.name not in elsewhere)
    plan = msgspec.structs.replace(plan, hosts=hosts)
    outcome = audit(
        plan,
        run_command=_ReplyReader(None),
        run_command_for=lambda host: _reader_for(host, files),
        settings=EngineSettings(forks=4, retries=0),
        judge=judge_and_deduplicate(HostJudge()),
        on_result=lambda _: None,
    )
    results = [
        _with_hint(result, host, files, request)
        for result, host in zip(outcome.results, plan.hosts, strict=True)
    ]
    return _make_run(plan, judge_fleet(results, plan), request), outcome.bugs


def _plan_and_files(request: RepliesRequest, report: Report) -> tuple[Plan, dict[str, Path]]:
    """Returns the plan of the hosts, and the file of each host that has one."""
    playbooks = read_playbooks(request.playbooks)
    if request.inventories:
        inventory = read_inventory(
            request.inventories,
            request.vault_password_file,
            no_exec=request.no_exec,
            report=report,
        ).inventory
        plan = build_offline_plan(inventory, playbooks, request.limit)
        matched = (host.name for host in plan.hosts if not isinstance(host.target, NoTarget))
        return plan, replies_by_host(request.files, matched)
    files = replies_by_host(request.files, None)
    try:
        return build_offline_plan(_inventory_of_names(files), playbooks, None), files
    except NothingToDoError as e:  # a play is for a group, and the name of a file has no group
        raise NothingToDoError(f"{e}\n  name the inventory with that group:  -i INVENTORY") from e


def _inventory_of_names(names: Iterable[str]) -> Inventory:
    """Returns an inventory of hosts of which only the names are known."""
    names = tuple(names)
    hosts = tuple(Host(name=name, groups=("ungrouped",)) for name in names)
    return Inventory(sources=(), hosts=hosts, groups={"all": names, "ungrouped": names})


def _with_hint(
    result: HostResult, host: HostPlan, files: Mapping[str, Path], request: RepliesRequest
) -> HostResult:
    """Returns the result of a host with its file, and with the command that makes a new reply."""
    if not isinstance(result, NotAudited) or isinstance(host.target, NoTarget):
        return result
    file = files.get(result.name)
    reason = f"{file}: {result.reason}" if file else result.reason
    hint = request.probe_command(result.name, file)
    return msgspec.structs.replace(result, reason=reason, hint=hint)


def _reader_for(host: HostPlan, files: Mapping[str, Path]) -> RunCommand:
    """Returns what takes the place of a transport for one host."""
    return _ReplyReader(files.get(host.name))


class _ReplyReader(msgspec.Struct, frozen=True):
    """Reads the file of one host instead of connecting to it."""

    file: Path | None

    def __call__(
        self, target: Target, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        """Returns the output in the file; raises `TransportError` if there is none."""
        if self.file is None:
            raise TransportError("execute", "no reply file", hint="", kind="no reply")
        try:
            data = read_file(self.file, MAX_FILE_BYTES)
        except OSError as e:
            reason = f"cannot be read: {e.strerror}"
            raise TransportError("decode", reason, hint="", kind="reply not valid") from e
        return replace(parse_reply_file(data), nonce="")  # it was recorded


def _make_run(plan: Plan, hosts: tuple[HostResult, ...], request: RepliesRequest) -> AuditRun:
    """Returns the run of the replies.

    When each reply was made is unknown: the run begins and ends now.
    """
    info = make_run_info(plan, request.inventories, HostSelection(limit=request.limit))
    run = AuditRun(run=info, scenarios=scenario_rows(plan), hosts=hosts)
    return add_locations(add_known_kernels(run), plan)
