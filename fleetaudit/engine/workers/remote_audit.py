"""Audits a plan with the workers of a Dask cluster: submits batches, takes their reports, and
finishes every host.

Rules: exactly one result for every host, as `engine.audit` has it. What this machine audits itself
runs while the workers have the rest. A batch that fails is tried once more, on workers whose
version was compared; hosts of one that fails again, and hosts that no worker has reported when
their time is over, are not audited: their worker is lost.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from fleetaudit.engine.control import (
    EngineSettings,
    JudgeHost,
    Outcome,
    RepeatCommand,
    RunCommand,
    StopRequest,
)
from fleetaudit.engine.forks import DEFAULT_FORKS
from fleetaudit.engine.scheduler import audit
from fleetaudit.log import get_logger
from fleetaudit.model import HostPlan, HostResult, Plan, by_name
from fleetaudit.text.phrases import count_noun

from .batch_audit import BatchWork
from .batches import Batch, divide_hosts, make_batches
from .cluster import BatchEvent, Cluster, Worker, site_resource
from .messages import HostReport, NotAReportError, decode_reports
from .replay import Reporting, lost, without_target

TRIES = 2
"""How often a batch is submitted; Dask itself runs one again whose worker ended."""
_WAIT_S = 0.5
"""How soon a request to stop is noticed, in seconds."""
_GRACE_S = 30.0
"""How much longer than its batch a worker may be silent, in seconds."""
_GONE_S = 10.0
"""How long the scheduler may be away, in seconds."""

log = get_logger(__name__)

WorkersNote = Callable[[str], None]
"""Takes the state of the workers as text: "3 workers, 2 of 12 batches"."""


def ignore_note(_note: str) -> None:
    """Does nothing: a `WorkersNote` for callers that need none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRun:
    """What an audit with workers needs, as the arguments of `engine.audit` have it.

    `run_command_for` is for the hosts that are audited here. `note` gets what the workers do.
    """

    plan: Plan
    settings: EngineSettings
    judge: JudgeHost
    on_result: Callable[[HostResult], None]
    run_command: RunCommand
    run_command_for: Callable[[HostPlan], RunCommand]
    stop: StopRequest
    repeat_command: RepeatCommand | None = None
    note: WorkersNote = ignore_note


def audit_with_workers(run: RemoteRun, cluster: Cluster) -> Outcome:
    """Audits every host of the plan, with the workers of an open cluster, and returns the results
    in the plan's order.

    Raises what `on_result` raises.
    """
    workers = cluster.workers()
    for address, why in cluster.refused.items():
        log.warning("the worker %s gets no host: %s", address, why)
    return _RemoteAudit(run, cluster, workers).run()


@dataclass(slots=True)
class _Given:
    """A batch that a worker has; `tries` is how often it was submitted."""

    batch: Batch
    tries: int = 1


