"""Audits every host of a plan: starts a thread per host, collects the results, ends in time.

Rules: exactly one result for every host of the plan. Errors of a transport become values in the
engine only. Nothing waits without a limit: a thread that overstays its deadline is abandoned, and
its host is not audited. A bug in one host's path loses that host only, and is not hidden: its
traceback goes to the log and `Outcome.bugs` counts it. `on_result` is called by the caller's thread
only.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

import msgspec

from fleetaudit.errors import FleetauditError, rerun_hint, rerun_options
from fleetaudit.log import get_logger
from fleetaudit.model import HostPlan, HostResult, NoTarget, NotAudited, NotSelected, Plan
from fleetaudit.text.sanitize import bounded_text
from fleetaudit.transport.registry import transport_of

from .attempts import HostAuditor
from .control import (
    EngineSettings,
    JudgeHost,
    Outcome,
    RepeatCommand,
    RunCommand,
    StopRequest,
    ThreadResult,
    limit_forks,
)
from .failures import not_audited, not_audited_by_bug

log = get_logger(__name__)

MAX_STUCK = 128
"""How many threads may be abandoned before no new host is tried."""
SSH_STOP_S = 0.5
"""How long a stop waits for an SSH connection to notice it, in seconds."""


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

    `judge` adds the findings, in the host's own thread. `on_result` gets each result as it comes. A
    `FleetauditError` that it raises ends the audit, because no further result could be kept. Any
    other exception costs that host only, and `on_result` gets the new result of the host.
    `run_command_for` is for observers: it is called at each attempt, in the thread of the host, and
    returns the function that replaces `run_command`. `repeat_command` completes each hint that
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


class _HostQueue:
    """The hosts that have not begun, by their index in the plan.

    A guest needs a core: more guests at once than cores would only wait, and their deadlines with
    them.
    """

    def __init__(self, plan: Plan) -> None:
        self._hosts = deque[int]()
        self._guests = deque[int]()
        self._running_guests = set[int]()
        self._max_guests = os.cpu_count() or 1
        for index, host in enumerate(plan.hosts):
            waiting = self._guests if _is_guest(host) else self._hosts
            waiting.append(index)

    def __bool__(self) -> bool:
        return bool(self._hosts or self._guests)

    def take_next(self, running: Collection[int]) -> int | None:
        """Takes the next host that may begin, in the plan's order; None if none may.

        `running` are the indexes of the hosts that run now. A guest waits while there are as many
        guests as cores; the hosts behind it in the plan do not wait for it.
        """
        self._running_guests &= set(running)
        guests = self._guests if len(self._running_guests) < self._max_guests else ()
        if guests and (not self._hosts or guests[0] < self._hosts[0]):
            self._running_guests.add(self._guests[0])
            return self._guests.popleft()
        return self._hosts.popleft() if self._hosts else None

    def take_all(self) -> list[int]:
        """Takes every host, in the plan's order."""
        rest = sorted([*self._hosts, *self._guests])
        self._hosts.clear()
        self._guests.clear()
        return rest


def _is_guest(host: HostPlan) -> bool:
    """Returns whether the target of a host is booted on this machine."""
    return not isinstance(host.target, NoTarget) and transport_of(host.target).boots


