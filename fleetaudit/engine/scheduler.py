"""Audits every host of a plan: a greenlet per host in one loop, results collected, ends in time.

Rules: exactly one result for every host of the plan. All hosts run in the caller's thread, and give
way to one another where they wait (`transport.waiting`). Errors of a transport become values in the
engine only. Nothing waits without a limit: a host that overstays its deadline is abandoned and not
audited. A bug in one host's path loses that host only, and is not hidden: its traceback goes to the
log and `Outcome.bugs` counts it. `on_result` is called between the turns of the loop, outside of
every host's greenlet, so that what it raises is no host's error.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from operator import attrgetter

import msgspec

from fleetaudit.errors import FailureKind, FleetauditError, rerun_hint, rerun_options
from fleetaudit.log import get_logger
from fleetaudit.model import HostPlan, HostResult, NoTarget, NotAudited, NotSelected, Plan
from fleetaudit.text.phrases import count_noun
from fleetaudit.text.sanitize import bounded_text
from fleetaudit.transport.waiting import Loop, Task

from .attempts import HostAuditor
from .batches import FailureLimit, split
from .control import (
    EngineSettings,
    JudgeHost,
    Outcome,
    RepeatCommand,
    RunCommand,
    StopRequest,
)
from .failures import not_audited, not_audited_by_bug
from .forks import Forks, choose_forks, kind_of, log_forks, raised_file_limit
from .garbage import seldom_collected
from .pace import Pace

log = get_logger(__name__)

MAX_STUCK = 128
"""How many calls of abandoned hosts may still block in their threads before no new host is tried.
"""
SSH_STOP_S = 0.5
"""How long a stop waits for an SSH connection to notice it, in seconds."""
STARTS_A_TURN = 16
"""How many hosts begin in one turn of the loop."""
BUSY_S = 0.25
"""No host begins while a turn of the loop takes longer, in seconds: a handshake needs ten turns
within its timeout.
"""


def audit(
    plan: Plan,
    *,
    run_command: RunCommand,
    settings: EngineSettings,
    judge: JudgeHost,
    on_result: Callable[[HostResult], None],
    stop: StopRequest | None = None,
    run_command_for: Callable[[HostPlan], RunCommand] | None = None,
    repeat_command: RepeatCommand | None = None,
) -> Outcome:
    """Audits every host of the plan and returns the results.

    `judge` adds the findings, in the host's own greenlet. `on_result` gets each result as it comes.
    A `FleetauditError` that it raises ends the audit, because no further result could be kept. Any
    other exception costs that host only, and `on_result` gets the new result of the host.
    `run_command_for` is for observers: it is called at each attempt, in the greenlet of the host,
    and returns the function that replaces `run_command`. `repeat_command` completes each hint that
    repeats the command.
    """
    return _Audit(
        plan,
        run_command_for or (lambda _: run_command),
        settings,
        judge,
        on_result,
        stop or StopRequest(),
        repeat_command,
    ).run()


@dataclass(slots=True)
class _Lane:
    """The hosts of one kind that have not begun, by index; how many run, and may run, at once."""

    most: int
    hosts: deque[int] = field(default_factory=deque)
    running: int = 0


class _HostQueue:
    """The hosts of the batch that have not begun, by their index in the plan."""

    def __init__(self, hosts: Sequence[HostPlan], forks: Forks) -> None:
        self._plans = hosts
        self._lanes = {kind: _Lane(most) for kind, most in forks.kinds.items()}

    def __bool__(self) -> bool:
        return any(lane.hosts for lane in self._lanes.values())

    def add(self, indexes: Iterable[int]) -> None:
        """Adds hosts; they are in the plan's order, and none that was added before comes after."""
        for index in indexes:
            self._lanes[kind_of(self._plans[index])].hosts.append(index)

    def take_next(self) -> int | None:
        """Takes the next host that may begin, in the plan's order; None if none may.

        A host waits while there are as many of its kind as may run at once; those of other kinds
        behind it in the plan do not wait for it.
        """
        free = [lane for lane in self._lanes.values() if lane.hosts and lane.running < lane.most]
        if not free:
            return None
        first = min(free, key=lambda lane: lane.hosts[0])
        first.running += 1
        return first.hosts.popleft()

    def end(self, host: HostPlan) -> None:
        """Notes that a host that was taken runs no more."""
        self._lanes[kind_of(host)].running -= 1

    def take_all(self) -> list[int]:
        """Takes every host, in the plan's order."""
        rest = sorted(index for lane in self._lanes.values() for index in lane.hosts)
        for lane in self._lanes.values():
            lane.hosts.clear()
        return rest


