"""Counts what the probe found in one world against what must be, and keeps each deviation with its
evidence.

Two comparisons that do not trust each other: the verdict of every trial against the endings that
are right, and the same with the raw segments of the closer, read here once more and not by the
product's code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    HostPlan,
    Observation,
)
from fleetaudit.probe import verdict
from fleetaudit.probe.protocol import Reply
from tests.support.timed_replies import TimedTrial, with_times

from .agreement import disagreements
from .cases import Case
from .worlds import World

Kind = Literal["wrong", "inconclusive"]
Key = tuple[str, Family]


@dataclass(frozen=True, slots=True)
class Call:
    """One run of the probe: the scenarios in their order, and the seed of this order."""

    world: World
    seed: int
    cases: tuple[Case, ...]
    plan: HostPlan


@dataclass(slots=True)
class Deviation:
    """Trials of one scenario that deviate in one way: the first in full, the others counted."""

    kind: Kind
    scenario: str
    text: str
    seed: int
    evidence: tuple[str, ...]
    families: set[Family] = field(default_factory=set)
    trials: int = 0


@dataclass(slots=True)
class Tally:
    """All that one world has shown so far, in trials.

    `not_run` counts observations by reason; `left_out` counts calls for which there was no time.
    """

    world: World
    observations: int = 0
    agree: int = 0
    wrong: int = 0
    inconclusive: int = 0
    left_out: int = 0
    not_run: Counter[str] = field(default_factory=Counter)
    deviations: dict[tuple[Kind, str, str], Deviation] = field(default_factory=dict)
    scenarios: set[str] = field(default_factory=set)
    seen: dict[Key, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each scenario came to, with the seed of the first order in which it did."""

    @property
    def trials(self) -> int:
        """The trials that ran or should have."""
        return self.agree + self.wrong + self.inconclusive

    def take(self, call: Call, reply: Reply) -> None:
        """Counts the reply to one call."""
        audited = verdict.result_from_reply(call.plan, reply)
        cases = {case.scenario.name: case for case in call.cases}
        trials = {(o.scenario, o.family): o.trials for o in with_times(reply).observations}
        for seen in audited.observations:
            raw = trials.get((seen.scenario, seen.family), ())
            self._take(call, audited, cases[seen.scenario], seen, raw)

    def lose(self, call: Call, why: str) -> None:
        """Counts a call that gave no reply: every trial of it is inconclusive."""
        for case in call.cases:
            for family in case.scenario.families:
                self.observations += 1
                key = (case.scenario.name, family)
                self._keep("inconclusive", key, why, call, trials_of(call, case), ())

    def differences(self) -> Iterator[str]:
        """Yields each scenario that came to different ends in different orders."""
        for (name, family), ends in sorted(self.seen.items()):
            if len(ends) > 1:
                words = ", ".join(f"{end} (seed {seed})" for end, seed in ends.items())
                yield f"{name} over {family} differs between orders: {words}"

    def _take(
        self,
        call: Call,
        audited: Audited,
        case: Case,
        seen: Observation,
        trials: Sequence[TimedTrial],
    ) -> None:
        key = (seen.scenario, seen.family)
        self.observations += 1
        self.scenarios.add(seen.scenario)
        if seen.ending == "not run":
            self._not_run(call, case, key, seen.reason)
            return
        if not seen.trials:
            self._keep("inconclusive", key, seen.reason, call, trials_of(call, case), ())
            return
        right = case.right(self.world)
        doubted = seen.ending == "inconclusive" and set(seen.endings) <= {*right}
        if doubted and lacks_control(seen):
            self._not_run(call, case, key, seen.reason)
            return
        for ending in {*seen.endings} - {"inconclusive"}:
            self.seen[key].setdefault(ending, call.seed)
        for trial in trials:
            ending, why = verdict.trial_verdict(
                trial, case.scenario.steps, seen.family, audited.isolation
            )
            if doubted:
                ending, why = seen.ending, seen.reason
            self._judge(call, case, key, trial, ending, why, audited.isolation)

    def _judge(
        self,
        call: Call,
        case: Case,
        key: Key,
        trial: TimedTrial,
        ending: Ending,
        why: str,
        isolation: Literal["namespace", "host"],
    ) -> None:
        right = case.right(self.world)
        if ending == "inconclusive":
            kind: Kind = "inconclusive"
        else:
            kind = "wrong"
            why = (
                ""
                if ending not in right
                else "; ".join(self._contradictions(case, trial, ending, isolation))
            )
            if ending in right and not why:
                self.agree += trial.count
                return
        said = f"{ending}, and right is {' or '.join(right)}" + (f": {why}" if why else "")
        self._keep(kind, key, said, call, trial.count, tuple(trial_lines(case, trial)))

    def _contradictions(
        self, case: Case, trial: TimedTrial, ending: Ending, isolation: Literal["namespace", "host"]
    ) -> Iterator[str]:
        """Yields what contradicts a right ending: the segments as they are read here, and the
        model.
        """
        wire = ending_on_the_wire(trial, case)
        if wire and wire != ending:
            yield f"the segments of the closer are {wire}"
        if case.prediction is not None:
            yield from disagreements(case.prediction(self.world), trial, ending, isolation)

    def _not_run(self, call: Call, case: Case, key: Key, reason: str) -> None:
        self.not_run[reason] += 1
        self.seen[key].setdefault(f"not run: {reason}", call.seed)
        if case.may_lack or not self.world.privileged:
            return
        said = f"not run, and this kernel has all it needs: {reason}"
        self._keep("wrong", key, said, call, trials_of(call, case), ())

    def _keep(
        self, kind: Kind, key: Key, said: str, call: Call, trials: int, evidence: tuple[str, ...]
    ) -> None:
        if kind == "wrong":
            self.wrong += trials
        else:
            self.inconclusive += trials
        scenario, family = key
        found = Deviation(kind, scenario, said, call.seed, evidence)
        found = self.deviations.setdefault((kind, scenario, said), found)
        found.families.add(family)
        found.trials += trials