@dataclass(slots=True)
class _RemoteAudit:
    """One audit with workers under way."""

    start: RemoteRun
    cluster: Cluster
    workers: Sequence[Worker]
    given: dict[int, _Given] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    batches: int = 0
    extra_s: float = 0.0
    """The most seconds that a host of the plan needs beyond its deadline."""
    connected_at: float = field(default_factory=time.monotonic)
    last_event_at: float = field(default_factory=time.monotonic)

    def run(self) -> Outcome:
        """Audits every host; raises what `on_result` raises."""
        division = divide_hosts(self.start.plan.hosts)
        self.extra_s = max((host.extra_s for host in self.start.plan.hosts), default=0.0)
        self._refuse_passwords(division.with_password)
        remote = self._with_workers_at_site(division.remote)
        self._give_out(make_batches(remote, len(self.workers)))
        self._audit_here(division.local)
        while self.given and not self.start.stop.requested and not self._is_given_up():
            self._take_next()
        self._finish_the_rest()
        return self._outcome()

    # ---- which worker may have what ------------------------------------------------------------

    def _refuse_passwords(self, indexes: Sequence[int]) -> None:
        """Finishes the hosts with a password, which no worker gets."""
        hosts = [
            without_target(
                host,
                "authenticate",
                "it needs a password, and passwords are not sent to workers",
                "use a key that the workers have, or audit this host without --engine",
                kind="password not sent",
            )
            for host in self._hosts(indexes)
        ]
        self._report_known(hosts)

    def _with_workers_at_site(self, remote: dict[str, list[int]]) -> dict[str, list[int]]:
        """Returns the hosts that some worker can reach; finishes the others."""
        offered = {"", *(site for worker in self.workers for site in worker.sites)}
        for site in remote.keys() - offered:
            resource = site_resource(site)
            hint = f"dask worker {self.cluster.url} --nthreads 1 --resources {resource}=1"
            reason = f"no worker offers its site ({resource})"
            self._report_known(
                [
                    without_target(host, "connect", reason, hint, kind="worker missing")
                    for host in self._hosts(remote[site])
                ]
            )
        return {site: indexes for site, indexes in remote.items() if site in offered}

    def _give_out(self, batches: Sequence[Batch]) -> None:
        """Gives every batch to the workers."""
        self.batches = len(batches)
        only = self._good_addresses() if self.cluster.refused else ()
        for number, batch in enumerate(batches):
            self.given[number] = _Given(batch)
            self.cluster.submit(number, batch.site, self._work(batch), only)
        self._note()

    def _good_addresses(self) -> tuple[str, ...]:
        """Returns the addresses of the workers whose version was compared."""
        return tuple(worker.address for worker in self.workers)

    def _work(self, batch: Batch) -> BatchWork:
        """Returns a batch as it is sent."""
        settings, hosts = self.start.settings, map(_as_sent, self._hosts(batch.indexes))
        seconds = _batch_s(settings, len(batch.indexes), self.extra_s)
        return BatchWork(tuple(hosts), settings, seconds)

    def _hosts(self, indexes: Sequence[int]) -> list[HostPlan]:
        """Returns the hosts with these indexes."""
        return [self.start.plan.hosts[index] for index in indexes]

    # ---- what is audited here ------------------------------------------------------------------

    def _audit_here(self, indexes: Sequence[int]) -> None:
        """Audits the hosts that are this machine, or that it boots, and those without a target."""
        if not indexes:
            return
        start = self.start
        outcome = audit(
            Plan(playbooks=(), hosts=tuple(self._hosts(indexes))),
            run_command=start.run_command,
            run_command_for=start.run_command_for,
            settings=start.settings,
            judge=start.judge,
            on_result=start.on_result,
            stop=start.stop,
            repeat_command=start.repeat_command,
        )
        self.outcomes.append(outcome)

    # ---- what comes back -----------------------------------------------------------------------

    def _take_next(self) -> None:
        """Takes the next batch that ends, if one ends soon."""
        event = self.cluster.next_event(_WAIT_S)
        if event is None:
            return
        self.last_event_at = time.monotonic()
        given = self.given[event.number]
        try:
            reports = self._reports(event, given.batch)
        except NotAReportError as e:
            self._try_again(event.number, str(e))
        else:
            del self.given[event.number]
            self._report(given.batch, reports)
        self._note()

    def _reports(self, event: BatchEvent, batch: Batch) -> dict[str, HostReport]:
        """Returns the reports of a batch; raises `NotAReportError` if it failed."""
        if event.kind == "failed":
            raise NotAReportError(str(event.found))
        return decode_reports(event.found, [host.name for host in self._hosts(batch.indexes)])

    def _try_again(self, number: int, reason: str) -> None:
        """Gives a batch to a worker whose version was compared, or finishes its hosts."""
        given = self.given[number]
        log.warning("a batch of %d hosts failed: %s", len(given.batch.indexes), reason)
        if not self.cluster.is_connected:
            reason = self._scheduler_gone()
        if given.tries >= TRIES or not self.cluster.is_connected:
            del self.given[number]
            self._report_lost(given.batch.indexes, reason)
            return
        self.workers = self.cluster.workers() or self.workers
        given.tries += 1
        self.cluster.submit(
            number, given.batch.site, self._work(given.batch), self._good_addresses()
        )

    def _scheduler_gone(self) -> str:
        """Returns the reason of hosts whose scheduler ended."""
        return f"the Dask scheduler at {self.cluster.url} is gone"

    def _is_given_up(self) -> bool:
        """Returns whether nobody will answer any more: the scheduler is gone, or every worker has
        been silent for longer than a batch may take.
        """
        now = time.monotonic()
        if self.cluster.is_connected:
            self.connected_at = now
        largest = max(len(given.batch.indexes) for given in self.given.values())
        allowed_s = _batch_s(self.start.settings, largest, self.extra_s) + _GRACE_S
        return now - self.connected_at > _GONE_S or now - self.last_event_at > allowed_s

    def _finish_the_rest(self) -> None:
        """Finishes the hosts that no worker has reported.

        After a request to stop they are interrupted; otherwise they are lost, with the scheduler
        or with their worker.
        """
        rest = sorted(index for given in self.given.values() for index in given.batch.indexes)
        self.given.clear()
        if not rest:
            return
        if self.start.stop.requested:
            self._audit_here(rest)  # the engine finishes them as interrupted
            return
        reason = "no worker has reported it in time"
        if not self.cluster.is_connected:
            reason = self._scheduler_gone()
        self._report_lost(rest, reason)

    # ---- results -------------------------------------------------------------------------------

    def _report(self, batch: Batch, reports: dict[str, HostReport]) -> None:
        """Makes the results of a batch."""
        self.outcomes.append(self._reporting().report(self._hosts(batch.indexes), reports))

    def _report_lost(self, indexes: Sequence[int], reason: str) -> None:
        """Finishes hosts whose worker is lost, for this reason."""
        self._report_known([lost(host, f"worker lost: {reason}") for host in self._hosts(indexes)])

    def _report_known(self, hosts: Sequence[HostPlan]) -> None:
        """Finishes hosts whose target says already why they are not audited."""
        if hosts:
            self.outcomes.append(self._reporting().report_known(hosts))

    def _reporting(self) -> Reporting:
        """Returns where results go."""
        start = self.start
        return Reporting(
            settings=start.settings,
            judge=start.judge,
            on_result=start.on_result,
            repeat_command=start.repeat_command,
        )

    def _note(self) -> None:
        """Passes on the state of the workers."""
        ended = self.batches - len(self.given)
        workers = count_noun(self.cluster.count_workers(), "worker")
        self.start.note(f"{workers}, {ended} of {self.batches} batches")

    def _outcome(self) -> Outcome:
        """Returns the results in the plan's order.

        Raises `AssertionError` if a host has none, which would be a bug.
        """
        results = by_name(itertools.chain.from_iterable(each.results for each in self.outcomes))
        hosts = self.start.plan.hosts
        if len(results) != len(hosts):
            raise AssertionError(f"{len(hosts)} hosts and {len(results)} results")
        return Outcome(
            results=tuple(results[host.name] for host in hosts),
            bugs=sum(outcome.bugs for outcome in self.outcomes),
            interrupted=self.start.stop.requested,
        )


def _as_sent(host: HostPlan) -> HostPlan:
    """Returns the plan of a host without what a worker does not need: it judges nothing."""
    return msgspec.structs.replace(
        host, groups=(), sysctls_expect={}, exposure_expect={}, kernels_expect={}, watch_expect={}
    )


def _batch_s(settings: EngineSettings, hosts: int, extra_s: float) -> float:
    """Returns how long a batch of so many hosts may take at most, in seconds: as if each took its
    whole time, `extra_s` beyond its deadline.
    """
    rounds = math.ceil(hosts / (settings.forks or DEFAULT_FORKS))
    return rounds * (settings.host_deadline_s + extra_s + settings.grace_s)