@dataclass(slots=True)
class _Running:
    """A host that runs: its index in the plan, its greenlet, and when it has overstayed."""

    index: int
    task: Task
    overstays_at: float


class _Audit:
    """One audit under way."""

    def __init__(
        self,
        plan: Plan,
        run_command_for: Callable[[HostPlan], RunCommand],
        settings: EngineSettings,
        judge: JudgeHost,
        on_result: Callable[[HostResult], None],
        stop: StopRequest,
        repeat_command: RepeatCommand | None,
    ) -> None:
        self.hosts, self.settings, self.stop = plan.hosts, settings, stop
        self.on_result, self.repeat_command = on_result, repeat_command
        self.closing = threading.Event()
        self.pace = Pace(settings.per_second, time.monotonic())
        self.auditor = HostAuditor(run_command_for, judge, settings, self.closing, self.pace)
        self.forks = choose_forks(settings.forks, plan)
        log_forks(self.forks, settings.forks, len(plan.hosts))
        self.waiting = _HostQueue(plan.hosts, self.forks)
        self.batches = self._make_batches()
        self.failures = FailureLimit(settings.max_fail_percentage)
        self.gave_up = False
        if settings.per_second < math.inf:
            log.info("new connections: at most %g in a second (--rate)", settings.per_second)
        self.loop = Loop()
        self.running = dict[int, _Running]()  # by index, those that overstay first in front
        self.ended = deque[tuple[int, HostResult, bool]]()
        self.results: list[HostResult | None] = [None] * len(plan.hosts)
        self.bugs = 0

    def run(self) -> Outcome:
        """Audits every host and returns the results in the plan's order.

        Raises what `on_result` raises. The results are complete also after a stop: the hosts that
        had no time are reported as interrupted.
        """
        self.stop.wake = self.loop.ring
        with raised_file_limit(self.forks), seldom_collected():
            try:
                while self.waiting or self.running or self.batches:
                    self._advance()
            finally:
                # Also if on_result raised: what still runs is closed, and reports nothing.
                self.closing.set()
                self.loop.close()
        return self._outcome()

    def _advance(self) -> None:
        """Starts the hosts that may run now, and runs the others until one has a result.

        Then takes the results, and gives up the hosts that do not end. A batch begins once every
        host of the one before has ended; after a request to stop none begins.
        """
        if self.stop.requested and not self.closing.is_set():
            self._close()
        if self.batches and not (self.waiting or self.running):
            self._begin_batch()
        self._run_hosts(self._start_hosts())
        while self.ended:
            self._accept(*self.ended.popleft())
        self._abandon_overdue()

    def _outcome(self) -> Outcome:
        """Returns the results; a missing one would be a bug."""
        results = tuple(result for result in self.results if result is not None)
        if len(results) != len(self.hosts):
            raise AssertionError(f"{len(self.hosts)} hosts and {len(results)} results")
        interrupted = self.stop.requested or self.gave_up
        return Outcome(results=results, bugs=self.bugs, interrupted=interrupted)

    def _finish(self, index: int, result: HostResult) -> None:
        """Keeps the result of a host; begins no further host if too many have failed."""
        self._keep(index, result)
        if isinstance(result, NotAudited) and self.failures.count_failure():
            self._give_up()

    def _keep(self, index: int, result: HostResult) -> None:
        """Hands the result of a host to `on_result`; raises its `FleetauditError`.

        If `on_result` fails because of a bug, it gets a second result of the same host, which says
        so.
        """
        result = self._with_complete_hint(result)
        try:
            self.on_result(result)
        except FleetauditError:  # the disk: no further result could be kept either
            raise
        except Exception as e:  # a bug: this result cannot be kept or shown
            result = not_audited_by_bug(self.hosts[index], e)
            self.bugs += 1
            self.on_result(result)
        self.results[index] = result

    def _with_complete_hint(self, result: HostResult) -> HostResult:
        """Returns the result with a hint that can be typed as it stands."""
        if self.repeat_command is None or not (options := rerun_options(result.hint)):
            return result
        hint = self.repeat_command(result.name, options)
        return msgspec.structs.replace(result, hint=bounded_text(hint))

    # ---- starting ------------------------------------------------------------------------------

    def _make_batches(self) -> deque[Sequence[int]]:
        """Returns the hosts in batches, by their index in the plan.

        Hosts that no play matches are in the first batch as well, and have no place in any.
        """
        others = [i for i, host in enumerate(self.hosts) if isinstance(host.target, NotSelected)]
        selected = sorted(set(range(len(self.hosts))).difference(others))
        first, *rest = split(selected, self.settings.serial) or [[]]
        if self.settings.serial:
            log.info(
                "%s, one after the other (--serial)", count_noun(1 + len(rest), "batch", "batches")
            )
        return deque((sorted((*others, *first)), *rest))

    def _begin_batch(self) -> None:
        """Begins the next batch."""
        batch = self.batches.popleft()
        others = sum(isinstance(self.hosts[index].target, NotSelected) for index in batch)
        self.failures.begin_batch(len(batch) - others)
        self.waiting.add(batch)

    def _start_hosts(self) -> float:
        """Starts some of the hosts that may run now; returns when more may, infinity if a host has
        to end before.

        Starts none while the running hosts keep the processor busy.
        """
        if self.running and self.loop.busy_s > BUSY_S:
            return 0.0
        for _ in range(STARTS_A_TURN):
            if self.stop.requested or len(self.running) >= self.forks.total:
                return math.inf
            if self.waiting and self.pace.next_at > time.monotonic():
                return self.pace.next_at
            index = self.waiting.take_next()
            if index is None:
                return math.inf
            self._start(index)
        return 0.0

    def _start(self, index: int) -> None:
        """Starts a host, or finishes one that is not tried.

        Not tried is a host without a target, and one for which too many calls are stuck already.
        """
        host = self.hosts[index]
        if isinstance(host.target, NotAudited | NotSelected):
            self._end(index, host.target)
        elif len(self.loop.left_behind) >= MAX_STUCK:
            reason = f"{MAX_STUCK} connections of this run are stuck; no more are tried"
            hint = rerun_hint("-l", host.name)
            self._end(index, not_audited(host, "execute", reason, hint, kind="interrupted"))
        else:
            self.pace.reserve(time.monotonic())
            task = self.loop.start(partial(self._audit_host, index, host))
            allowed_s = self.settings.deadline_s(host) + self.settings.grace_s
            self.running[index] = _Running(index, task, time.monotonic() + allowed_s)

    def _audit_host(self, index: int, host: HostPlan) -> None:
        """Audits one host; runs in its greenlet."""
        self.ended.append((index, *self.auditor.audit(host)))

    # ---- results -------------------------------------------------------------------------------

    def _run_hosts(self, more_at: float) -> None:
        """Runs the hosts that can go on; waits for that until more may be started."""
        overdue_at = [running.overstays_at for running in islice(self.running.values(), 1)]
        until = min(more_at, *overdue_at, math.inf)
        if until < math.inf:
            self.loop.turn(until)

    def _accept(self, index: int, result: HostResult, is_bug: bool) -> None:
        """Takes the result of a host; ignores one that was abandoned.

        While the run is closing, a failure is the stop's, whatever the transport says about it.
        """
        if self.running.pop(index, None) is None:
            return
        self.bugs += is_bug
        if self.closing.is_set() and isinstance(result, NotAudited) and not is_bug:
            result = self._interrupted(self.hosts[index])
        self._end(index, result)

    def _end(self, index: int, result: HostResult) -> None:
        """Finishes a host that runs no more, and lets the next one begin."""
        self.waiting.end(self.hosts[index])
        self._finish(index, result)

    def _abandon_overdue(self) -> None:
        """Abandons the hosts that have overstayed."""
        now = time.monotonic()
        # A host that is watched has more time than one that began after it.
        for running in [each for each in self.running.values() if each.overstays_at <= now]:
            self._end(running.index, self._abandon(running.index))

    def _abandon(self, index: int) -> NoTarget:
        """Ends a host where it waits, and returns its result."""
        self.loop.abandon(self.running.pop(index).task)
        host = self.hosts[index]
        if self.closing.is_set():
            return self._interrupted(host)
        log.warning("%s: the connection did not end by its deadline and was left behind", host.name)
        seconds = self.settings.deadline_s(host)
        reason = f"no answer within {seconds:g} s, and the connection could not be closed"
        hint = rerun_hint("--host-deadline", f"{2 * self.settings.host_deadline_s:g}")
        return not_audited(host, "execute", reason, hint, kind="timed out")

    # ---- stopping ------------------------------------------------------------------------------

    def _close(self) -> None:
        """Closes the running hosts soon, and finishes those that have not begun."""
        self.closing.set()
        now = time.monotonic()
        for index, running in self.running.items():
            until = now + self._grace_s(self.hosts[index])
            running.overstays_at = min(running.overstays_at, until)
        soonest_first = sorted(self.running.values(), key=attrgetter("overstays_at"))
        self.running = {running.index: running for running in soonest_first}
        self.loop.wake_all()
        for index in self._take_all():
            self._keep(index, self._interrupted(self.hosts[index]))

    def _give_up(self) -> None:
        """Finishes the hosts that have not begun, because too many have failed."""
        failures = self.failures
        reason = (
            f"not begun, because {failures.failed} of the {count_noun(failures.size, 'host')} of a"
            f" batch could not be audited, more than --max-fail-percentage {failures.percentage:g}"
        )
        rest = self._take_all()
        if rest and not self.gave_up:
            log.warning("%s left: %s", count_noun(len(rest), "host"), reason)
        self.gave_up = self.gave_up or bool(rest)
        for index in rest:
            self._keep(index, self._not_begun(self.hosts[index], reason, "too many failures"))

    def _take_all(self) -> list[int]:
        """Takes every host that has not begun, in the plan's order."""
        rest = [*self.waiting.take_all(), *chain.from_iterable(self.batches)]
        self.batches.clear()
        return rest

    def _grace_s(self, host: HostPlan) -> float:
        """Returns how long a stop waits for a host, in seconds.

        A connection ends with this process, and with it the probe at its other end. A child
        process would live on.
        """
        grace_s = self.settings.grace_s
        if kind_of(host) == "connection":
            return min(SSH_STOP_S, grace_s)
        return grace_s

    def _interrupted(self, host: HostPlan) -> NoTarget:
        """Returns the result of a host that the stop left no time for."""
        reason = f"{self.stop.reason} before this host answered"
        return self._not_begun(host, reason, "interrupted")

    def _not_begun(self, host: HostPlan, reason: str, kind: FailureKind) -> NoTarget:
        """Returns the result of a host that is left for `--resume`."""
        if isinstance(host.target, NotAudited | NotSelected):
            return host.target  # more time would not have changed that
        return not_audited(host, "interrupted", reason, rerun_hint("-l", host.name), kind=kind)
