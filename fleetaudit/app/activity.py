"""What every host is doing: a line of the log for each stage of each attempt, and which hosts take
long.

Rules: the threads of hosts write, the thread that draws the progress reads. The transport sanitizes
and masks the text of a log line; the log sanitizes it once more. Times are of the monotonic clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetaudit.analysis.doctor import describe_connection
from fleetaudit.errors import TransportError
from fleetaudit.transport import ignore_stage

if TYPE_CHECKING:
    from fleetaudit.engine import RunCommand
    from fleetaudit.model import HostPlan, Stage, Target
    from fleetaudit.transport import (
        Deadline,
        Limits,
        Output,
        StageListener,
    )
    from fleetaudit.transport.registry import Transports

LONG_S = 10.0
"""Seconds after which a host is named as one that takes long."""
MOST_NAMED = 3

log = logging.getLogger(__name__)


class Activity:
    """The hosts that are audited now, and since when. `runner_for` returns the function that runs a
    command on a host.
    """

    def __init__(self, transports: Transports, clock: Callable[[], float] = time.monotonic) -> None:
        self._transports, self._clock = transports, clock
        self._since = dict[str, float]()  # one thread a host writes its own key
        self._tries = dict[str, int]()

    def runner_for(self, host: HostPlan, also: StageListener = ignore_stage) -> RunCommand:
        """Returns the function that runs a command on this host and logs each stage; it calls
        `also` for each stage.
        """

        def run(
            target: Target, command: str, stdin: bytes, deadline: Deadline, limits: Limits
        ) -> Output:
            attempt = self._begin(host)

            def passed(stage: Stage, what: str) -> None:
                attempt.passed(stage, what)
                also(stage, what)

            try:
                output = self._transports.run(target, command, stdin, deadline, limits, passed)
            except TransportError as e:
                attempt.failed(e)
                raise
            attempt.executed(output)
            return output

        return run

    def ended(self, name: str) -> None:
        """Takes a host off the list of those that run."""
        self._since.pop(name, None)

    def waiting(self) -> str:
        """Returns the hosts that take long in words, "" where there are none: "waiting for web7 (38
        s), db2 (31 s)".
        """
        from fleetaudit.text.sanitize import terminal_line

        now = self._clock()
        since = sorted(
            (began, name) for name, began in dict(self._since).items() if now - began >= LONG_S
        )
        if not since:
            return ""
        named = ", ".join(
            f"{terminal_line(name, 60)} ({now - began:.0f} s)" for began, name in since[:MOST_NAMED]
        )
        more = len(since) - MOST_NAMED
        return f"waiting for {named}" + (f" and {more:,} more" if more > 0 else "")

    def _begin(self, host: HostPlan) -> _Attempt:
        now = self._clock()
        self._since.setdefault(host.name, now)
        self._tries[host.name] = number = self._tries.get(host.name, 0) + 1
        log.debug("%s: attempt %d: %s", host.name, number, describe_connection(host.target))
        return _Attempt(host.name, number, self._clock)


class _Attempt:
    """Logs one attempt at one host."""

    def __init__(self, host: str, number: int, clock: Callable[[], float]) -> None:
        self._name, self._clock = f"{host}: attempt {number}", clock
        self._began = self._last = clock()

    def passed(self, stage: Stage, what: str) -> None:
        self._log(f"{stage} passed", what)

    def failed(self, error: TransportError) -> None:
        kind = f" ({error.kind})" if error.kind else ""
        self._log(f"{error.stage} failed{kind}", error.reason)

    def executed(self, output: Output) -> None:
        status = (
            "no exit status" if output.exit_status is None else f"exit status {output.exit_status}"
        )
        self._log("execute passed", f"{status}, {len(output.stdout)} bytes of output")

    def _log(self, event: str, what: str) -> None:
        now = self._clock()
        took, all_ = now - self._last, now - self._began
        log.debug("%s: %s after %.3f s (%.3f s in all): %s", self._name, event, took, all_, what)
        self._last = now
