"""Keeps equal evidence once: most hosts of one kernel build have the same. Pure.

Rules: no ending, count or reason is ever changed. Evidence is equal if all of it is, except times,
ports and windows (which depend on time). The first host of a build that shows it keeps its own; the
others name that host (`Evidence.same_as`) and share one object in memory, one name on the disk. If
a build shows ever new evidence, the packets of its first `MAX_KINDS` kinds are kept, and the others
have a note instead: this bounds the size of a run, whatever the size of the fleet.
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
    HostPlan,
    HostResult,
    Observation,
)

MAX_KINDS = 20
"""Maximum number of kinds of evidence that one build keeps per scenario, family and ending."""
PACKETS_OMITTED = "the packets are left out"
"""The beginning of the note of an observation whose packets are omitted."""
_MAX_NOTE = 4096

JudgeHost = Callable[[Audited, HostPlan], Audited]


class EvidenceDeduplicator:
    """The evidence that a run has kept so far. Threads may share it."""

    def __init__(self, max_kinds: int = MAX_KINDS) -> None:
        self.max_kinds = max_kinds
        self._lock = threading.Lock()
        self._kept = dict[bytes, Evidence]()  # by digest, as the hosts after the first get it
        self._kinds = Counter[bytes]()
        self._shared = dict[bytes, Observation]()

    def deduplicate(self, host: Audited) -> Audited:
        """Returns the host with its evidence as the run keeps it.

        All of it is digested before any is kept: evidence that is named after a host must be in the
        run with that host. Raises `OverflowError` for a number that cannot be encoded, and keeps
        nothing then.
        """
        build = msgspec.json.encode((host.kernel, host.isolation))
        digests = [_Digests.of(build, o) for o in host.observations]
        with self._lock:
            return replace(
                host,
                observations=tuple(
                    self._keep(host.name, observation, digest)
                    for observation, digest in zip(host.observations, digests, strict=True)
                ),
            )

    def preload(self, hosts: Iterable[HostResult]) -> None:
        """Takes over what a run kept before it was interrupted, so that the resumed run keeps the
        same.

        Evidence that was only named, or whose packets were omitted, does not count as kept.
        """
        for host in hosts:
            if isinstance(host, Audited):
                own = tuple(o for o in host.observations if _has_own_evidence(o))
                self.deduplicate(replace(host, observations=own))

    def _keep(self, host: str, observation: Observation, digests: _Digests) -> Observation:
        """Returns an observation as the run keeps it.

        The first host of a kind keeps its evidence, later ones name the first host. An observation
        without trials has no evidence to keep.
        """
        if not observation.trials:
            return self._share(observation)
        if digests.whole in self._kept:
            return self._share(replace(observation, evidence=self._kept[digests.whole]))
        self._kinds[digests.place] += 1
        if self._kinds[digests.place] > self.max_kinds:
            evidence = self._without_packets(observation.evidence)
            return self._share(replace(observation, evidence=evidence))
        self._kept[digests.whole] = replace(observation.evidence, same_as=host)
        return observation

    def _without_packets(self, evidence: Evidence) -> Evidence:
        """Returns evidence without its packets, with a note that says so."""
        note = f"{PACKETS_OMITTED}: {self.max_kinds} other kinds of this build are kept"
        notes = "; ".join(filter(None, (note, evidence.wire_note)))
        return replace(evidence, wire=None, steps=(), wire_note=notes[:_MAX_NOTE])

    def _share(self, observation: Observation) -> Observation:
        """Returns the one object for all observations that are equal on the disk."""
        return self._shared.setdefault(_digest(_strip(observation)), observation)


def judge_and_deduplicate(judge: JudgeHost, known: Iterable[HostResult] = ()) -> JudgeHost:
    """Returns a function that judges a host and deduplicates its evidence, for one run.

    `judge` is such as `judge.judge_host`. `known` are the hosts that the run has already, because
    it was interrupted and is resumed. Threads may call the function.
    """
    deduplicator = EvidenceDeduplicator()
    deduplicator.preload(known)
    return lambda host, plan: deduplicator.deduplicate(judge(host, plan))


class _Digests(NamedTuple):
    """Two digests of an observation: `place` is that of its build, scenario, family and ending;
    `whole` that of these with all its evidence.
    """

    place: bytes
    whole: bytes

    @classmethod
    def of(cls, build: bytes, o: Observation) -> _Digests:
        """Returns the digests of an observation on a build."""
        place = (build, o.scenario, o.family, o.ending)
        return cls(_digest(place), _digest((*place, o.endings, _independent_of_time(o.evidence))))


def _independent_of_time(evidence: Evidence) -> object:
    """Returns the parts of evidence that are equal in every equal experiment."""
    segments = None
    if evidence.wire is not None:
        segments = [
            (s.sender, s.flags, s.seq, s.ack, s.length, s.urgent, s.options) for s in evidence.wire
        ]
    rest = (
        evidence.wire_note,
        evidence.wire_omitted,
        evidence.peer,
        evidence.kernel,
        evidence.queue,
        evidence.bytes,
    )
    return segments, rest, len(evidence.steps)


def _digest(value: object) -> bytes:
    """Returns a digest of a value that msgpack can encode."""
    encoded = msgspec.msgpack.encode(value, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _has_own_evidence(observation: Observation) -> bool:
    """Returns whether an observation has its evidence whole, and not another host's."""
    evidence = observation.evidence
    return not evidence.same_as and PACKETS_OMITTED not in evidence.wire_note


