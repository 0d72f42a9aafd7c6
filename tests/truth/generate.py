"""Scenarios that nobody wrote: short sequences over a small alphabet, each with the ending that the model predicts.

Rules: pure and deterministic. Every sequence of up to four steps is tried, and kept where

- the closer ends something (a close, a half-close, both ways shut, a disconnect), and the last step is no mere
  preparation, such as a socket option;
- `steps.check_order` takes it, and the model can carry every step through;
- each step changes something in the model: without a step that changes nothing it would be a shorter sequence;
- no other order of the same steps, kept already, ends in the same state by the same segments.

Of one, two and three steps all are kept. Of four steps there are thousands: those whose ending the fix of 2025
changes, and `SAMPLE` of those in which every socket option that is set changes what is seen. The sample is the names
with the smallest SHA-256, so that a new word in the alphabet does not exchange the others.

The model does not ask who connects, when that is accepted, or over which family. A kernel and a probe may: so these
are drawn by the same digest, and how they meet is a step more, in front.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetaudit.model import Family, Scenario, Step
from fleetaudit.steps import check_order, parse_step

from .model import Experiment, NotModelled, Prediction, Refused, predict

ALPHABET: tuple[tuple[str, str], ...] = (  # a word for names, and the step
    ("p-sends", "peer sends 5 bytes"),
    ("p-sends-urgent", "peer sends 1 urgent byte"),
    ("p-reads", "peer reads all"),
    ("p-half-closes", "peer half-closes"),
    ("p-shuts-reading", "peer shuts reading"),
    ("p-shuts-both", "peer shuts both ways"),
    ("p-zero-lingers", "peer sets SO_LINGER 1 0"),
    ("p-closes", "peer closes"),
    ("p-resends-fin", "peer resends 5 bytes with FIN"),
    ("c-sends", "closer sends 5 bytes"),
    ("c-reads", "closer reads all"),
    ("c-reads-part", "closer reads 2 bytes"),
    ("c-tries", "closer tries to read"),
    ("c-reads-urgent", "closer reads the urgent byte"),
    ("c-inline", "closer sets SO_OOBINLINE 1"),
    ("c-zero-lingers", "closer sets SO_LINGER 1 0"),
    ("c-linger2", "closer sets TCP_LINGER2 -1"),
    ("c-half-closes", "closer half-closes"),
    ("c-shuts-reading", "closer shuts reading"),
    ("c-shuts-both", "closer shuts both ways"),
    ("c-closes", "closer closes"),
    ("c-disconnects", "closer disconnects"),
)
STEPS = 4
SAMPLE = 300
MEETS: Mapping[str, str] = {  # drawn, not tried; the first is what is meant where no step says it
    "": "",
    "c-connects": "closer connects",
    "p-waits": "peer connects without being accepted",
}
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
PREPARES = ("set",)
ENDS = ("close", "disconnect", "shutdown")


@dataclass(frozen=True, slots=True)
class Case:
    """A generated scenario, with what the model predicts on a kernel with the fix of 2025 and on one without."""

    scenario: Scenario
    prediction: Prediction
    before_fix: Prediction


@functools.cache
def generated() -> list[Case]:
    """Returns the set, in a stable order: short ones first."""
    names = [names for length in range(1, STEPS) for names in sequences(length)]
    longest = sorted((n for n in sequences(STEPS) if options_matter(n)), key=digest)
    chosen = {*longest[:SAMPLE], *(n for n in sequences(STEPS) if the_fix_matters(n))}
    return [case_of(n) for n in [*names, *sorted(chosen)]]


def the_fix_matters(names: Sequence[str]) -> bool:
    """Returns whether the fix of 2025 changes the ending."""
    steps = [STEP[name] for name in names]
    return predict(steps, fix=True).ending != predict(steps, fix=False).ending


def options_matter(names: Sequence[str]) -> bool:
    """Returns whether something else is seen without any one of the socket options that are set."""
    seen = predict([STEP[name] for name in names], fix=True)
    for i, name in enumerate(names):
        if STEP[name].call[1] == "set":
            try:
                if predict([STEP[n] for n in (*names[:i], *names[i + 1 :])], fix=True) == seen:
                    return False
            except Refused:
                continue
    return True


def case_of(names: Sequence[str]) -> Case:
    """Returns the case of a sequence of words of the alphabet."""
    drawn = digest(names)
    steps = tuple(parse_step(text) for text in [MEETS[meet(names)], *(dict(ALPHABET)[n] for n in names)] if text)
    prediction = predict(steps, fix=True)
    scenario = Scenario(
        name=name_of(names),
        title=", ".join(step.text for step in steps),
        steps=steps,
        expect=(prediction.ending,),
        control=name_of(CONTROL) if prediction.ending == "RST" else None,
        because="tests/truth/model.py predicts it from the kernel's source.",
        families=(FAMILIES[drawn[0] % len(FAMILIES)],),
    )
    return Case(scenario, prediction, predict(steps, fix=False))


CONTROL = ("p-sends", "c-reads", "c-closes")
"""One that ends in FIN."""


def meet(names: Sequence[str]) -> str:
    """Returns how the two meet, a word of MEETS."""
    return [*MEETS][digest(names)[1] % len(MEETS)]


def name_of(names: Sequence[str]) -> str:
    """Returns the name of a scenario: its words, and in front how the two meet."""
    return "+".join(filter(None, [meet(names), *names]))


def digest(names: Sequence[str]) -> bytes:
    """Returns what a sequence is chosen by."""
    return hashlib.sha256("+".join(names).encode()).digest()


STEP: dict[str, Step] = {name: parse_step(text) for name, text in ALPHABET}


@functools.cache
def sequences(length: int) -> tuple[tuple[str, ...], ...]:
    """Returns every sequence of this length that is kept, by the rules at the head of this file."""
    found = dict[tuple[object, ...], tuple[str, ...]]()
    for names, reached in walk(length):
        if is_complete([STEP[name] for name in names]):
            found.setdefault((tuple(sorted(names)), reached), names)
    return tuple(found.values())


def is_complete(steps: Sequence[Step]) -> bool:
    """Returns whether the closer ends something, and the last step is more than a preparation."""
    ends = any(s.call[0] == "closer" and s.call[1] in ENDS and s.call[2:] != ("read",) for s in steps)
    return ends and steps[-1].call[1] not in PREPARES and not check_order(steps)


def walk(length: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields every sequence of this length whose steps can be carried through and each change something, with the
    state that it reaches."""
    if length == 0:
        yield (), fingerprint(())
        return
    for names, before in walk(length - 1):
        for name in STEP:
            longer = (*names, name)
            if unordered([STEP[n] for n in longer]):
                continue
            try:
                after = fingerprint(longer)
            except (Refused, NotModelled):
                continue
            if after != before:
                yield longer, after


def unordered(steps: Sequence[Step]) -> bool:
    """Returns whether a side does something after it is gone."""
    gone = [i for i, s in enumerate(steps) if s.call[1] == "close"]
    return any(later.call[0] == steps[i].call[0] for i in gone for later in steps[i + 1 :])


def fingerprint(names: tuple[str, ...]) -> str:
    """Returns all of the model's state after these steps, and what was seen until then."""
    experiment = Experiment(fix=True, challenges_unsent=True)
    experiment.step(("peer", "connect", "tcp"))
    experiment.run([STEP[name].call for name in names])
    return experiment.state()
