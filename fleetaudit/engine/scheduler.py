"""Many hosts at once: a thread each, one deadline a host, retries; exactly one result for every
host of the plan.

Rules: only here does an error of a transport become a value. Nothing waits without a limit: a
thread that overstays its deadline is left behind and its host is told as not audited. A bug in one
host's path loses that host only, and is not hidden: its traceback goes to the log and
`Outcome.bugs` counts it. `on_result` is called by the caller's thread only.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import re
import resource
import shlex
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import msgspec

from fleetaudit.errors import (
    FailureKind,
    FleetauditError,
    ReplyError,
    TransportError,
    rerun_hint,
    rerun_options,
)
from fleetaudit.model import (
    Audited,
    Finding,
    HostPlan,
    HostResult,
    KernelTarget,
    LocalTarget,
    NoTarget,
    NotAudited,
    NotSelected,
    Plan,
    SshTarget,
    Stage,
    Target,
)
from fleetaudit.probe import protocol, verdict
from fleetaudit.text.sanitize import bounded_text
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.masking import Masking
from fleetaudit.transport.ssh_command import ssh_command_line

log = logging.getLogger(__name__)

FILES_A_HOST = 6
"""The most file descriptors that one running host needs: three pipes with both ends (local); SSH
needs fewer.
"""
RESERVED_FILES = 64
MOST_STUCK = 128
"""How many threads may be left behind before no new host is tried."""
MOST_AT = 200
"""How many characters of the name of a jump host are kept."""
PROMPT_S = 0.5
"""How long a stop waits for an SSH connection to notice it, in seconds."""
_STAGES: dict[str, Stage] = {stage: stage for stage in get_args(Stage)}


class RepeatCommand(Protocol):
    """Returns the command that the user typed, for one host; implemented by
    `cli.typed.Typed.for_host`.
    """

    def __call__(self, host: str, options: Sequence[str]) -> str:
        """Returns the line for a shell that repeats the command for one host with these options."""
        ...


class RunCommand(Protocol):
    """How bytes reach a host; `transport.registry.Transports.run` is the real one."""

    def __call__(
        self,
        target: SshTarget | LocalTarget | KernelTarget,
        command: str,
        stdin: bytes,
        deadline: Deadline,
        limits: Limits,
    ) -> Output:
        """Returns the output of `command` on the target; raises `TransportError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How many hosts at once, and for how long. `host_deadline_s` covers everything about one host,
    retries included; the probe's own alarm rings `margin_s` before it. `grace_s` is what a thread
    gets beyond that before it is left behind, and what running hosts get to close after a stop.
    """

    forks: int = 32
    host_deadline_s: float = 120.0
    retries: int = 2
    backoff_s: float = 0.5
    margin_s: float = 5.0
    grace_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the plan: a result a host in the plan's order; how many of them a bug of ours
    cost.
    """

    results: tuple[HostResult, ...]
    bugs: int
    interrupted: bool


class StopRequest:
    """Asks a running audit to end early; `ask` may be called from a signal handler (it takes no
    lock).
    """

    def __init__(self) -> None:
        self.asked = False
        self.why = "the run was interrupted"
        self.events: queue.SimpleQueue[tuple[int, HostResult, bool] | None] = queue.SimpleQueue()

    def ask(self, why: str = "the run was interrupted") -> None:
        """Lets no new host begin and closes those that run; `why` is what each host that misses out
        is told with.
        """
        if not self.asked:
            self.why = why
        self.asked = True
        self.events.put(None)


class _HostDeadline(Deadline):
    """A deadline that has also come once the run is closing, so that a transport that looks at it
    ends soon.
    """

    __slots__ = ("closing",)
    closing: threading.Event

    def remaining(self) -> float:
        return 0.0 if self.closing.is_set() else max(0.0, self.at - time.monotonic())


def _deadline(seconds: float, closing: threading.Event) -> _HostDeadline:
    deadline = _HostDeadline(time.monotonic() + seconds)
    object.__setattr__(deadline, "closing", closing)
    return deadline


def limit_forks(wanted: int) -> int:
    """Returns how many hosts can run at once within this process's limit of open files, at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    free = soft - sum(1 for _ in Path("/proc/self/fd").iterdir()) - RESERVED_FILES
    return max(1, min(wanted, free // FILES_A_HOST))


def audit(
    plan: Plan,
    *,
    run: RunCommand,
    settings: EngineSettings,
    judge: Callable[[Audited, HostPlan], Audited],
    on_result: Callable[[HostResult], None],
    stop: StopRequest | None = None,
    run_of: Callable[[HostPlan], RunCommand] | None = None,
    again: RepeatCommand | None = None,
) -> Outcome:
    """Audits every host of the plan and returns what became of each.

    `judge` adds the findings, in the host's own thread; `on_result` gets each result as it comes. A
    `FleetauditError` that it raises ends the audit, because no further result could be kept. Any
    other exception costs that host only, and `on_result` gets the new result of the host. `run_of`
    is for observers: it is called at each attempt, in the thread of the host, and returns the
    function that replaces `run`. `again` completes each hint that repeats the command.
    """
    return _Audit(
        plan, run_of or (lambda _: run), settings, judge, stop or StopRequest(), again
    ).conduct(on_result)


class _Audit:
    """One audit under way. The conductor's fields are its own; threads only put on `events`."""

    def __init__(
        self,
        plan: Plan,
        run_of: Callable[[HostPlan], RunCommand],
        settings: EngineSettings,
        judge: Callable[[Audited, HostPlan], Audited],
        stop: StopRequest,
        again: RepeatCommand | None,
    ) -> None:
        self.plan, self.run_of, self.settings, self.judge, self.stop = (
            plan,
            run_of,
            settings,
            judge,
            stop,
        )
        self.again = again
        self.closing = threading.Event()
        self.running = dict[int, float]()  # host's index: when its thread has overstayed
        self.stuck = set[int]()
        self.bugs = 0
        guests = [isinstance(host.target, KernelTarget) for host in plan.hosts]
        self.waiting = deque(index for index, guest in enumerate(guests) if not guest)
        self.guests_waiting = deque(index for index, guest in enumerate(guests) if guest)
        self.guests = set[int]()

    def conduct(self, on_result: Callable[[HostResult], None]) -> Outcome:
        hosts = self.plan.hosts
        results: list[HostResult | None] = [None] * len(hosts)
        forks = limit_forks(self.settings.forks)
        if forks < min(self.settings.forks, len(hosts)):
            log.warning(
                "%d hosts at once instead of %d: the limit of open files (ulimit -n)",
                forks,
                self.settings.forks,
            )

        def done(index: int, result: HostResult) -> None:
            result = self._with_whole_hint(result)
            try:
                on_result(result)
            except FleetauditError:  # the disk: no further result can be kept either
                raise
            except (
                Exception
            ) as e:  # a bug: this result cannot be kept or shown; only this host is lost
                result = _bug(hosts[index], e)
                self.bugs += 1
                on_result(result)
            results[index] = result

        try:
            while self.waiting or self.guests_waiting or self.running:
                if self.stop.asked and not self.closing.is_set():
                    self._close()
                    for rest in sorted([*self.waiting, *self.guests_waiting]):
                        done(rest, self._interrupted(hosts[rest]))
                    self.waiting.clear()
                    self.guests_waiting.clear()
                while (
                    len(self.running) < forks
                    and not self.stop.asked
                    and (index := self._next()) is not None
                ):
                    if (refused := self._begin(index)) is not None:
                        done(index, refused)
                for came, result in self._events():
                    done(came, result)
        finally:
            # also where on_result raised: nobody waits for the threads that still run
            self.closing.set()
        whole = tuple(result for result in results if result is not None)
        if len(whole) != len(hosts):
            raise AssertionError(f"{len(hosts)} hosts and {len(whole)} results")
        return Outcome(results=whole, bugs=self.bugs, interrupted=self.stop.asked)

    def _with_whole_hint(self, result: HostResult) -> HostResult:
        """Returns the result with a hint that can be typed as it stands."""
        if self.again is None or not (options := rerun_options(result.hint)):
            return result
        return msgspec.structs.replace(result, hint=bounded_text(self.again(result.name, options)))

    def _next(self) -> int | None:
        """Takes the next host that may begin, in the plan's order.

        A guest needs a core: more at once than there are cores would only wait, and their deadlines
        with them.
        """
        self.guests &= self.running.keys()
        guest = (
            self.guests_waiting[0]
            if len(self.guests) < (os.cpu_count() or 1) and self.guests_waiting
            else None
        )
        other = self.waiting[0] if self.waiting else None
        if guest is None or (other is not None and other < guest):
            return self.waiting.popleft() if self.waiting else None
        self.guests.add(guest)
        return self.guests_waiting.popleft()

    def _begin(self, index: int) -> NoTarget | None:
        """Starts a host's thread; returns its result where that cannot be done."""
        host = self.plan.hosts[index]
        if isinstance(host.target, NotAudited | NotSelected):
            return host.target
        if len(self.stuck) >= MOST_STUCK:
            reason = f"{MOST_STUCK} connections of this run are stuck; no more are tried"
            return _not_audited(
                host, "execute", reason, rerun_hint("-l", host.name), kind="interrupted"
            )
        # A daemon: a thread that is stuck in a library must not keep the process from ending.
        thread = threading.Thread(
            target=self._host, args=(index, host), name=f"host {host.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as e:
            return _not_audited(
                host, "execute", f"cannot start a thread for it: {e}", rerun_hint("-f", "8")
            )
        self.running[index] = (
            time.monotonic() + self.settings.host_deadline_s + self.settings.grace_s
        )
        return None

    def _close(self) -> None:
        self.closing.set()
        now = time.monotonic()
        for index, overstayed in self.running.items():
            # A connection ends with this process, and with it the probe at its other end; a child
            # would live on.
            remote = isinstance(self.plan.hosts[index].target, SshTarget)
            grace = min(PROMPT_S, self.settings.grace_s) if remote else self.settings.grace_s
            self.running[index] = min(overstayed, now + grace)

    def _events(self) -> list[tuple[int, HostResult]]:
        """Returns the next result, or those of the hosts whose threads have overstayed; waits for
        either.
        """
        if not self.running:
            return []
        wait = min(self.running.values()) - time.monotonic()
        try:
            event = self.stop.events.get(timeout=max(0.0, wait))
        except queue.Empty:
            return [
                (index, self._leave(index))
                for index, at in list(self.running.items())
                if at <= time.monotonic()
            ]
        if event is None:
            return []
        index, result, bug = event
        if self.running.pop(index, None) is None:
            self.stuck.discard(index)
            return []  # it was left behind, and its host told already
        self.bugs += bug
        if self.closing.is_set() and isinstance(result, NotAudited) and not bug:
            result = self._interrupted(self.plan.hosts[index])
        return [(index, result)]

    def _leave(self, index: int) -> NoTarget:
        del self.running[index]
        self.stuck.add(index)
        host = self.plan.hosts[index]
        if self.closing.is_set():
            return self._interrupted(host)
        log.warning("%s: its connection did not end by its deadline and was left behind", host.name)
        reason = (
            f"no answer within {self.settings.host_deadline_s:g} s, and the connection could not be"
            " closed"
        )
        longer = rerun_hint("--host-deadline", f"{2 * self.settings.host_deadline_s:g}")
        return _not_audited(host, "execute", reason, longer, kind="timed out")

    def _interrupted(self, host: HostPlan) -> NoTarget:
        if isinstance(host.target, NotAudited | NotSelected):
            return host.target  # no more time would have changed that
        reason = f"{self.stop.why} before this host answered"
        return _not_audited(
            host, "interrupted", reason, rerun_hint("-l", host.name), kind="interrupted"
        )

    # ---- one host, in its own thread
    # -------------------------------------------------------------------------------

    def _host(self, index: int, host: HostPlan) -> None:
        result: HostResult
        bug = False
        try:
            result = self._attempts(host)
        except TransportError as e:
            result = _not_audited(
                host, e.stage, e.reason, e.hint, kind=e.kind, at=e.at, changed_key=e.changed_key
            )
        except ReplyError as e:
            log.debug("%s: %s failed (%s): %s", host.name, e.stage, e.kind, e.reason)
            result = _not_audited(
                host, e.stage, e.reason, e.hint or _by_hand(host.target), kind=e.kind
            )
        except FleetauditError as e:
            result = _not_audited(host, "execute", str(e))
        except (
            BaseException
        ) as e:  # a bug of ours: this host is told, the others go on, the log has it whole
            bug = True
            result = _bug(host, e)
        self.stop.events.put((index, result, bug))

    def _attempts(self, host: HostPlan) -> Audited:
        deadline = _deadline(self.settings.host_deadline_s, self.closing)
        attempt = 0
        while True:
            try:
                return self._attempt(host, deadline)
            except TransportError as e:
                attempt += 1
                # Full jitter, so that what was dropped together does not come back together.
                pause = min(8.0, self.settings.backoff_s * 2**attempt) * random.uniform(0.25, 1.0)  # noqa: S311
                if (
                    not e.transient
                    or attempt > self.settings.retries
                    or pause >= deadline.remaining()
                ):
                    raise
                log.info("%s: %s; trying again in %.1f s", host.name, e.reason, pause)
                if self.closing.wait(pause):
                    raise

    def _attempt(self, host: HostPlan, deadline: Deadline) -> Audited:
        if isinstance(host.target, NotAudited | NotSelected):
            raise TypeError("a host without a target is never tried")
        remaining = deadline.remaining()
        alarm = max(1.0, remaining - min(self.settings.margin_s, remaining / 4))
        stdin = protocol.make_request(host, deadline_s=alarm)
        try:
            output = self.run_of(host)(host.target, protocol.COMMAND, stdin, deadline, Limits())
        except TransportError as e:
            hung = (e.stage, e.kind) == ("execute", "timed out")
            raise e.with_reason(e.reason + protocol.tried_first(host)) if hung else e from None
        masking = Masking(host.target)
        try:
            decoded = verdict.result_from_output(
                host, output.stdout, output.stderr, output.exit_status, output.cut
            )
        except (
            ReplyError
        ) as e:  # before it is logged; without its cause, which has the unmasked text
            raise ReplyError(
                masking.text(e.reason), hint=e.hint, stage=e.stage, kind=e.kind
            ) from None
        audited = masking.audited(decoded)
        log.debug("%s: decode passed: %d observations", host.name, len(audited.observations))
        return self.judge(audited, host)


def _not_audited(
    host: HostPlan,
    stage: str,
    reason: str,
    hint: str = "",
    *,
    kind: FailureKind = "",
    at: str = "",
    changed_key: tuple[str, str] | None = None,
) -> NotAudited:
    masking = Masking(host.target)  # here, for every reason: each may contain text of the host
    hint = masking.data(hint)
    return NotAudited(
        name=host.name,
        groups=host.groups,
        stage=_STAGES.get(stage, "execute"),
        kind=kind,
        at=bounded_text(masking.data(at), MOST_AT),
        reason=bounded_text(masking.text(reason)),
        hint=bounded_text(hint),
        findings=(
            (_changed(masking.data(changed_key[0]), masking.data(changed_key[1]), hint),)
            if changed_key
            else ()
        ),
    )


def _bug(host: HostPlan, e: BaseException) -> NotAudited:
    """Returns the result of a host for which fleetaudit failed; the traceback goes to the log."""
    told = Masking(host.target).text("".join(traceback.format_exception(e)))
    log.error("a bug in fleetaudit, met at host %s\n%s", host.name, told.rstrip())
    reason = f"a bug in fleetaudit: {type(e).__name__}: {e}"
    return _not_audited(host, "execute", reason, kind="bug in fleetaudit")


def _by_hand(target: Target | NoTarget) -> str:
    """Returns the line that shows what the host answers."""
    match target:
        case SshTarget():
            command = f"{_python(target)} -E -s -"
            return (
                f"fleetaudit probe | {ssh_command_line(target, target.user or '', command=command)}"
            )
        case LocalTarget():
            return f"fleetaudit probe | {_python(target)} -E -s -"
        case _:
            return ""


def _python(target: SshTarget | LocalTarget) -> str:
    """Returns the Python of a host as words for a shell: the one that the inventory names, else the
    usual one.
    """
    named = target.interpreter.value if target.interpreter else ""
    # A path with a blank and words such as "/usr/bin/env python3" look alike; what a shell would
    # take apart is quoted.
    harmless = re.fullmatch(r"(~/)?[\w@%+=:,./ -]+", named, re.ASCII)
    return (named if harmless else shlex.quote(named)) if named else "python3"


def _changed(known: str, shown: str, hint: str) -> Finding:
    """Returns what a changed host key is beside a reason: it must not go unseen among hosts that
    are down.
    """
    return Finding(
        id="host-key:changed",
        severity="error",
        expected=bounded_text(known),
        observed=bounded_text(shown),
        because=(
            "Someone may be in between, or the host was installed anew: nothing was sent to it."
        ),
        fix=bounded_text(hint),
    )
