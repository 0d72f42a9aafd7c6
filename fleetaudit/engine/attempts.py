"""Audits one host in its greenlet: sends the probe, retries, decodes the reply and judges it."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fleetaudit.errors import FleetauditError, ReplyError, TransportError
from fleetaudit.log import get_logger
from fleetaudit.model import (
    Audited,
    HostPlan,
    HostResult,
    NotAudited,
    NotSelected,
)
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.offer import new_offer
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline, Limits, Output, waiting
from fleetaudit.transport.masking import Masking, Maskings

from .control import EngineSettings, JudgeHost, KnowsEvidence, RunCommand, start_host_deadline
from .failures import not_audited_after, not_audited_by_bug
from .pace import Pace

log = get_logger(__name__)

MAX_BACKOFF_S = 8.0
MAX_REASON = 4000
"""Maximum number of characters of why a reply is not valid: it may quote the host."""


@dataclass(frozen=True, slots=True)
class HostAuditor:
    """Audits one host after another; all hosts share it.

    `run_command_for` is called at each attempt. `closing` is set once the run is closing. `pace`
    says when the connection of another attempt may begin.
    """

    run_command_for: Callable[[HostPlan], RunCommand]
    judge: JudgeHost
    settings: EngineSettings
    closing: threading.Event
    pace: Pace
    verdicts: verdict.VerdictCache = field(default_factory=verdict.VerdictCache)
    maskings: Maskings = field(default_factory=Maskings)

    def audit(self, host: HostPlan) -> tuple[HostResult, bool]:
        """Returns the result of a host, and whether it comes from a bug in fleetaudit.

        A bug loses this host only. It catches even SystemExit, which a library may raise, so that
        every host has a result. It raises only what is not about this host: `KeyboardInterrupt`,
        and `waiting.Abandoned` where the host is given up.
        """
        try:
            return self._try_until_deadline(host), False
        except FleetauditError as e:
            return not_audited_after(host, e), False
        except (KeyboardInterrupt, waiting.Abandoned):
            raise
        except BaseException as e:
            return not_audited_by_bug(host, e), True

    def _try_until_deadline(self, host: HostPlan) -> Audited:
        """Returns the audited host; tries again after a transient error, while there is time.

        Raises the error of the last attempt: a `TransportError`, or a `ReplyError` at once. A
        refused authentication is never transient, because accounts get locked.
        """
        deadline = start_host_deadline(self.settings.deadline_s(host), self.closing)
        failed = 0
        while True:
            try:
                return self._try_once(host, deadline)
            except TransportError as e:
                failed += 1
                if not self._may_retry(e, failed):
                    raise
                pause = self._pause_s(failed)
                if pause >= deadline.remaining():
                    raise
                log.info("%s: %s; trying again in %.1f s", host.name, e.reason, pause)
                waiting.sleep(deadline.within(pause))
                if not deadline.remaining():
                    raise

    def _may_retry(self, e: TransportError, failed: int) -> bool:
        """Returns whether trying again may help, and attempts are left after `failed` ones."""
        return e.transient and failed <= self.settings.retries

    def _pause_s(self, failed: int) -> float:
        """Returns the pause before the next attempt, in seconds: at least until it may begin."""
        now = time.monotonic()
        return max(self._backoff_s(failed), self.pace.reserve(now) - now)

    def _backoff_s(self, failed: int) -> float:
        """Returns the pause before the next attempt, in seconds.

        Jitter, so that connections that were dropped together do not come back together.
        """
        pause: float = min(MAX_BACKOFF_S, self.settings.backoff_s * 2**failed)
        return pause * random.uniform(0.25, 1.0)  # noqa: S311

    def _try_once(self, host: HostPlan, deadline: Deadline) -> Audited:
        """Returns the audited and judged host after one attempt.

        Raises `TransportError` if the probe could not be run, and `ReplyError` if its output is not
        a valid reply.
        """
        output = self._run_probe(host, deadline)
        masking = self.maskings.of(host.target)
        try:
            audited = self._decode(host, output, masking)
        except ReplyError as e:
            reason = e.reason
            if e.stage == "decode":
                reason += protocol.describe_beginning(output.stdout)
            # Masked before it is logged, and without its cause, which has the unmasked text.
            reason = printable_line(masking.text(reason), MAX_REASON)
            raise ReplyError(reason, hint=e.hint, stage=e.stage, kind=e.kind) from None
        log.debug("%s: decode passed: %d observations", host.name, len(audited.observations))
        return self.judge(audited, host)

    def _decode(self, host: HostPlan, output: Output, masking: Masking) -> Audited:
        """Returns the host from its output without passwords, with the times of evidence that the
        run lacks; all times if `judge` does not know what the run has. Raises `ReplyError`.

        What the run lacks is asked of the masked host, because that is what the run gets: evidence
        that a password was taken out of is not that of the host that sent the same.
        """
        decoded = verdict.decode_host(
            self.verdicts,
            host,
            output.stdout,
            output.stderr,
            output.exit_status,
            output.cut,
            output.nonce or "",
        )
        if isinstance(self.judge, KnowsEvidence):
            lacking = self.judge.lacking(masking.audited(decoded.without_times))
            return masking.audited(decoded.with_times(lacking))
        return masking.audited(decoded.with_times())

    def _run_probe(self, host: HostPlan, deadline: Deadline) -> Output:
        """Offers the probe to a host and returns its output with the nonce of the request that it
        answers; raises `TransportError`.

        The probe's alarm rings before the deadline of the host, so that it can report what it has.
        If the probe was started and sent nothing until the deadline, the reason says what was tried
        first.
        """
        if isinstance(host.target, NotAudited | NotSelected):
            raise TypeError("a host without a target is never tried")
        remaining = deadline.remaining()
        alarm = max(1.0, remaining - min(self.settings.margin_s, remaining / 4))
        offer = new_offer(host, deadline_s=alarm)
        run_command = self.run_command_for(host)
        try:
            output = run_command(host.target, protocol.COMMAND, offer, deadline, Limits())
        except TransportError as e:
            if (e.stage, e.kind) == ("execute", "timed out"):
                raise e.with_reason(e.reason + protocol.tried_first(host)) from e
            raise
        if output.nonce is None:
            return dataclasses.replace(output, nonce=offer.nonce)
        return output
