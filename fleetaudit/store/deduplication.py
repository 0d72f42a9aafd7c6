"""Keeps equal evidence once: most hosts of one kernel build have the same. Pure.

Rules: no ending, count or reason is ever changed. Evidence is equal if all of it is, except times,
ports and windows (which depend on time). The first host of a build that shows it keeps its own; the
others name that host (`Evidence.same_as`) and share one object in memory, one name on the disk. The
first host is that of the plan, in whatever order they answer: a host that comes before the one that
evidence is named after keeps its own, and `share_evidence` names all of it after the first host at
the end. So a resumed run names the same hosts as an undisturbed one. If a build shows ever new
evidence, the packets of the first `MAX_KINDS` kinds to arrive are kept, and the others have a note
instead: this bounds the size of a run, whatever the size of the fleet.

Hosts that sent the same come with the same objects (`probe.verdict_cache`): what the later hosts of
a build get for an object, or for a whole tuple of them, is looked up by its identity. Only an
object that was never seen is digested. The times of such a host are not even decoded:
`EvidenceDeduplicator.lacking` tells which evidence the run needs.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from fleetaudit.caching.recent import Recent
from fleetaudit.caching.shared_parts import distinct_objects
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

_WHOLE, _SINGLE, _LONG = 256, 8192, 64
"""How many tuples of observations, observations, and those with a long trace are known by their
identity, at least.
"""

JudgeHost = Callable[[Audited, HostPlan], Audited]
_Observations = tuple[Observation, ...]


class EvidenceDeduplicator:
    """The evidence that a run has kept so far. Threads may share it.

    `positions` are those of the hosts in the plan. Without them the first host is the first to
    arrive.
    """

    def __init__(
        self, max_kinds: int = MAX_KINDS, positions: Mapping[str, int] | None = None
    ) -> None:
        self.max_kinds = max_kinds
        self._positions = positions or {}
        self._lock = threading.Lock()
        self._kept = dict[bytes, _Kept]()  # by digest
        self._kinds = Counter[bytes]()
        self._shared = dict[bytes, Observation]()
        self._builds = dict[bytes, int]()
        # What the later hosts of a build get, by its number and the identity of what they sent,
        # which the value keeps; and the position of the last host that it is named after.
        self._later = Recent[tuple[int, int], tuple[Observation, Observation, float]](_SINGLE)
        self._later_long = Recent[tuple[int, int], tuple[Observation, Observation, float]](_LONG)
        self._later_whole = Recent[tuple[int, int], tuple[_Observations, _Observations, float]](
            _WHOLE
        )
        self._tuples = Recent[tuple[int, ...], _Observations](_WHOLE)

    def deduplicate(self, host: Audited) -> Audited:
        """Returns the host with its evidence as the run keeps it.

        All of it is digested before any is kept: evidence that is named after a host must be in the
        run with that host. Raises `OverflowError` for a number that cannot be encoded, and keeps
        nothing then.
        """
        with self._lock:
            later = self._as_later_host(host)
            if not isinstance(later, tuple):
                later = tuple(
                    found if isinstance(found, Observation) else self._keep(host, o, found)
                    for o, found in zip(host.observations, later, strict=True)
                )
        return replace(host, observations=later)

    def lacking(self, host: Audited) -> list[int]:
        """Returns the indexes of the observations whose evidence the run does not have yet.

        Only of these are times needed; all other evidence will be that of an earlier host. Raises
        `OverflowError` for a number that cannot be encoded.
        """
        with self._lock:
            later = self._as_later_host(host)
        return [index for index, found in enumerate(later) if isinstance(found, _Digests)]

    def preload(self, hosts: Iterable[HostResult]) -> None:
        """Takes over what a run kept before it was interrupted, so that the resumed run keeps the
        same.

        Evidence that was only named, or whose packets were omitted, does not count as kept.
        """
        for host in hosts:
            if isinstance(host, Audited):
                own = tuple(o for o in host.observations if _has_own_evidence(o))
                self.deduplicate(replace(host, observations=own))

    def _as_later_host(self, host: Audited) -> _Observations | list[Observation | _Digests]:
        """Returns the observations as a later host of the build has them, and digests in the place
        of those whose evidence the run does not have yet; a tuple if it has all.
        """
        build = msgspec.json.encode((host.kernel, host.isolation))
        number = self._builds.setdefault(build, len(self._builds))
        key, position = (number, id(host.observations)), self._position(host)
        known = self._later_whole.get(key)
        if known is not None and known[2] <= position:
            return known[1]
        later = [self._as_later(build, number, o, position) for o in host.observations]
        kept = tuple(found for found in later if isinstance(found, Observation))
        if len(kept) < len(later):
            return later
        ids = tuple(map(id, kept))
        kept = self._tuples.get(ids) or self._tuples.put(ids, kept)
        last = max(map(self._owner_position, kept), default=-1.0)
        return self._later_whole.put(key, (host.observations, kept, last))[1]

    def _as_later(
        self, build: bytes, number: int, o: Observation, position: float
    ) -> Observation | _Digests:
        """Returns an observation as the hosts of a build from a position on have it, its digests if
        the run does not have its evidence yet, or only of a host behind that position.
        """
        key = (number, id(o))
        known = self._later.get(key) or self._later_long.get(key)
        if known is not None and known[2] <= position:
            return known[1]
        digests = _Digests.of(build, o)
        later = self._replaced(o, digests, position)
        if later is None:
            return digests
        cache = self._later_long if o.has_long_trace else self._later
        return cache.put(key, (o, self._share(later), self._owner_position(later)))[1]

    def _position(self, host: Audited) -> float:
        """Returns the position of a host in the plan; one that the plan does not have is last."""
        return self._positions.get(host.name, math.inf)

    def _owner_position(self, o: Observation) -> float:
        """Returns the position of the host that evidence is named after, -1 if it is not."""
        if not o.evidence.same_as:
            return -1.0
        return self._positions.get(o.evidence.same_as, math.inf)

    def _replaced(self, o: Observation, digests: _Digests, position: float) -> Observation | None:
        """Returns an observation with the evidence that the run keeps for it, None if it must be
        kept. An observation without trials has no evidence to keep.
        """
        if not o.trials:
            return o
        kept = self._kept.get(digests.whole)
        if kept is not None and kept.position <= position:
            return replace(o, evidence=kept.evidence)
        if kept is None and self._kinds[digests.place] >= self.max_kinds:
            return replace(o, evidence=self._without_packets(o.evidence))
        return None

    def _keep(self, host: Audited, o: Observation, digests: _Digests) -> Observation:
        """Returns an observation with its own evidence, which later hosts will name after this
        one.
        """
        position = self._position(host)
        later = self._replaced(o, digests, position)
        if later is not None:  # the host has it twice
            return self._share(later)
        self._kinds[digests.place] += digests.whole not in self._kept
        self._kept[digests.whole] = _Kept(replace(o.evidence, same_as=host.name), position)
        return o

    def _without_packets(self, evidence: Evidence) -> Evidence:
        """Returns evidence without its packets, with a note that says so."""
        note = f"{PACKETS_OMITTED}: {self.max_kinds} other kinds of this build are kept"
        notes = "; ".join(filter(None, (note, evidence.wire_note)))
        return replace(evidence, wire=None, steps=(), wire_note=notes[:_MAX_NOTE])

    def _share(self, observation: Observation) -> Observation:
        """Returns the one object for all observations that are equal on the disk."""
        return self._shared.setdefault(_digest(strip_evidence(observation)), observation)


class JudgeAndDeduplicate:
    """Judges a host and deduplicates its evidence, for one run. Threads may call it."""

    def __init__(self, judge: JudgeHost, deduplicator: EvidenceDeduplicator) -> None:
        self._judge, self._deduplicator = judge, deduplicator

    def __call__(self, host: Audited, plan: HostPlan) -> Audited:
        """Returns the host with its findings, and with its evidence as the run keeps it.

        Its evidence comes first, which changes no finding: then most hosts of a build have the same
        observations, and `judge` looks their findings up.
        """
        return self._judge(self._deduplicator.deduplicate(host), plan)

    def lacking(self, host: Audited) -> list[int]:
        """Returns the indexes of the observations whose evidence the run does not have yet."""
        return self._deduplicator.lacking(host)


def judge_and_deduplicate(
    judge: JudgeHost,
    known: Iterable[HostResult] = (),
    positions: Mapping[str, int] | None = None,
) -> JudgeAndDeduplicate:
    """Returns a function that judges a host and deduplicates its evidence, for one run.

    `judge` is such as `judge.HostJudge()`. `known` are the hosts that the run has already, because
    it was interrupted and is resumed. `positions` are as in `EvidenceDeduplicator`. Threads may
    call the function.
    """
    deduplicator = EvidenceDeduplicator(positions=positions)
    deduplicator.preload(known)
    return JudgeAndDeduplicate(judge, deduplicator)


class _Kept(NamedTuple):
    """Evidence as the hosts after its owner get it, and the position of the owner in the plan."""

    evidence: Evidence
    position: float


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


def strip_evidence(observation: Observation) -> Observation:
    """Returns an observation as it is written: evidence of another host is only named."""
    same_as = observation.evidence.same_as
    return replace(observation, evidence=_name_only(same_as)) if same_as else observation


def strip_shared_evidence(host: HostResult) -> HostResult:
    """Returns the host as it is written: evidence of another host is only named.

    Nothing else changes; a host that was not audited has no evidence.
    """
    if not isinstance(host, Audited):
        return host
    return replace(host, observations=tuple(map(strip_evidence, host.observations)))


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
    distinct = distinct_objects(host.observations for host in hosts)
    owners = {o.evidence.same_as for o in itertools.chain.from_iterable(distinct)}
    if owners <= {*audited, ""}:
        return tuple(hosts)
    new_owners = dict[tuple[str, str, Family], str]()

    def reassign(host: str, o: Observation) -> Observation:
        owner = o.evidence.same_as
        if not owner or owner in audited:
            return o
        new_owner = new_owners.setdefault((owner, o.scenario, o.family), host)
        return _with_owner(o, "" if new_owner == host else new_owner)

    return _with_observations(hosts, reassign)


def share_evidence(hosts: Iterable[HostResult]) -> tuple[HostResult, ...]:
    """Returns hosts with equal evidence kept by the first host that has it.

    Each of several runs kept its evidence once, so the runs together have it as often as there are
    runs. In one run, hosts that arrived out of order may have it as well. Hosts that share one
    tuple of observations, or one observation, share one afterwards.
    """
    hosts = tuple(hosts)
    named = _evidence_of_first_owners(hosts)
    if not named:
        return hosts
    shared, equal = dict[tuple[str, int], Observation](), dict[bytes, Observation]()

    def change(host: str, o: Observation) -> Observation:
        owner = o.evidence.same_as or host
        evidence = named.get((owner, o.scenario, o.family), o.evidence)
        if not evidence.same_as:
            return o
        key = evidence.same_as, id(o)
        if key not in shared:
            renamed = replace(o, evidence=evidence)
            shared[key] = equal.setdefault(_digest(strip_evidence(renamed)), renamed)
        return shared[key]

    changed = dict[tuple[int, str], _Observations]()
    tuples = dict[tuple[int, ...], _Observations]()
    for key, host in _with_distinct_evidence(hosts):
        observations = tuple(change(host.name, o) for o in host.observations)
        changed[key] = tuples.setdefault(tuple(map(id, observations)), observations)
    return tuple(_with_changed(host, changed) for host in hosts)


def _with_changed(host: HostResult, changed: dict[tuple[int, str], _Observations]) -> HostResult:
    """Returns a host with the observations that take the place of its own."""
    if not isinstance(host, Audited):
        return host
    of_all = changed.get((id(host.observations), ""))
    if of_all is not None:
        return replace(host, observations=of_all)
    return replace(host, observations=changed[id(host.observations), host.name])


def _evidence_of_first_owners(
    hosts: Sequence[HostResult],
) -> dict[tuple[str, str, Family], Evidence]:
    """Returns evidence that names an earlier host, for each that a later host has as well.

    The keys are that later host, the scenario and the family.
    """
    first = dict[bytes, Evidence]()
    named = dict[tuple[str, str, Family], Evidence]()
    for _, host in _with_distinct_evidence(hosts):
        build = msgspec.json.encode((host.kernel, host.isolation))
        for o in filter(_owns_evidence, host.observations):
            evidence = replace(o.evidence, same_as=host.name)
            kept = first.setdefault(_Digests.of(build, o).whole, evidence)
            if kept is not evidence:
                named[host.name, o.scenario, o.family] = kept
    return named


def _with_distinct_evidence(
    hosts: Iterable[HostResult],
) -> Iterable[tuple[tuple[int, str], Audited]]:
    """Returns the first audited host for each tuple of observations, and every host that has
    evidence of its own, as hosts may have that share a tuple.

    The key is the identity of the tuple, and the name of a host that has evidence of its own.
    """
    owning = dict[int, bool]()
    distinct = dict[tuple[int, str], Audited]()
    for host in hosts:
        if not isinstance(host, Audited):
            continue
        identity = id(host.observations)
        if identity not in owning:
            owning[identity] = any(map(_owns_evidence, host.observations))
        distinct.setdefault((identity, host.name if owning[identity] else ""), host)
    return distinct.items()


def _owns_evidence(o: Observation) -> bool:
    """Returns whether an observation has evidence that later hosts may be named after."""
    return o.trials > 0 and _has_own_evidence(o)


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
