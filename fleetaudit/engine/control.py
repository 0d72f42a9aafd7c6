"""The controls of an audit: settings, functions that it calls, deadlines, the request to stop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fleetaudit.model import Audited, HostPlan, HostResult, Target
from fleetaudit.probe.offer import Offer
from fleetaudit.transport import Deadline, Limits, Output

from .batches import BatchSize

INTERRUPTED = "the run was interrupted"

JudgeHost = Callable[[Audited, HostPlan], Audited]
"""Returns the host with its findings; called in the greenlet of the host."""


@runtime_checkable
class KnowsEvidence(Protocol):
    """A function that judges hosts and knows which evidence the run has already;
    `store.deduplication.JudgeAndDeduplicate` is one.
    """

    def lacking(self, host: Audited) -> Iterable[int]:
        """Returns the indexes of the observations whose evidence the run does not have yet: only
        they need times.
        """
        ...


class RepeatCommand(Protocol):
    """Completes a hint with the typed command; `app.command_line.CommandLine.for_host` is one."""

    def __call__(self, host: str, options: Sequence[str]) -> str:
        """Returns the shell command that repeats the command for one host with these options."""
        ...


class RunCommand(Protocol):
    """Runs a command on a host; `transport.registry.Transports.run` is the real one."""

    def __call__(
        self,
        target: Target,
        command: str,
        stdin: Offer,
        deadline: Deadline,
        limits: Limits,
    ) -> Output:
        """Returns the output of `command` on the target; raises `TransportError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How many hosts at once (None: the default of `forks.choose_forks`), and for how long; times
    are in seconds.

    `host_deadline_s` covers everything about one host, retries included; the probe's own alarm
    rings `margin_s` before it. `grace_s` is the time that a host gets beyond that before it is
    abandoned, and the time that running hosts get to close after a stop.
    """

    forks: int | None = None
    host_deadline_s: float = 120.0
    retries: int = 2
    backoff_s: float = 0.5
    margin_s: float = 5.0
    grace_s: float = 3.0
    serial: tuple[BatchSize, ...] = ()
    """The sizes of the batches; none means one batch."""
    max_fail_percentage: float | None = None
    """How many per cent of a batch may fail before no further host begins."""
    per_second: float = math.inf
    """How many connections may begin in a second."""

    def deadline_s(self, host: HostPlan) -> float:
        """Returns the seconds for everything about one host, with what its plan adds."""
        return self.host_deadline_s + host.extra_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of an audit: one result per host in the plan's order, and how many hosts a bug in
    fleetaudit cost.
    """

    results: tuple[HostResult, ...]
    bugs: int
    interrupted: bool


class StopRequest:
    """Ends a running audit early.

    `request` may be called from a signal handler: it takes no lock.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason = INTERRUPTED
        self.wake: Callable[[], None] = _wake_nobody
        """Wakes the audit that this is for; takes no lock."""

    def request(self, reason: str = INTERRUPTED) -> None:
        """Stops scheduling hosts and closes the running ones.

        The first `reason` becomes the reason of every host that is not audited.
        """
        if not self.requested:
            self.reason = reason
        self.requested = True
        self.wake()


def _wake_nobody() -> None:
    """Does nothing: no audit is under way."""


class HostDeadline(Deadline):
    """A deadline that also counts as reached once the run is closing, so that a transport that
    checks it ends soon.
    """

    __slots__ = ("closing",)
    closing: threading.Event

    def remaining(self) -> float:
        return 0.0 if self.closing.is_set() else max(0.0, self.at - time.monotonic())


def start_host_deadline(seconds: float, closing: threading.Event) -> HostDeadline:
    """Returns the deadline that is `seconds` from now, or when `closing` is set."""
    deadline = HostDeadline(time.monotonic() + seconds)
    object.__setattr__(deadline, "closing", closing)
    return deadline
