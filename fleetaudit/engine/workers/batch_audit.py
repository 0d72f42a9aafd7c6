"""What runs on a worker: the probe on the hosts of one batch, with the worker's own keys.

The hosts are audited by `engine.audit`, as without workers, with its deadlines and retries. Its
results are dropped: the bytes of each reply go back, and are judged where the run began.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fleetaudit.engine.control import EngineSettings, StopRequest
from fleetaudit.engine.scheduler import audit
from fleetaudit.errors import TransportError
from fleetaudit.model import Audited, HostPlan, HostResult, NotAudited, Plan, Target
from fleetaudit.probe.offer import Offer
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports

from .messages import Failed, HostReport, Printed, encode_reports, encode_version, own_version

_CHECK_S = 1.0
"""How often a batch looks whether somebody still waits for it, in seconds."""


class BatchWork(NamedTuple):
    """One batch as it is sent: its hosts, how they are audited, and the most seconds it may
    take.
    """

    hosts: tuple[HostPlan, ...]
    settings: EngineSettings
    deadline_s: float


def tell_version() -> bytes:
    """Returns which fleetaudit this worker has."""
    return encode_version(own_version())


def audit_batch(work: BatchWork, is_wanted: Callable[[], bool] = lambda: True) -> bytes:
    """Runs the probe on every host of a batch and returns what they printed, as bytes of
    `messages.encode_reports`.

    Ends early, with what it has, after the deadline of the batch or once `is_wanted` is false:
    nobody would read the rest.
    """
    recorder = _Recorder(Transports())
    stop, ended = StopRequest(), threading.Event()
    watcher = threading.Thread(
        target=_stop_in_time, args=(work.deadline_s, is_wanted, stop, ended), daemon=True
    )
    watcher.start()
    try:
        audit(
            Plan(playbooks=(), hosts=work.hosts),
            run_command=recorder.run_command_for(work.hosts[0]),
            run_command_for=recorder.run_command_for,
            settings=work.settings,
            judge=_not_judged,
            on_result=recorder.add_result,
            stop=stop,
        )
    finally:
        ended.set()
    return encode_reports(recorder.reports(work.hosts))


def _stop_in_time(
    deadline_s: float, is_wanted: Callable[[], bool], stop: StopRequest, ended: threading.Event
) -> None:
    """Stops a batch at its deadline, or once nobody waits for it any more."""
    deadline = Deadline.after(deadline_s)
    while not ended.wait(_CHECK_S):
        if not deadline.remaining() or not is_wanted():
            stop.request("the worker had no more time")
            return


def _not_judged(host: Audited, _plan: HostPlan) -> Audited:
    """Returns the host as it is: it is judged where the run began."""
    return host


class _Recorder:
    """Keeps the last output of each host, and why there is none."""

    def __init__(self, transports: Transports) -> None:
        self._transports = transports
        self._found = dict[str, Printed | Failed]()

    def run_command_for(self, host: HostPlan) -> Callable[..., Output]:
        """Returns the function that runs a command on a host and keeps its output."""

        def run(
            target: Target, command: str, stdin: Offer, deadline: Deadline, limits: Limits
        ) -> Output:
            try:
                output = self._transports.run(target, command, stdin, deadline, limits)
            except TransportError as e:
                self._found[host.name] = _failed_with(e)
                raise
            self._found[host.name] = _printed(output, stdin.nonce)
            return output

        return run

    def add_result(self, result: HostResult) -> None:
        """Keeps the reason of a host that was interrupted, or whose transport was never tried."""
        if isinstance(result, NotAudited) and (
            result.kind == "interrupted" or result.name not in self._found
        ):
            self._found[result.name] = _failed(result)

    def reports(self, hosts: Sequence[HostPlan]) -> list[HostReport]:
        """Returns the report of each host that has one."""
        return [
            HostReport(name=host.name, found=self._found[host.name])
            for host in hosts
            if host.name in self._found
        ]


def _printed(output: Output, nonce: str) -> Printed:
    """Returns the output of a request with this nonce, as it is sent."""
    return Printed(
        stdout=output.stdout,
        stderr=output.stderr,
        exit_status=output.exit_status,
        cut=output.cut,
        nonce=nonce,
    )


def _failed_with(e: TransportError) -> Failed:
    """Returns the error of a transport as it is sent."""
    return Failed(
        stage=e.stage, reason=e.reason, hint=e.hint, kind=e.kind, at=e.at, changed_key=e.changed_key
    )


def _failed(result: NotAudited) -> Failed:
    """Returns the result of a host that has no error of a transport."""
    return Failed(
        stage=result.stage, reason=result.reason, hint=result.hint, kind=result.kind, at=result.at
    )