def trials_of(call: Call, case: Case) -> int:
    """Returns how many trials of a case one call asks for, over one family."""
    return case.scenario.trials or call.plan.trials


def lacks_control(seen: Observation) -> bool:
    """Returns whether a verdict does not count because the host lacks what the control of the
    scenario needs.
    """
    return seen.reason.startswith("its control ") and " was not run: " in seen.reason


def ending_on_the_wire(trial: TimedTrial, case: Case) -> str:
    """Returns the ending by the closer's own segments, "" where there are none or they prove
    nothing.
    """
    over_mptcp = any(step.call[1:3] == ("connect", "mptcp") for step in case.scenario.steps)
    if trial.wire is None or trial.wire_lost or over_mptcp:
        return ""
    flags = "".join(s.flags for s in trial.wire if s.sender == "closer")
    order = "".join(dict.fromkeys(c for c in flags if c in "FR"))
    return {"": "nothing", "F": "FIN", "FR": "FIN, then RST"}.get(order, "RST")


def trial_lines(case: Case, trial: TimedTrial) -> Iterator[str]:
    """Yields the evidence of one trial: its steps among its segments, the peer, the counters."""
    steps = [(at, 0, f"-- {case.scenario.steps[i].text}") for at, i in trial.steps]
    segments = [
        (
            s.at_us,
            1,
            f"   {s.sender:6} {s.flags:4} seq {s.seq} ack {s.ack}"
            f" length {s.length} {s.options}".rstrip(),
        )
        for s in trial.wire or ()
    ]
    for at, _, text in sorted(steps + segments):
        yield f"{at / 1000:10.3f} ms  {text}"
    if trial.wire is None:
        yield f"no capture: {trial.wire_note}"
    yield f"peer: {trial.peer}"
    yield f"kernel: {trial.kernel}  queue: {trial.queue}  bytes: {trial.bytes}"
