"""Ten thousand hosts mostly say the same: what witnesses said alike on one kernel build is kept
once. Pure.

Rules: no ending, count or reason is ever touched. Evidence is alike where all of it is, but for
times, ports and windows (which time decides). The first host of a build that shows it keeps its
own; the others' say whose it is (`Evidence.same_as`) and share one object in memory, one name on
the disk. A build that shows ever new evidence keeps the packets of its first `MAX_KINDS` kinds, and says
so on the others: a fleet's size bounds a run's.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from fleetaudit.model import (
    Audited,
    Evidence,
    Family,
    HostResult,
    Observation,
)

MAX_KINDS = 20
"""How many kinds of evidence one build keeps whole for one scenario, family and ending."""
PACKETS_OMITTED = "the packets are left out"
"""How the note of an observation begins whose kind is one too many."""


class EvidenceDeduplicator:
    """What a run has kept so far. Threads may share it."""

    def __init__(self, most: int = MAX_KINDS) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept = dict[bytes, Evidence]()  # what the hosts after the first are given
        self._kinds = Counter[bytes]()
        self._shared = dict[bytes, Observation]()

    def spare(self, host: Audited) -> Audited:
        """Returns the host with its evidence as the run keeps it.

        All of it is digested before any is kept: what is named after a host must be in the run with
        that host.
        """
        build = msgspec.json.encode((host.kernel, host.isolation))
        kinds = [_Kind.of(build, o) for o in host.observations]
        with self._lock:
            seen = zip(host.observations, kinds, strict=True)
            return replace(
                host, observations=tuple(self._spare(host.name, o, kind) for o, kind in seen)
            )

    def learn(self, hosts: Iterable[HostResult]) -> None:
        """Takes over what a run kept before it was interrupted, so that resuming it goes on as if
        it had not been.
        """
        for host in hosts:
            if isinstance(host, Audited):
                own = (
                    o
                    for o in host.observations
                    if not o.evidence.same_as and PACKETS_OMITTED not in o.evidence.wire_note
                )
                self.spare(replace(host, observations=tuple(own)))

    def _spare(self, host: str, observation: Observation, kind: _Kind) -> Observation:
        if not observation.trials:
            return self._one(observation)
        if kind.whole not in self._kept:
            self._kinds[kind.whose] += 1
            if self._kinds[kind.whose] > self.most:
                return self._one(
                    replace(observation, evidence=self._without_packets(observation.evidence))
                )
            self._kept[kind.whole] = replace(observation.evidence, same_as=host)
            return observation
        return self._one(replace(observation, evidence=self._kept[kind.whole]))

    def _without_packets(self, evidence: Evidence) -> Evidence:
        note = f"{PACKETS_OMITTED}: {self.most} other kinds of this build are kept"
        return replace(
            evidence,
            wire=None,
            steps=(),
            wire_note="; ".join(filter(None, (note, evidence.wire_note)))[:4096],
        )

    def _one(self, observation: Observation) -> Observation:
        return self._shared.setdefault(_digest(stripped(observation)), observation)


class _Kind(NamedTuple):
    """Two digests of an observation: of its build, scenario, family and ending; and of these with
    all its evidence.
    """

    whose: bytes
    whole: bytes

    @classmethod
    def of(cls, build: bytes, o: Observation) -> _Kind:
        whose = (build, o.scenario, o.family, o.ending)
        return cls(_digest(whose), _digest((*whose, o.endings, _timeless(o.evidence))))


def _timeless(evidence: Evidence) -> object:
    wire = evidence.wire
    rows = (
        None
        if wire is None
        else [(s.sender, s.flags, s.seq, s.ack, s.length, s.urgent, s.options) for s in wire]
    )
    rest = (
        evidence.wire_note,
        evidence.wire_omitted,
        evidence.peer,
        evidence.kernel,
        evidence.queue,
        evidence.bytes,
    )
    return rows, rest, len(evidence.steps)


def _digest(value: object) -> bytes:
    return hashlib.blake2b(
        msgspec.msgpack.encode(value, order="deterministic"), digest_size=16
    ).digest()


@cache
def _name_alone(host: str) -> Evidence:
    return Evidence(same_as=host)


def stripped(observation: Observation) -> Observation:
    """Returns the observation as it is written: evidence that is another host's is only named."""
    same_as = observation.evidence.same_as
    return replace(observation, evidence=_name_alone(same_as)) if same_as else observation


def evidence_owners(host: HostResult) -> set[str]:
    """Returns the hosts whose evidence this one's is."""
    return (
        {o.evidence.same_as for o in host.observations if o.evidence.same_as}
        if isinstance(host, Audited)
        else set()
    )


def reassign_evidence(hosts: Sequence[HostResult]) -> tuple[HostResult, ...]:
    """Returns the hosts with each evidence named after a host that is audited. If the host that had
    it is not, because of a bug, the first host that shares it has it now.
    """
    audited = {host.name for host in hosts if isinstance(host, Audited)}
    if all(evidence_owners(host) <= audited for host in hosts):
        return tuple(hosts)
    heirs = dict[tuple[str, str, Family], str]()

    def moved(host: str, o: Observation) -> Observation:
        gone = o.evidence.same_as
        if not gone or gone in audited:
            return o
        heir = heirs.setdefault((gone, o.scenario, o.family), host)
        return replace(o, evidence=replace(o.evidence, same_as="" if heir == host else heir))

    return tuple(
        (
            replace(h, observations=tuple(moved(h.name, o) for o in h.observations))
            if isinstance(h, Audited)
            else h
        )
        for h in hosts
    )


def strip_shared_evidence(host: HostResult) -> HostResult:
    """Returns the host as it is written."""
    if not isinstance(host, Audited):
        return host
    return replace(host, observations=tuple(map(stripped, host.observations)))


def restore_evidence(hosts: Iterable[HostResult]) -> tuple[HostResult, ...]:
    """Returns hosts that were read as they were before they were written; where the named host is
    missing (a run whose journal was cut), the evidence stays a name.
    """
    hosts = tuple(hosts)
    own = {
        (host.name, o.scenario, o.family): o.evidence
        for host in hosts
        if isinstance(host, Audited)
        for o in host.observations
        if not o.evidence.same_as
    }

    @cache
    def whole(same_as: str, scenario: str, family: Family) -> Evidence:
        return replace(own.get((same_as, scenario, family), Evidence()), same_as=same_as)

    def filled(o: Observation) -> Observation:
        return (
            replace(o, evidence=whole(o.evidence.same_as, o.scenario, o.family))
            if o.evidence.same_as
            else o
        )

    return tuple(
        replace(h, observations=tuple(map(filled, h.observations))) if isinstance(h, Audited) else h
        for h in hosts
    )


def judge_and_deduplicate(
    judge: Callable[..., Audited], told: Iterable[HostResult] = ()
) -> Callable[..., Audited]:
    """Returns `judge` with a `EvidenceDeduplicator` behind it, for one run, of which the hosts `told` are known
    already.
    """
    thrift = EvidenceDeduplicator()
    thrift.learn(told)
    return lambda *arguments: thrift.spare(judge(*arguments))
