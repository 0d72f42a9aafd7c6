"""Replies that were fetched by other means: files with a probe's output, each named after its host.

Rules: no host and no reply is lost. With an inventory every selected host is in the run, also one
without a reply; a reply of a host that is not selected, and a second reply of one host, are errors
that name the files. The content of a file is as hostile as the output of a connection, and is
processed in the same way: the engine, `wire.decode`, the judge.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleetaudit import __version__
from fleetaudit.errors import InputError, NothingToDoError, TransportError
from fleetaudit.inventory.host_names import InvalidNameError, check_host_name
from fleetaudit.model import (
    DECODE_ERRORS,
    AuditRun,
    Host,
    HostPlan,
    HostResult,
    Inventory,
    NoTarget,
    NotAudited,
    Plan,
    RunInfo,
    Target,
)
from fleetaudit.store.names import JOURNAL_FILE, RUN_FILE
from fleetaudit.text.files import read_file
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.ssh_options import host_argument

from . import clock

if TYPE_CHECKING:
    from fleetaudit.engine import RunCommand

SUFFIXES = (".reply", ".txt", ".json")
"""Suffixes that may follow the name of the host in the name of a reply's file."""
MAX_FILE = 32 * 1024 * 1024
"""The largest file that is read, in bytes: Ansible's JSON holds the reply twice, with every quote
escaped.
"""


