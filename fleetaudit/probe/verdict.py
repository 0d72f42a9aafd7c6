"""Makes the result of a host from the probe's reply: a verdict on every scenario. Pure.

`scenario_verdict.py` makes each verdict, `controls.py` decides which of them count, and
`verdict_cache.py` remembers them, because most hosts send the same. Evidence is made without times,
which are put in where they are shown: for the first host of a kernel build.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    DECODE_ERRORS,
    NO_CAPTURE,
    Audited,
    HostPlan,
    Observation,
    Sysctl,
)
from fleetaudit.text.phrases import surround

from .known_names import HOST_COUNTERS, refuse_other_names
from .production import services_of, watched_of
from .protocol import open_reply, seal_reply, unseal_reply
from .reply import Reply, SealedReply
from .reply_errors import invalid_reply
from .times import Size, add_sizes, check_times, evidence_with_times, starts_of
from .trial_verdict import trial_verdict
from .verdict_cache import NO_COUNTERS, JudgedHost, VerdictCache

__all__ = [
    "NO_COUNTERS",
    "DecodedHost",
    "VerdictCache",
    "decode_host",
    "decode_opened",
    "result_from_output",
    "result_from_reply",
    "trial_verdict",
]


@dataclass(frozen=True, slots=True)
class DecodedHost:
    """The result of a host, whose evidence has 0 in the place of each time.

    Hosts that sent the same share their observations, the same tuple of the same objects.
    """

    without_times: Audited
    reply: SealedReply
    judged: JudgedHost

    def with_times(self, indexes: Iterable[int] | None = None) -> Audited:
        """Returns the host with the times in the evidence of the observations with these indexes,
        None for all.
        """
        host = self.without_times
        observations = [*host.observations]
        chosen = range(len(observations)) if indexes is None else [*indexes]
        if not chosen:
            return host
        starts = starts_of([each.size for each in self.judged.judged])
        for index in chosen:
            place = self.judged.places[index]
            if place is not None:
                start = add_sizes([starts[place], self.judged.judged[place].before_shown])
                observations[index] = self._timed(observations[index], start)
        return replace(host, observations=tuple(observations))

    def _timed(self, observation: Observation, start: Size) -> Observation:
        """Returns one observation with its times, which begin at `start`."""
        if not observation.trials:
            return observation
        evidence = evidence_with_times(observation.evidence, self.reply.times, start)
        return replace(observation, evidence=evidence)


def decode_host(
    cache: VerdictCache,
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
    nonce: str = "",
) -> DecodedHost:
    """Returns the result of a host from its output: a verdict on each planned scenario, in the
    order of the plan.

    The arguments after the first are those of `protocol.open_reply`. A plan of 0 trials gives
    observations that only say whether a scenario could run. Raises `ReplyError` if there is no
    reply to this plan in the output, if the reply has observations or sysctls that were not asked
    for, more trials or other steps than planned, or times that do not fit, or if not one scenario
    ran.
    """
    return decode_opened(cache, plan, open_reply(plan, stdout, stderr, exit_status, cut, nonce))


def result_from_output(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
) -> Audited:
    """Returns the result of one host from its output, with all times; see `decode_host`."""
    return decode_host(VerdictCache(), plan, stdout, stderr, exit_status, cut).with_times()


def result_from_reply(plan: HostPlan, reply: Reply) -> Audited:
    """Returns the result of one host from its reply, with all times; see `decode_host`."""
    return decode_opened(VerdictCache(), plan, seal_reply(reply)).with_times()


def decode_opened(cache: VerdictCache, plan: HostPlan, reply: SealedReply) -> DecodedHost:
    """Returns the result of a host from its reply; see `decode_host`."""
    try:
        judged = cache.judge(plan, reply.isolation, bytes(reply.observations), reply.kernel)
        sysctls = cache.sysctls(plan, bytes(reply.sysctls))
    except DECODE_ERRORS as e:
        unseal_reply(reply)  # raises an error that names the place in the whole reply
        raise invalid_reply(e) from e
    check_times(reply.times, judged.size)
    if reply.exposure is not None:
        refuse_other_names("counter", reply.exposure.counters, HOST_COUNTERS)
    if plan.trials and judged.observations and not any(o.trials for o in judged.observations):
        raise _nothing_ran(plan, reply, judged.observations[0])
    return DecodedHost(_result(plan, reply, judged, sysctls), reply, judged)


def _nothing_ran(plan: HostPlan, reply: SealedReply, first: Observation) -> ReplyError:
    """Returns the error for a host on which not one scenario ran: it was reached, and not
    audited.

    The reason of the `first` scenario stands for all. Without the right to make a network namespace
    the remedy is to become root, or to allow the host's own namespace.
    """
    hint = "set become: true" if "namespace" in first.reason else ""
    if plan.isolation == "namespace" and reply.isolation == "host":
        hint = "set become: true, or isolation: auto in the playbook"
    return ReplyError(
        f"no scenario ran: {first.reason}", hint=hint, stage="execute", kind="no scenario ran"
    )


def _result(
    plan: HostPlan, reply: SealedReply, judged: JudgedHost, sysctls: dict[str, Sysctl]
) -> Audited:
    """Returns the host as audited; its notes follow those of the reply."""
    no_capture = surround(f"{NO_CAPTURE}: ", reply.capture_note)[:4096]
    notes = (reply.isolation_note, no_capture, *reply.notes, *judged.notes)
    return Audited(
        name=plan.name,
        groups=plan.groups,
        kernel=reply.kernel,
        os=reply.os,
        probe=reply.probe,
        python=reply.python,
        interpreter=reply.interpreter,
        machine_id=reply.machine_id,
        isolation=reply.isolation,
        notes=tuple(filter(None, notes)),
        void=judged.void,
        observations=judged.observations,
        sysctls=sysctls,
        sysctl_places=_sysctl_lines(reply, sysctls),
        sysctls_writable=reply.sysctls_writable,
        exposure=reply.exposure,
        elapsed_s=reply.elapsed_s,
        watch=watched_of(plan, reply),
        services=services_of(plan, reply),
    )


def _sysctl_lines(
    reply: SealedReply, sysctls: dict[str, Sysctl]
) -> dict[str, tuple[str, ...]] | None:
    """Returns where the sysctls of this reply are set; leaves out all other sysctls.

    None if the host did not tell: its program was older, or its files could not be read.
    """
    if reply.sysctl_places is None:
        return None
    places = sorted(reply.sysctl_places.items())
    return {key: lines for key, lines in places if key in sysctls}
