"""Which hosts are being audited and which of them take long; logs each stage of each attempt.

Rules: hosts write where they run, the thread that draws the progress reads. The transport sanitizes
and masks the text of a log line; the log sanitizes it once more. Times are of the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetaudit.analysis.doctor import describe_connection
from fleetaudit.errors import TransportError
from fleetaudit.log import get_logger
from fleetaudit.probe.offer import Offer
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import terminal_line
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
"""Seconds after which a host counts as one that takes long."""
MAX_NAMED = 3

log = get_logger(__name__)


class Activity:
    """The hosts that are being audited, and since when.

    `transports` run the commands; `clock` returns seconds that never go back.
    """

    def __init__(self, transports: Transports, clock: Callable[[], float] = time.monotonic) -> None:
        self._transports, self._clock = transports, clock
        self._began = dict[str, float]()  # a host writes its own key
        self._attempts = dict[str, int]()
        self._note = ""

    def runner_for(self, host: HostPlan, listener: StageListener = ignore_stage) -> RunCommand:
        """Returns the function that runs a command on this host and logs each stage.

        It calls `listener` for each stage, too, where the host runs. It raises the
        `TransportError` of the transport unchanged, after logging the stage that failed.
        """

        def run(
            target: Target, command: str, stdin: Offer, deadline: Deadline, limits: Limits
        ) -> Output:
            attempt = self._begin(host)

            def passed(stage: Stage, what: str) -> None:
                attempt.passed(stage, what)
                listener(stage, what)

            try:
                output = self._transports.run(target, command, stdin, deadline, limits, passed)
            except TransportError as e:
                attempt.failed(e)
                raise
            attempt.executed(output)
            return output

        return run

    def ended(self, name: str) -> None:
        """Removes a host that has a result; a host that never began is no error."""
        self._began.pop(name, None)

    def set_note(self, note: str) -> None:
        """Sets what else goes on, in a few words: "3 workers, 2 of 12 batches"."""
        log.info("%s", note)
        self._note = note

    def waiting(self) -> str:
        """Returns "waiting for web7 (38 s), db2 (31 s)", "" if no host takes long.

        What else goes on comes first. Names the `MAX_NAMED` hosts that take longest, the longest
        first, and counts the others.
        """
        now = self._clock()
        began = dict(self._began).items()
        slow = sorted((since, name) for name, since in began if now - since >= LONG_S)
        if not slow:
            return self._note
        named = ", ".join(
            f"{terminal_line(name, 60)} ({now - since:.0f} s)" for since, name in slow[:MAX_NAMED]
        )
        more = len(slow) - MAX_NAMED
        if more > 0:
            named = f"{named} and {more:,} more"
        return f"{surround('', self._note, '; ')}waiting for {named}"

    def _begin(self, host: HostPlan) -> _Attempt:
        """Starts an attempt at a host."""
        self._began.setdefault(host.name, self._clock())
        self._attempts[host.name] = number = self._attempts.get(host.name, 0) + 1
        log.debug("%s: attempt %d: %s", host.name, number, describe_connection(host.target))
        return _Attempt(host.name, number, self._clock)


class _Attempt:
    """Logs one attempt at one host."""

    def __init__(self, host: str, number: int, clock: Callable[[], float]) -> None:
        self._name, self._clock = f"{host}: attempt {number}", clock
        self._began = self._last = clock()

    def passed(self, stage: Stage, what: str) -> None:
        """Logs a stage that was passed, with `what` was seen there."""
        self._log(f"{stage} passed", what)

    def failed(self, error: TransportError) -> None:
        """Logs the stage that failed."""
        event = f"{error.stage} failed"
        if error.kind:
            event += f" ({error.kind})"
        self._log(event, error.reason)

    def executed(self, output: Output) -> None:
        """Logs that the command ended."""
        status = f"exit status {output.exit_status}"
        if output.exit_status is None:
            status = "no exit status"
        self._log("execute passed", f"{status}, {len(output.stdout)} bytes of output")

    def _log(self, event: str, what: str) -> None:
        """Logs an event with the time since the last one and since the attempt began."""
        now = self._clock()
        took, total = now - self._last, now - self._began
        log.debug("%s: %s after %.3f s (%.3f s in all): %s", self._name, event, took, total, what)
        self._last = now
