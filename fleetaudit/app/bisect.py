"""Finds between which two kernels an ending changes, by booting few of them.

Rules: a kernel is booted as `fleetaudit run` boots a host that is a kernel image, and each boot
answers every scenario. Its result is on the disk before the next boot, and no kernel is booted
twice.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fleetaudit import __version__
from fleetaudit.analysis.bisection import (
    Bisection,
    Followed,
    bisection_of,
    describe_unknown,
    encode,
    measured_of,
    result_of,
)
from fleetaudit.analysis.bisection.order import OrderedKernels, series_of
from fleetaudit.analysis.bisection.search import Measured, Step, find_changes, next_step
from fleetaudit.connection.ansible_cfg import AnsibleSettings
from fleetaudit.connection.options import ConnectionOptions
from fleetaudit.engine import EngineSettings, StopRequest
from fleetaudit.errors import NothingToDoError, UsageError
from fleetaudit.inventory.vault import Vault
from fleetaudit.model import Host, HostPlan, HostResult, Inventory, KernelTarget, NotAudited, Plan
from fleetaudit.report.bisect_text import bisection_text
from fleetaudit.store.bisection_state import (
    BisectionState,
    KernelResult,
    hold_state,
    read_state,
    write_state,
)
from fleetaudit.store.manifest import manifest_hosts
from fleetaudit.text.phrases import count_noun, surround

from .audit import AuditControl, audit_plan
from .command_line import CommandLine
from .kernel_files import list_kernels
from .planning import HostSelection, LoadedInventory, build_plan, read_playbooks
from .reporter import Reporter

INCOMPLETE = 4
"""The exit status if kernels that could not be audited leave a change between no two neighbours."""
_NO_IMAGE = "/kernel"
"""Stands for the image in the plan of a kernel, which is otherwise the same for all."""
_NOT_KEPT = ("resolve", "interrupted", "report")
"""Stages whose failures are not the kernel's: it is booted again by the next call."""

__all__ = [
    "INCOMPLETE",
    "BisectRequest",
    "FinishedBisection",
    "Followed",
    "PreparedBisection",
    "StopRequest",
    "bisect_kernels",
    "encode",
    "prepare_bisection",
]


class BisectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to bisect.

    `images` are files and folders, `series` is None for the only one. At most `forks` kernels boot
    at once, each for at most `host_deadline_s` seconds. `state` is the file of the results, None
    for one of its own in the folder `output`.
    """

    images: tuple[str, ...]
    series: str | None
    playbooks: tuple[str, ...]
    tags: tuple[str, ...]
    skip_tags: tuple[str, ...]
    extra_vars: dict[str, str]
    followed: Followed
    forks: int
    host_deadline_s: float
    output: Path
    state: Path | None
    command_line: CommandLine


class PreparedBisection(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose files are read: the kernels in their order, and the plan of each.

    `call` is a digest of what runs on every kernel and how it is booted; `state` is the file of the
    results.
    """

    request: BisectRequest
    ordered: OrderedKernels
    plan: Plan
    call: str
    state: Path

    @property
    def images(self) -> tuple[str, ...]:
        """The digests of the images, in their order."""
        return tuple(kernel.sha256 for kernel in self.ordered.kernels)

    @property
    def titles(self) -> dict[str, str]:
        """The titles of the scenarios by name."""
        return {scenario.name: scenario.title for scenario in self.plan.hosts[0].scenarios}

    def names(self, places: Iterable[int]) -> str:
        """Returns the labels of kernels, by their places."""
        return ", ".join(self.ordered.kernels[place].label for place in places)


