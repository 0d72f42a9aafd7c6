"""Remembers the verdicts on what hosts of one run sent, by its bytes. Pure.

Most hosts of one kernel build send the same observations, except one or two of 174: where much data
is sent, how it is acknowledged differs each time. So the verdict on all observations together is
looked up by their bytes, and if it is not known, the verdict on each one by its own. That is exact:
the bytes have no times (`reply.RawTrial`), and the same bytes give the same verdict. Hosts that
sent the same share the same objects.

Before each one is looked up, the bytes are compared with what the host before sent on the same
kernel build: all observations but the different ones in the middle are the same, at a tenth of the
cost of copying and hashing 174 pieces.

Figures: bench/reply.py. Looking up digests of the bytes instead of the bytes is not faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from fleetaudit.caching.recent import Recent
from fleetaudit.errors import ReplyError
from fleetaudit.model import HostPlan, Observation, Scenario, ShortText, Sysctl
from fleetaudit.text.sanitize import printable_line

from .controls import Key, apply_controls, make_inconclusive
from .counters import Isolation
from .missing_scenarios import doubt_missing, with_doubts
from .reply import MAX_OBSERVATIONS, MAX_SYSCTLS, RawObservation
from .scenario_verdict import JudgedScenario, judge_scenario, unanswered
from .sysctl_patterns import SysctlPatterns
from .times import Size, add_sizes

NO_COUNTERS = "the kernel's counters could not be read: two witnesses at most speak for a verdict"
# How many are kept, at least. A list of 174 observations has 100 KB, and a long observation, of
# which no two hosts send the same, 15 KB in memory, where the others have 2 KB.
_WHOLE, _SINGLE, _LONG, _PLANS = 16, 4096, 64, 256
_LONG_BYTES = 2000
_COMMA = ord(",")
# What is larger is not remembered: real lists have 100 KB, long observations and sysctls 6 KB.
_MAX_WHOLE, _MAX_SINGLE = 512 * 1024, 32 * 1024

_raw_observations = msgspec.json.Decoder(
    Annotated[list[msgspec.Raw], Meta(max_length=MAX_OBSERVATIONS)]
)
_observation = msgspec.json.Decoder(RawObservation)
_raw_sysctls = msgspec.json.Decoder(
    Annotated[dict[ShortText, msgspec.Raw], Meta(max_length=MAX_SYSCTLS)]
)
_sysctl = msgspec.json.Decoder(Sysctl)


@dataclass(frozen=True, slots=True)
class JudgedHost:
    """The verdicts on all planned scenarios, in the order of the plan, without their times.

    `void` is why none of them counts, "" if they do. `judged` are the scenarios in the order of the
    reply, `places` the index there of each observation, None if the reply does not mention it, and
    `size` is that of all trials of the reply.
    """

    observations: tuple[Observation, ...]
    void: str
    notes: tuple[str, ...]
    judged: Sequence[JudgedScenario]
    places: Sequence[int | None]
    size: Size


@dataclass(frozen=True, slots=True)
class _Work:
    """What a plan asks, for all hosts with the same plays; `number` stands for it in keys."""

    number: int
    plan: HostPlan
    planned: Mapping[Key, Scenario]

    @classmethod
    def of(cls, number: int, plan: HostPlan) -> _Work:
        """Returns what a plan asks, with every scenario over each of its families."""
        planned = {(s.name, family): s for s in plan.scenarios for family in s.families}
        return cls(number, plan, planned)


class _Sent(NamedTuple):
    """The observations that a host sent, each in JSON, and the verdicts on them."""

    pieces: Sequence[bytes] = ()
    judged: Sequence[JudgedScenario] = ()


@dataclass(frozen=True, slots=True)
class VerdictCache:
    """The verdicts and sysctls that one run has seen; bounded. Threads may share it."""

    _works: Recent[tuple[int, int], _Work] = field(default_factory=lambda: Recent(_PLANS))
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _whole: Recent[tuple[int, Isolation, bytes], JudgedHost] = field(
        default_factory=lambda: Recent(_WHOLE)
    )
    _single: Recent[tuple[int, Isolation, bytes], JudgedScenario] = field(
        default_factory=lambda: Recent(_SINGLE)
    )
    _long: Recent[tuple[int, Isolation, bytes], JudgedScenario] = field(
        default_factory=lambda: Recent(_LONG)
    )
    _before: Recent[tuple[int, Isolation, Hashable], _Sent] = field(
        default_factory=lambda: Recent(_WHOLE)
    )
    _doubted: Recent[tuple[int, str], tuple[Observation, Observation]] = field(
        default_factory=lambda: Recent(_SINGLE)
    )
    _sysctls: Recent[tuple[int, bytes], dict[str, Sysctl]] = field(
        default_factory=lambda: Recent(_WHOLE)
    )
    _collected: Recent[tuple[str, ...], SysctlPatterns] = field(
        default_factory=lambda: Recent(_PLANS)
    )
    _sysctl: Recent[bytes, Sysctl] = field(default_factory=lambda: Recent(_SINGLE))

    def judge(
        self, plan: HostPlan, isolation: Isolation, observations: bytes, build: Hashable = None
    ) -> JudgedHost:
        """Returns the verdicts on the observations of a host, in JSON, that ran under `isolation`.

        Hosts of one `build` probably sent the same; it decides nothing.

        Raises `ReplyError` if there are observations that were not asked for, more trials or other
        steps than planned, and one of `DECODE_ERRORS` if they are not `RawObservation`s.
        """
        work = self._work(plan)
        key = (work.number, isolation, observations)
        cache = self._whole if len(observations) < _MAX_WHOLE else Recent(1)
        known = cache.get(key)
        if known is not None:
            return known
        before = self._before.get((work.number, isolation, build)) or _Sent()
        first, last, between = _common_ends(observations, before.pieces)
        pieces = [*map(bytes, _raw_observations.decode(between))]
        judged = [self._judge_one(work, isolation, each) for each in pieces]
        sent = _Sent(
            [*before.pieces[:first], *pieces, *before.pieces[last:]],
            [*before.judged[:first], *judged, *before.judged[last:]],
        )
        if cache is self._whole:
            self._before.put((work.number, isolation, build), sent)
        return cache.put(key, self._combine(work, sent.judged))

    def sysctls(self, plan: HostPlan, sysctls: bytes) -> dict[str, Sysctl]:
        """Returns the sysctls of a host, sorted by name, from JSON.

        Raises `ReplyError` for one that the plan does not ask for, and one of `DECODE_ERRORS` if
        they are not valid.
        """
        cache = self._sysctls if len(sysctls) < _MAX_WHOLE else Recent(1)
        collected = self._patterns(plan.sysctls_collect)
        known = cache.get((collected.number, sysctls))
        if known is not None:
            return known
        raw = sorted(_raw_sysctls.decode(sysctls).items())
        collected.refuse_others(key for key, _ in raw)
        decoded = {key: self._decode_sysctl(bytes(value)) for key, value in raw}
        return cache.put((collected.number, sysctls), decoded)

    def _patterns(self, collected: tuple[str, ...]) -> SysctlPatterns:
        """Returns the sysctls that plans with an equal list ask for."""
        return self._collected.get_or_make(
            collected, lambda: SysctlPatterns(next(self._numbers), collected)
        )

    def _decode_sysctl(self, raw: bytes) -> Sysctl:
        """Returns one sysctl; equal ones are one object."""
        cache = self._sysctl if len(raw) < _LONG_BYTES else Recent(1)
        return cache.get_or_make(raw, lambda: _sysctl.decode(raw))

    def _work(self, plan: HostPlan) -> _Work:
        """Returns what a plan asks; plans with the same scenarios object share it."""
        key = (id(plan.scenarios), plan.trials)
        return self._works.get_or_make(key, lambda: _Work.of(next(self._numbers), plan))

    def _judge_one(self, work: _Work, isolation: Isolation, raw: bytes) -> JudgedScenario:
        """Returns the verdict on one observation; raises `ReplyError` if it was not asked for."""
        key = (work.number, isolation, raw)
        return self._cache_for(raw).get_or_make(key, lambda: _judge_new(work, isolation, raw))

    def _cache_for(self, raw: bytes) -> Recent[tuple[int, Isolation, bytes], JudgedScenario]:
        """Returns where the verdict on an observation is remembered; a new cache if nowhere."""
        if len(raw) < _LONG_BYTES:
            return self._single
        return self._long if len(raw) < _MAX_SINGLE else Recent(1)

    def _combine(self, work: _Work, judged: Sequence[JudgedScenario]) -> JudgedHost:
        """Returns the verdicts on all planned scenarios, as far as their controls let them count.

        Raises `ReplyError` for two answers to one scenario over one family.
        """
        places = _places(judged)
        trials = work.plan.trials
        answers = {each.key: each.observation for each in judged}
        for key in work.planned.keys() - places.keys():
            answers[key] = unanswered(key, work.planned[key], trials).observation
        observations = {key: answers[key] for key in work.planned}
        size = add_sizes([each.size for each in judged])
        where = [*map(places.get, work.planned)]
        if not trials:
            return JudgedHost(tuple(observations.values()), "", (), judged, where, size)
        observations = with_doubts(observations, doubt_missing(work.planned, observations))
        controlled = apply_controls(work.plan, observations, self._doubt)
        no_counters = NO_COUNTERS if any(each.lacks_counters for each in judged) else ""
        return JudgedHost(
            tuple(controlled.observations.values()),
            controlled.void,
            (*filter(None, (no_counters, *controlled.notes)),),
            judged,
            where,
            size,
        )

    def _doubt(self, observation: Observation, why: str) -> Observation:
        """Returns an observation as inconclusive; equal ones are one object."""
        key = (id(observation), why)
        return self._doubted.get_or_make(
            key, lambda: (observation, make_inconclusive(observation, why))
        )[1]


def _judge_new(work: _Work, isolation: Isolation, raw: bytes) -> JudgedScenario:
    """Returns the verdict on an observation that is not remembered; raises `ReplyError`."""
    observation = _observation.decode(raw)
    asked = (observation.scenario, observation.family)
    if asked not in work.planned:
        raise _unexpected("an answer to", asked)
    scenario = work.planned[asked]
    return judge_scenario(scenario, observation, work.plan.trials, isolation)


def _common_ends(observations: bytes, pieces: Sequence[bytes]) -> tuple[int, int, bytes]:
    """Returns how many pieces an array in JSON begins with, from which index on it ends with the
    others, and an array of what is between.

    Each piece is an object, so one between two commas is an element of the array. What is no array
    is returned as it is.
    """
    if not observations.startswith(b"["):
        return 0, len(pieces), observations
    first, start = 0, 1
    for piece in pieces:
        after = start + len(piece)
        if not observations.startswith(piece, start) or observations[after : after + 1] != b",":
            break
        first, start = first + 1, after + 1
    last, end = len(pieces), len(observations) - 1
    for piece in reversed(pieces[first:]):
        comma = end - len(piece) - 1
        if not observations.endswith(piece, start, end) or observations[comma] != _COMMA:
            break
        last, end = last - 1, comma
    return first, last, b"[%b]" % observations[start:end]


def _places(judged: Sequence[JudgedScenario]) -> dict[Key, int]:
    """Returns the index of each answer in a reply; raises `ReplyError` for two to one scenario."""
    places = {each.key: place for place, each in enumerate(judged)}
    for place, each in enumerate(judged if len(places) < len(judged) else ()):
        if places[each.key] != place:
            raise _unexpected("two answers to", each.key)
    return places


def _unexpected(what: str, key: Key) -> ReplyError:
    """Returns the error for an observation that was not asked for; `what` is "an answer to"."""
    scenario = printable_line(key[0], 100)
    return ReplyError(f"the reply has {what} {scenario} over {key[1]}; expected at most one")