def split_runs_and_replies(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the runs and the files of replies that a command line names.

    A run is a run's folder or a file named *.json. In any other folder every file that is not
    hidden is a reply.
    """
    runs, replies = list[Path](), list[Path]()
    for path in paths:
        if path.is_dir() and not any((path / name).exists() for name in (RUN_FILE, JOURNAL_FILE)):
            replies += _in_folder(path)
        elif path.is_dir() or path.suffix == ".json":
            runs.append(path)
        elif not path.exists():
            raise NothingToDoError(
                f"{path}: no such run, and no such file of a reply; "
                f"`ls {shlex.quote(str(path.parent))}` shows what there is"
            )
        else:
            replies.append(path)
    return runs, replies


def _in_folder(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", source=str(folder)) from e
    if not found:
        raise NothingToDoError(f"{folder}: this folder has neither a run nor a reply")
    if folders := [path.name for path in found if path.is_dir()]:
        raise InputError(
            f"neither a run nor a folder of replies: it contains the folder {folders[0]}",
            source=str(folder),
            hint="name each run, and each folder of replies",
        )
    return found


def replies_by_host(files: Iterable[Path], known: Iterable[str] | None) -> dict[str, Path]:
    """Returns the file of each host. `known` are the selected hosts that a play matches, None
    without an inventory.

    Raises `InputError` for a second file of one host, and for a file that is named after no host.
    """
    names = None if known is None else frozenset(known)
    found = dict[str, Path]()
    for path in files:
        name = _host_of(path, names)
        if name in found:
            raise InputError(
                f"a second reply of {name}; the first is {found[name]}",
                source=str(path),
                hint="leave one of them out",
            )
        found[name] = path
    return found


def _host_of(path: Path, known: frozenset[str] | None) -> str:
    name = path.name
    bare = name.removesuffix(path.suffix) if path.suffix in SUFFIXES else name
    if known is not None:
        for candidate in (name, bare):
            if candidate in known:
                return candidate
        raise InputError(
            f"{bare} is not a selected host that a play matches",
            source=str(path),
            hint="name the file after its host as the inventory has it, or leave it out",
        )
    try:
        check_host_name(bare)
    except InvalidNameError as e:
        raise InputError(
            e.message, source=str(path), hint="name the file after its host, such as web7.reply"
        ) from e
    return bare


def inventory_of_names(names: Iterable[str]) -> Inventory:
    """Returns an inventory of hosts of which only the names are known."""
    names = tuple(names)
    hosts = tuple(Host(name=name, groups=("ungrouped",)) for name in names)
    return Inventory(sources=(), hosts=hosts, groups={"all": names, "ungrouped": names})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCall:
    """The options that made the call, and the folder of the replies: for the next command to type."""

    playbooks: tuple[str, ...]
    inventories: tuple[str, ...]
    folder: Path

    def again(self, host: str, file: Path | None) -> str:
        """Returns the commands that make a new reply of a host."""
        words = ["fleetaudit", "probe", *(word for book in self.playbooks for word in ("-p", book))]
        if self.inventories:
            words += [*self.inventories, "-l", host]
        address = host_argument(host) if host.startswith("-") else [host]  # it must stay a name
        reply = file or self.folder / f"{host}.reply"
        run_there = shlex.join(("ssh", *address, "python3", "-E", "-s", "-"))
        return f"{shlex.join(words)} > call.py && {run_there} < call.py > {shlex.quote(str(reply))}"


def audit_replies(
    plan: Plan, files: dict[str, Path], call: ProbeCall
) -> tuple[tuple[HostResult, ...], int]:
    """Returns a result for every host of the plan, in its order, and how many of them a bug in
    fleetaudit cost.
    """
    from fleetaudit.analysis.judge import judge_fleet, judge_host
    from fleetaudit.engine import EngineSettings, audit
    from fleetaudit.store.deduplication import judge_and_deduplicate

    def run_of(host: HostPlan) -> RunCommand:
        return _Reader(host.name, files.get(host.name))

    outcome = audit(
        plan,
        run_command=_Reader("", None),
        run_command_for=run_of,
        settings=EngineSettings(forks=4, retries=0),
        judge=judge_and_deduplicate(judge_host),
        on_result=lambda _: None,
    )
    hosts = [
        _with_hint(host, planned, files, call)
        for host, planned in zip(outcome.results, plan.hosts, strict=True)
    ]
    return judge_fleet(hosts, plan), outcome.bugs


def _with_hint(
    result: HostResult, planned: HostPlan, files: dict[str, Path], call: ProbeCall
) -> HostResult:
    if not isinstance(result, NotAudited) or isinstance(planned.target, NoTarget):
        return result
    file = files.get(result.name)
    reason = f"{file}: {result.reason}" if file else result.reason
    return msgspec.structs.replace(result, reason=reason, hint=call.again(result.name, file))


@dataclass(frozen=True, slots=True)
class _Reader:
    """A transport that reads the file of one host."""

    host: str
    file: Path | None

    def __call__(
        self, target: Target, command: str, stdin: bytes, deadline: Deadline, limits: Limits
    ) -> Output:
        """Returns the output in the file; raises `TransportError` if there is none."""
        if self.file is None:
            raise TransportError("execute", "no reply file", hint="", kind="no reply")
        try:
            data = read_file(self.file, MAX_FILE)
        except OSError as e:
            reason = f"cannot be read: {e.strerror}"
            raise TransportError("decode", reason, hint="", kind="reply not valid") from e
        return parse_reply_file(data)


# ---- the output of a command, as ansible writes it
# ------------------------------------------------------------------


class _Ansible(msgspec.Struct):
    """A task's result as `ansible` prints it, and as --tree writes it."""

    stdout: str = ""
    stderr: str = ""
    msg: object = ""


_ansible = msgspec.json.Decoder(_Ansible)
_HEADING = re.compile(rb"\s*[^\n|]{1,1024} \| [A-Z!]+ => (?=\{)")
"""What `ansible` prints before a result: "web7 | CHANGED => "."""


def parse_reply_file(data: bytes) -> Output:
    """Returns the output of the probe in a file: plain, or in the JSON of one result of Ansible.

    Ansible's message about a failed task goes to `stderr`, which only explains why there is no
    result line.
    """
    heading = _HEADING.match(data)
    text = data[heading.end() :] if heading else data
    if text.lstrip()[:1] == b"{":
        try:
            result = _ansible.decode(text)
        except DECODE_ERRORS:
            pass
        else:
            said = f"{result.msg} {result.stderr}"
            return Output(stdout=_bytes(result.stdout), stderr=_bytes(said), exit_status=None)
    return Output(stdout=data, stderr=b"", exit_status=None)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


# ---- the run of the replies
# ----------------------------------------------------------------------------------------


def run_of_replies(
    plan: Plan, hosts: tuple[HostResult, ...], *, inventory: Sequence[str], limit: str | None
) -> AuditRun:
    """Returns the run of the replies. When each reply was made is unknown: the run begins and ends
    now.
    """
    from fleetaudit.store.jobs import job_name

    from .planning import describe_controller, scenario_rows
    from .source_locations import add_locations

    now = clock.format_rfc3339(clock.current_time())
    info = RunInfo(
        id="",
        started=now,
        finished=now,
        fleetaudit=__version__,
        playbooks=plan.playbooks,
        controller=describe_controller(),
        inventory=tuple(inventory),
        limit=limit,
    )
    info = msgspec.structs.replace(info, job=job_name(info))
    return add_locations(AuditRun(run=info, scenarios=scenario_rows(plan), hosts=hosts), plan)
