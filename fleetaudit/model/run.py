"""One run: what its store has, and its run.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, UnsetType

from .base import Frozen, by_name
from .drift import Drift
from .host_result import Audited, HostResult, Location, NotAudited, NotSelected
from .kernel_table import KnownKernel
from .playbook import Ending, Severity

RUN_FORMAT: Literal["fleetaudit-run/1"] = "fleetaudit-run/1"
MAX_SEQUENCE = 2**53
"""The greatest integer that every JSON reader reads exactly."""


HostPosition = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
"""The position of a host in a plan, from 0."""


class ScenarioRow(Frozen, frozen=True, kw_only=True):
    """A scenario as run.json carries it: what the report prints is what ran.

    `expect` is empty if no ending is expected, and `control` null if the scenario names none.
    """

    name: str
    title: str
    steps: tuple[str, ...]
    expect: tuple[Ending, ...]
    severity: Severity
    control: str | None
    because: str

    @property
    def is_positive_control(self) -> bool:
        """Whether the scenario must end in RST and has no control itself."""
        return self.control is None and self.expect == ("RST",)


UNDECLARED = ScenarioRow(
    name="", title="", steps=(), expect=(), severity="info", control=None, because=""
)
"""Stands for a scenario that a merged or cut run does not declare: no step, no expectation."""


def step_text(steps: Sequence[str], index: int) -> str:
    """Returns the text of the step `index`, counted from 0; "step 3" if the scenario has no
    third.
    """
    return steps[index] if 0 <= index < len(steps) else f"step {index + 1}"


OtherCommand = Literal["watch", "services"]
"""A command other than `run` that makes runs; its jobs are not those of `run`."""


class RunInfo(Frozen, frozen=True, kw_only=True):
    """About the run itself. Times are UTC, RFC 3339, whole seconds; `fleetaudit` and `controller`
    are versions.

    `baseline` is the id of the run that this one was compared with. `notes` are sentences about the
    run as a whole, such as an expired waiver. `job` names the combination of inventory, playbooks,
    limit, shard and tags, "" in a run of an earlier version (`jobs.job_of` computes it for that
    one, too). `sequence` numbers the runs of an output folder in the order in which they finished,
    from 1; it is 0 in an interrupted run and in one of an earlier version. `scheduled`: this run,
    or an earlier one of its job, was started with --cron. `status` is the exit status of the
    command, null in a run of an earlier version. `command` is unset for `fleetaudit run`.
    """

    id: str
    started: str
    finished: str
    fleetaudit: str
    playbooks: tuple[str, ...]
    controller: str
    baseline: str | None = None
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    shard: str | None = None
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    job: str = ""
    sequence: Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)] = 0
    scheduled: bool = False
    status: Annotated[int, Meta(ge=0, le=255)] | None = None
    notes: tuple[str, ...] = ()
    command: OtherCommand | UnsetType = UNSET


class PastRun(Frozen, frozen=True, kw_only=True):
    """The counts of an earlier run.

    `selected` is the sum of `audited`, `not_audited` and `not_selected` (by any play). `short`
    counts the hosts that do not meet expectations without a waiver, each once, by the severity of
    its most severe finding, most severe first.
    """

    run: str
    started: str
    selected: int
    audited: int
    not_audited: int
    not_selected: int = 0
    short: tuple[tuple[Severity, int], ...] = ()


_Kind = TypeVar("_Kind", Audited, NotAudited, NotSelected)


def _of_type(hosts: Sequence[HostResult], kind: type[_Kind]) -> tuple[_Kind, ...]:
    """Returns the hosts whose results are of one type, in their order."""
    return tuple(host for host in hosts if isinstance(host, kind))


class AuditRun(Frozen, frozen=True, kw_only=True):
    """A whole run: every selected host exactly once, in inventory order.

    `drift` is against `run.baseline`. `history` has the earlier runs of the same job, oldest first.
    `locations` has the place of each expectation, by the id of its findings without a family.
    `known_kernels` is what the table of kernels had about each kernel build when the run was made,
    () in a run of an earlier version. `positions` of a shard has the position of each host in the
    whole plan, from 0, in the order of `hosts`; it is () for any other run and in runs of earlier
    versions, and run.json then leaves the key out.
    """

    format: Literal["fleetaudit-run/1"] = RUN_FORMAT
    run: RunInfo
    scenarios: tuple[ScenarioRow, ...]
    hosts: tuple[HostResult, ...]
    drift: Drift | None = None
    history: tuple[PastRun, ...] = ()
    locations: dict[str, Location] = {}
    known_kernels: tuple[KnownKernel, ...] = ()
    positions: tuple[HostPosition, ...] = ()

    @property
    def audited(self) -> tuple[Audited, ...]:
        """The hosts whose probe answered, in inventory order."""
        return _of_type(self.hosts, Audited)

    @property
    def not_audited(self) -> tuple[NotAudited, ...]:
        """The hosts that could not be audited, in inventory order."""
        return _of_type(self.hosts, NotAudited)

    @property
    def not_selected(self) -> tuple[NotSelected, ...]:
        """The hosts that no play matches, in inventory order."""
        return _of_type(self.hosts, NotSelected)

    def scenarios_by_name(self) -> dict[str, ScenarioRow]:
        """Returns the scenarios of the run by name."""
        return by_name(self.scenarios)