class FinishedBisection(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, None if the bisection was interrupted; `state` is the file of the results,
    `kept` is how many it has.
    """

    bisection: Bisection | None
    state: Path
    kept: int

    @property
    def status(self) -> int:
        """The exit status of a bisection that was not interrupted."""
        if self.bisection is None or self.bisection.complete:
            return 0
        return INCOMPLETE

    def text(self, *, width: int) -> str:
        """Returns what was found as text; "" if the bisection was interrupted."""
        if self.bisection is None:
            return ""
        return bisection_text(self.bisection, width=width)


def prepare_bisection(request: BisectRequest, reporter: Reporter) -> PreparedBisection:
    """Reads the images and the playbooks, and chooses the file of the results.

    Raises `NothingToDoError` for a missing file or scenario and for fewer than two kernels,
    `InputError` for a file that makes no sense, and `UsageError` if the series has to be named.
    """
    ordered = list_kernels(request.images, request.series, reporter.message)
    plan = _make_plan(request, ordered)
    _refuse_unknown_scenarios(request.followed, plan.hosts[0])
    call = _call_digest(plan.hosts[0])
    images = ",".join(kernel.sha256 for kernel in ordered.kernels)
    id_ = hashlib.sha256(f"{call}:{images}".encode()).hexdigest()[:16]
    return PreparedBisection(
        request=request,
        ordered=ordered,
        plan=_with_images(plan, ordered),
        call=call,
        state=request.state or request.output / f"bisect-{id_}.json",
    )


def _make_plan(request: BisectRequest, ordered: OrderedKernels) -> Plan:
    """Returns the plan of all kernels, each a host; their names are their labels.

    The probe is the only program of a guest, so nothing is watched.
    """
    fixed = {"ansible_connection": "kernel", "kernel_image": _NO_IMAGE}
    variables = {**request.extra_vars, **fixed}
    names = tuple(kernel.label for kernel in ordered.kernels)
    hosts = tuple(
        Host(name=name, variables=variables, variable_origins=dict.fromkeys(variables, "-e"))
        for name in names
    )
    inventory = Inventory(sources=(), hosts=hosts, groups={"all": names, "ungrouped": names})
    plan = build_plan(
        LoadedInventory(inventory, AnsibleSettings(), Vault()),
        read_playbooks(request.playbooks),
        HostSelection(tags=request.tags, skip_tags=request.skip_tags),
        ConnectionOptions(),
        connects=False,
    )
    unwatched = (replace(host, watch=None, watch_expect={}) for host in plan.hosts)
    return replace(plan, hosts=tuple(unwatched))


def _with_images(plan: Plan, ordered: OrderedKernels) -> Plan:
    """Returns the plan with the files of the images.

    Raises `UsageError` for a variable with which no kernel can be booted.
    """
    target = plan.hosts[0].target
    if isinstance(target, NotAudited):
        raise UsageError(f"{target.reason}\n  {target.hint}")
    hosts = (
        replace(host, target=KernelTarget(**(msgspec.structs.asdict(target) | {"image": k.file})))
        for host, k in zip(plan.hosts, ordered.kernels, strict=True)
    )
    return replace(plan, hosts=tuple(hosts))


def _refuse_unknown_scenarios(followed: Followed, host: HostPlan) -> None:
    """Raises `NothingToDoError` if a scenario or a family that is followed does not run."""
    keys = {(scenario.name, family) for scenario in host.scenarios for family in scenario.families}
    for name in followed.names:
        if not any(map(Followed(names=(name,), family=followed.family).includes, keys)):
            known = {scenario for scenario, _ in keys}
            similar = difflib.get_close_matches(name.partition("/")[0], known, 3)
            raise NothingToDoError(
                f"--scenario {name}: the playbook runs no such scenario"
                + surround(" over ", followed.family)
                + surround("; did you mean ", " or ".join(similar), "?")
            )


def _call_digest(host: HostPlan) -> str:
    """Returns the digest of what runs on every kernel, and of how it is booted.

    The image is not a part of it, nor is the name.
    """
    (recorded,) = manifest_hosts(Plan(playbooks=(), hosts=(host,)))
    call = f"{__version__}:{recorded.connection}:{recorded.experiment}"
    return hashlib.sha256(call.encode()).hexdigest()


def bisect_kernels(
    prepared: PreparedBisection, reporter: Reporter, stop: StopRequest
) -> FinishedBisection:
    """Boots kernels until every change lies between two neighbours, and returns what was found.

    `stop` ends it early; what was found until then is in the file of the results. Raises
    `LockedError` if another process uses that file, `InputError` if it belongs to something else,
    and `OutputError` if it cannot be written.
    """
    with hold_state(prepared.state):
        state = read_state(prepared.state, prepared.call, prepared.images)
        return _Bisecting(prepared, reporter, stop, state).run()


@dataclass(slots=True)
class _Bisecting:
    """One call; `results` are those of the file, and of kernels that the next call boots again."""

    prepared: PreparedBisection
    reporter: Reporter
    stop: StopRequest
    state: BisectionState
    results: dict[str, KernelResult] = field(init=False)
    can_boot: bool = True
    """False if no kernel can be booted on this machine."""

    def run(self) -> FinishedBisection:
        """Boots what the search needs."""
        self.results = {**self.state.results}
        self._describe_start()
        step = self._next_step()
        while step.places and self.can_boot and not self.stop.requested:
            self.reporter.note(self._describe(step))
            self._boot(step.places)
            step = self._next_step()
        return FinishedBisection(
            bisection=None if self.stop.requested else self._found(),
            state=self.prepared.state,
            kept=len(self.state.results),
        )

    def _found(self) -> Bisection:
        """Returns what the results show."""
        return bisection_of(
            self.prepared.ordered,
            self.results,
            self.prepared.request.followed,
            titles=self.prepared.titles,
            fleetaudit=__version__,
        )

    def _measured(self) -> Measured:
        """Returns what is known of each kernel that has a result."""
        kernels, followed = self.prepared.ordered.kernels, self.prepared.request.followed
        return measured_of(kernels, self.results, followed)

    def _next_step(self) -> Step:
        """Returns what to boot next."""
        return next_step(len(self.prepared.ordered.kernels), self._measured())

    def _describe_start(self) -> None:
        """Reports how many kernels there are, and how many of them have a result already."""
        ordered = self.prepared.ordered
        kernels = count_noun(len(ordered.kernels), "kernel")
        self.reporter.note(
            f"{kernels} of {series_of(ordered.kernels[0])}, ordered by {ordered.order}:"
            f" {ordered.kernels[0].label} to {ordered.kernels[-1].label}"
        )
        if self.results:
            self.reporter.note(
                f"{count_noun(len(self.results), 'result')} of earlier boots in"
                f" {self.prepared.state}: these kernels are not booted again"
            )

    def _describe(self, step: Step) -> str:
        """Returns the line about a step."""
        names = self.prepared.names(step.places)
        if not step.left:
            return f"booting the oldest and the newest: {names}"
        changes = count_noun(
            len(find_changes(self._measured())), "ending differs", "endings differ"
        )
        left = count_noun(step.left, "kernel")
        return f"{changes}; {left} left, about {count_noun(step.steps, 'step')}: booting {names}"

    def _boot(self, places: Sequence[int]) -> None:
        """Boots kernels, as many at once as the settings allow."""
        request = self.prepared.request
        audit_plan(
            self._plan(places),
            settings=EngineSettings(forks=request.forks, host_deadline_s=request.host_deadline_s),
            on_result=self._take_result,
            progress=self.reporter.progress,
            control=AuditControl(
                stop=self.stop,
                repeat_command=lambda _, options: request.command_line.with_options(options),
            ),
        )

    def _plan(self, places: Sequence[int]) -> Plan:
        """Returns the plan of some kernels."""
        plan = self.prepared.plan
        return replace(plan, hosts=tuple(plan.hosts[place] for place in places))

    def _take_result(self, host: HostResult) -> None:
        """Keeps a result, and writes it unless the kernel is not the reason of a failure."""
        result = result_of(host)
        if result.stage == "interrupted":
            return
        image = next(k.sha256 for k in self.prepared.ordered.kernels if k.label == host.name)
        self.results[image] = result
        self._report_skipped(host.name, result)
        if result.stage in _NOT_KEPT:
            # The images were read before: it is this machine that lacks something.
            self.can_boot &= result.stage != "resolve"
            return
        self.state = replace(self.state, results={**self.state.results, image: result})
        write_state(self.prepared.state, self.state)

    def _report_skipped(self, label: str, result: KernelResult) -> None:
        """Reports why a kernel is skipped, if it is."""
        reason = describe_unknown(result, self.prepared.request.followed)
        if result.status == "not audited":
            self.reporter.message(f"{label}: not audited: {result.stage}: {reason}")
        elif reason:
            self.reporter.message(f"{label}: skipped, because no ending is known: {reason}")