# ---- on the disk -------------------------------------------------------------------------------


@cache
def _name_only(host: str) -> Evidence:
    """Returns evidence that names the host that has it."""
    return Evidence(same_as=host)


def _strip(observation: Observation) -> Observation:
    """Returns an observation as it is written: evidence of another host is only named."""
    same_as = observation.evidence.same_as
    return replace(observation, evidence=_name_only(same_as)) if same_as else observation


def strip_shared_evidence(host: HostResult) -> HostResult:
    """Returns the host as it is written: evidence of another host is only named.

    Nothing else changes; a host that was not audited has no evidence.
    """
    if not isinstance(host, Audited):
        return host
    return replace(host, observations=tuple(map(_strip, host.observations)))


def evidence_owners(host: HostResult) -> set[str]:
    """Returns the names of the hosts whose evidence this host shares.

    A run in which one of them is missing does not have the evidence.
    """
    return {o.evidence.same_as for o in host.observations if o.evidence.same_as}


def restore_evidence(hosts: Iterable[HostResult]) -> tuple[HostResult, ...]:
    """Returns hosts that were read as they were before they were written.

    Evidence of another host is looked up by scenario and family, and each is made only once. If the
    named host is missing (a run whose journal was cut), the evidence stays a name.
    """
    hosts = tuple(hosts)
    own = _own_evidence(hosts)

    @cache
    def shared(same_as: str, scenario: str, family: Family) -> Evidence:
        evidence = own.get((same_as, scenario, family), Evidence())
        return replace(evidence, same_as=same_as)

    def restore(o: Observation) -> Observation:
        if not o.evidence.same_as:
            return o
        return replace(o, evidence=shared(o.evidence.same_as, o.scenario, o.family))

    return _with_observations(hosts, lambda _, o: restore(o))


def _own_evidence(hosts: Iterable[HostResult]) -> dict[tuple[str, str, Family], Evidence]:
    """Returns the evidence that hosts have themselves, by host, scenario and family."""
    return {
        (host.name, o.scenario, o.family): o.evidence
        for host in hosts
        for o in host.observations
        if not o.evidence.same_as
    }


def reassign_evidence(hosts: Sequence[HostResult]) -> tuple[HostResult, ...]:
    """Returns the hosts with each evidence named after a host that is audited.

    If the host that had the evidence is not audited after all, because of a bug, the first host
    that shares it becomes its owner.
    """
    audited = {host.name for host in hosts if isinstance(host, Audited)}
    if all(evidence_owners(host) <= audited for host in hosts):
        return tuple(hosts)
    new_owners = dict[tuple[str, str, Family], str]()

    def reassign(host: str, o: Observation) -> Observation:
        owner = o.evidence.same_as
        if not owner or owner in audited:
            return o
        new_owner = new_owners.setdefault((owner, o.scenario, o.family), host)
        return _with_owner(o, "" if new_owner == host else new_owner)

    return _with_observations(hosts, reassign)


def _with_owner(observation: Observation, same_as: str) -> Observation:
    """Returns an observation with evidence that names another host, "" for its own."""
    return replace(observation, evidence=replace(observation.evidence, same_as=same_as))


def _with_observations(
    hosts: Iterable[HostResult], change: Callable[[str, Observation], Observation]
) -> tuple[HostResult, ...]:
    """Returns hosts with `change` applied to the name and each observation of the audited ones."""
    return tuple(
        _with_changed_observations(host, change) if isinstance(host, Audited) else host
        for host in hosts
    )


def _with_changed_observations(
    host: Audited, change: Callable[[str, Observation], Observation]
) -> Audited:
    """Returns a host with `change` applied to each observation."""
    return replace(host, observations=tuple(change(host.name, o) for o in host.observations))
