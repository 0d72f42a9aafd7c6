"""A reply with the times of each trial in the trial itself, as tests of the probe look at it."""

from __future__ import annotations

from msgspec.structs import asdict

from fleetaudit.model import Connection, Segment, StepTimes
from fleetaudit.probe import protocol
from fleetaudit.probe.times import (
    Size,
    check_times,
    evidence_with_times,
    evidence_without_times,
    starts_of,
)


class TimedTrial(protocol.RawTrial, frozen=True, kw_only=True):
    """A trial with its times."""

    wire: tuple[Segment, ...] | None  # type: ignore[assignment]
    connection: Connection | None = None  # type: ignore[assignment]
    steps: StepTimes = ()  # type: ignore[assignment]


class TimedObservation(protocol.RawObservation, frozen=True, kw_only=True):
    """An observation with the times of its trials."""

    trials: tuple[TimedTrial, ...] = ()


class TimedReply(protocol.Reply, frozen=True, kw_only=True):
    """A reply with the times of its trials."""

    observations: tuple[TimedObservation, ...]


def parse_reply(stdout: bytes) -> TimedReply:
    """Returns the reply in what a host printed, whatever call it answers."""
    return with_times(protocol.parse_reply(stdout))


def with_times(reply: protocol.Reply) -> TimedReply:
    """Returns a reply with its times where they belong."""
    sizes = [Size.of(trial) for o in reply.observations for trial in o.trials]
    starts = iter(starts_of(sizes))
    observations = tuple(
        TimedObservation(
            scenario=o.scenario,
            family=o.family,
            not_run=o.not_run,
            failed=o.failed,
            trials=tuple(_with_times(trial, reply.times, next(starts)) for trial in o.trials),
        )
        for o in reply.observations
    )
    check_times(reply.times, next(starts))
    fields = {name: getattr(reply, name) for name in reply.__struct_fields__}
    return TimedReply(**{**fields, "observations": observations})


def _with_times(trial: protocol.RawTrial, times: protocol.Times, start: Size) -> TimedTrial:
    evidence = evidence_with_times(evidence_without_times(trial), times, start)
    seen = {name: getattr(evidence, name) for name in ("wire", "connection", "steps")}
    return TimedTrial(**{**asdict(trial), **seen})
