"""Scenarios that nobody wrote: short sequences over a small alphabet, each with the ending that the
model predicts.

Rules: pure and deterministic. A sequence of up to four steps is kept where

- the closer ends something (a close, a half-close, both ways shut, a disconnect), and the last step
  is no mere preparation, such as a socket option;
- `steps.check_order` takes it, and the model can carry every step through;
- each step changes something in the model: without a step that changes nothing it would be a
  shorter sequence;
- of more than two steps: something else is seen without any one of the socket options that are set;
- no other order of the same steps, kept already, ends in the same state by the same segments.

Of one, two and three steps all are kept. Of four steps there are thousands: those whose ending the
fix of 2025 changes, and `SAMPLE` others. The sample is the names with the smallest SHA-256, so that
a new word in the alphabet does not exchange the others.

The model does not ask who connects, when that is accepted, or over which family. A kernel and a
probe may: so these are drawn by the same digest, and how they meet is a step more, in front.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetaudit.model import Family, Scenario, Step
from fleetaudit.playbook.step_order import order_problem
from fleetaudit.playbook.steps import parse_step

from .model import (
    Experiment,
    NotModelled,
    Prediction,
    Refused,
    predict,
)

ALPHABET: tuple[tuple[str, str], ...] = (  # a word for names, and the step
    ("p-sends", "peer sends 5 bytes"),
    ("p-sends-urgent", "peer sends 1 urgent byte"),
    ("p-fills", "peer sends until blocked"),
    ("p-reads", "peer reads all"),
    ("p-reads-to-end", "peer reads to the end"),
    ("p-reads-urgent", "peer reads the urgent byte"),
    ("p-half-closes", "peer half-closes"),
    ("p-shuts-reading", "peer shuts reading"),
    ("p-shuts-both", "peer shuts both ways"),
    ("p-zero-lingers", "peer sets SO_LINGER 1 0"),
    ("p-closes", "peer closes"),
    ("p-resends", "peer resends 5 bytes"),
    ("p-resends-fin", "peer resends 5 bytes with FIN"),
    ("p-sends-ahead", "peer sends 5 bytes out of order"),
    ("c-sends", "closer sends 5 bytes"),
    ("c-sends-urgent", "closer sends 1 urgent byte"),
    ("c-fills", "closer sends until blocked"),
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
SAMPLE = 400
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
    """A generated scenario, with what the model predicts on a kernel with the fix of 2025 and on
    one without.
    """

    scenario: Scenario
    prediction: Prediction
    before_fix: Prediction


@functools.cache
def generated() -> list[Case]:
    """Returns the set, in a stable order: short ones first."""
    short = [names for length in range(1, STEPS) for names in kept(longer(length))]
    candidates = sorted(longer(STEPS), key=lambda candidate: digest(candidate[0]))
    sample = itertools.islice(kept(candidates), SAMPLE)
    forged = filter(depends_on_the_fix, kept(c for c in candidates if FORGED in c[0]))
    return [make_case(n) for n in [*short, *sorted({*sample, *forged})]]


FORGED = "p-resends-fin"
"""Without it the fix changes nothing: no call on a socket makes such a segment."""


def depends_on_the_fix(names: Sequence[str]) -> bool:
    """Returns whether the fix of 2025 changes the ending."""
    steps = [STEP[name] for name in names]
    return predict(steps, fix=True).ending != predict(steps, fix=False).ending


def depends_on_options(names: Sequence[str]) -> bool:
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


def make_case(names: Sequence[str]) -> Case:
    """Returns the case of a sequence of words of the alphabet."""
    drawn = digest(names)
    steps = tuple(
        parse_step(text)
        for text in [MEETS[connect_step(names)], *(dict(ALPHABET)[n] for n in names)]
        if text
    )
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


def connect_step(names: Sequence[str]) -> str:
    """Returns how the two meet, a word of MEETS."""
    return [*MEETS][digest(names)[1] % len(MEETS)]


def name_of(names: Sequence[str]) -> str:
    """Returns the name of a scenario: its words, and in front how the two meet."""
    return "+".join(filter(None, [connect_step(names), *names]))


def digest(names: Sequence[str]) -> bytes:
    """Returns what a sequence is chosen by."""
    return hashlib.sha256("+".join(names).encode()).digest()


STEP: dict[str, Step] = {name: parse_step(text) for name, text in ALPHABET}


Candidate = tuple[tuple[str, ...], str]
"""A sequence, and the state of the model before its last step."""


def kept(candidates: Iterable[Candidate]) -> Iterator[tuple[str, ...]]:
    """Yields those of the candidates that are kept, by the rules at the head of this file."""
    known = set[tuple[object, ...]]()
    for names, before in candidates:
        if not is_complete([STEP[name] for name in names]):
            continue
        reached = fingerprint(names)
        same = (tuple(sorted(names)), reached)
        if (
            reached not in ("", before)
            and same not in known
            and (len(names) < 3 or depends_on_options(names))
        ):
            known.add(same)
            yield names


def is_complete(steps: Sequence[Step]) -> bool:
    """Returns whether the closer ends something, and the last step is more than a preparation."""
    ends = any(
        s.call[0] == "closer" and s.call[1] in ENDS and s.call[2:] != ("read",) for s in steps
    )
    return ends and steps[-1].call[1] not in PREPARES and not order_problem(steps)


def longer(length: int) -> Iterator[Candidate]:
    """Yields every sequence of this length with one step more than can be carried through, each
    step so far having changed something.
    """
    for names, reached in walk(length - 1):
        for name in STEP:
            yield (*names, name), reached


@functools.cache
def walk(length: int) -> tuple[Candidate, ...]:
    """Returns every sequence of this length that can be carried through and in which each step
    changes something, with the state that it reaches.
    """
    if length == 0:
        return (((), fingerprint(())),)
    reached = ((names, before, fingerprint(names)) for names, before in longer(length))
    return tuple((names, after) for names, before, after in reached if after not in ("", before))


def unordered(steps: Sequence[Step]) -> bool:
    """Returns whether a side does something after it is gone."""
    gone = [i for i, s in enumerate(steps) if s.call[1] == "close"]
    return any(later.call[0] == steps[i].call[0] for i in gone for later in steps[i + 1 :])


def fingerprint(names: tuple[str, ...]) -> str:
    """Returns all of the model's state after these steps, and what was seen until then; "" for what
    cannot be carried through.
    """
    steps = [STEP[name] for name in names]
    experiment = Experiment(fix=True, challenges_unsent=True)
    experiment.step(("peer", "connect", "tcp"))
    try:
        experiment.run([step.call for step in steps])
    except (Refused, NotModelled):
        return ""
    return "" if unordered(steps) else experiment.state()