class _Audit:
    """One audit under way. Only the caller's thread uses the fields; threads put on `events`."""

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
        self.auditor = HostAuditor(run_command_for, judge, settings, self.closing)
        self.forks = self._forks()
        self.waiting = _HostQueue(plan)
        self.running = dict[int, float]()  # host's index: when its thread has overstayed
        self.stuck = set[int]()
        self.results: list[HostResult | None] = [None] * len(plan.hosts)
        self.bugs = 0

    def _forks(self) -> int:
        """Returns how many hosts run at once; logs a warning if they are fewer than asked for."""
        forks = limit_forks(self.settings.forks)
        if forks < min(self.settings.forks, len(self.hosts)):
            log.warning(
                "%d hosts at once instead of %d: the limit of open files (ulimit -n)",
                forks,
                self.settings.forks,
            )
        return forks

    def run(self) -> Outcome:
        """Audits every host and returns the results in the plan's order.

        Raises what `on_result` raises. The results are complete also after a stop: the hosts that
        had no time are reported as interrupted.
        """
        try:
            while self.waiting or self.running:
                self._advance()
        finally:
            # Also if on_result raised: nobody waits for the threads that still run.
            self.closing.set()
        return self._outcome()

    def _advance(self) -> None:
        """Starts as many hosts as may run now, and waits for the next results."""
        if self.stop.requested and not self.closing.is_set():
            self._close()
        self._start_hosts()
        for index, result in self._wait_for_results():
            self._finish(index, result)

    def _outcome(self) -> Outcome:
        """Returns the results; a missing one would be a bug."""
        results = tuple(result for result in self.results if result is not None)
        if len(results) != len(self.hosts):
            raise AssertionError(f"{len(self.hosts)} hosts and {len(results)} results")
        return Outcome(results=results, bugs=self.bugs, interrupted=self.stop.requested)

    def _finish(self, index: int, result: HostResult) -> None:
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

    def _start_hosts(self) -> None:
        """Starts as many hosts as may run now."""
        while len(self.running) < self.forks and not self.stop.requested:
            index = self.waiting.take_next(self.running.keys())
            if index is None:
                return
            if (result := self._start(index)) is not None:
                self._finish(index, result)

    def _start(self, index: int) -> NoTarget | None:
        """Starts the thread of a host; returns the result of a host for which none is started.

        None is started for a host without a target, if too many threads are stuck already, and if
        the system has no more threads.
        """
        host = self.hosts[index]
        if isinstance(host.target, NotAudited | NotSelected):
            return host.target
        if len(self.stuck) >= MAX_STUCK:
            reason = f"{MAX_STUCK} connections of this run are stuck; no more are tried"
            return not_audited(
                host, "execute", reason, rerun_hint("-l", host.name), kind="interrupted"
            )
        # A daemon: a thread that is stuck in a library must not keep the process from ending.
        thread = threading.Thread(
            target=self._audit_in_thread, args=(index, host), name=f"host {host.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as e:
            reason = f"cannot start a thread for it: {e}"
            return not_audited(host, "execute", reason, rerun_hint("-f", "8"))
        allowed_s = self.settings.host_deadline_s + self.settings.grace_s
        self.running[index] = time.monotonic() + allowed_s
        return None

    def _audit_in_thread(self, index: int, host: HostPlan) -> None:
        """Audits one host; runs in its thread."""
        result, is_bug = self.auditor.audit(host)
        self.stop.events.put(ThreadResult(index, result, is_bug))

    # ---- results -------------------------------------------------------------------------------

    def _wait_for_results(self) -> list[tuple[int, HostResult]]:
        """Waits for a result or for the first thread that overstays; returns results by the host's
        index.

        It returns nothing after a stop request and after the late result of an abandoned thread.
        """
        if not self.running:
            return []
        wait = min(self.running.values()) - time.monotonic()
        try:
            event = self.stop.events.get(timeout=max(0.0, wait))
        except queue.Empty:
            return self._abandon_overdue()
        return [] if event is None else self._accept(event)

    def _accept(self, event: ThreadResult) -> list[tuple[int, HostResult]]:
        """Returns the result that a thread reports, none if the thread was abandoned before.

        While the run is closing, a failure is the stop's, whatever the transport says about it.
        """
        index, result = event.index, event.result
        if self.running.pop(index, None) is None:
            self.stuck.discard(index)
            return []
        self.bugs += event.is_bug
        if self.closing.is_set() and isinstance(result, NotAudited) and not event.is_bug:
            result = self._interrupted(self.hosts[index])
        return [(index, result)]

    def _abandon_overdue(self) -> list[tuple[int, HostResult]]:
        """Abandons the threads that have overstayed, and returns the results of their hosts."""
        now = time.monotonic()
        overdue = [index for index, at in self.running.items() if at <= now]
        return [(index, self._abandon(index)) for index in overdue]

    def _abandon(self, index: int) -> NoTarget:
        """Stops waiting for the thread of a host, and returns the result of the host."""
        del self.running[index]
        self.stuck.add(index)
        host = self.hosts[index]
        if self.closing.is_set():
            return self._interrupted(host)
        log.warning("%s: the connection did not end by its deadline and was left behind", host.name)
        seconds = self.settings.host_deadline_s
        reason = f"no answer within {seconds:g} s, and the connection could not be closed"
        hint = rerun_hint("--host-deadline", f"{2 * seconds:g}")
        return not_audited(host, "execute", reason, hint, kind="timed out")

    # ---- stopping ------------------------------------------------------------------------------

    def _close(self) -> None:
        """Closes the running hosts soon, and finishes those that have not begun."""
        self.closing.set()
        now = time.monotonic()
        for index, overstayed in self.running.items():
            self.running[index] = min(overstayed, now + self._grace_s(self.hosts[index]))
        for index in self.waiting.take_all():
            self._finish(index, self._interrupted(self.hosts[index]))

    def _grace_s(self, host: HostPlan) -> float:
        """Returns how long a stop waits for a host, in seconds.

        A connection ends with this process, and with it the probe at its other end. A child
        process would live on.
        """
        grace_s = self.settings.grace_s
        if isinstance(host.target, NoTarget) or transport_of(host.target).has_child:
            return grace_s
        return min(SSH_STOP_S, grace_s)

    def _interrupted(self, host: HostPlan) -> NoTarget:
        """Returns the result of a host that the stop left no time for."""
        if isinstance(host.target, NotAudited | NotSelected):
            return host.target  # more time would not have changed that
        reason = f"{self.stop.reason} before this host answered"
        return not_audited(
            host, "interrupted", reason, rerun_hint("-l", host.name), kind="interrupted"
        )
