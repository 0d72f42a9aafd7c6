"""What is run and how it must end: the shipped playbook by its matrix, the generated sets by
the models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from fleetaudit.model import Scenario
from fleetaudit.playbook import load_playbook
from tests.support.kernel_matrix import MATRIX, expected

from . import generate, unix
from .model import Prediction
from .worlds import World

UNIX_SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, the endings that are right for it in a world, and whether a kernel may lack what
    it needs.

    `prediction`, where there is one, is what the model says of the wire, the peer and the counters
    in that world.
    """

    scenario: Scenario
    right: Callable[[World], tuple[str, ...]]
    may_lack: bool = False
    prediction: Callable[[World], Prediction] | None = None


def shipped() -> list[Case]:
    """Returns the scenarios of the shipped playbook; what is right is what the matrix of kernels
    says.
    """
    (play,) = load_playbook(None).plays
    return [_shipped(scenario) for scenario in play.scenarios]


def _shipped(scenario: Scenario) -> Case:
    def right(world: World) -> tuple[str, ...]:
        return expected(scenario.name, world.side, world.release)

    return Case(scenario, right, scenario.name in MATRIX["needs"])


def generated() -> list[Case]:
    """Returns the scenarios that nobody wrote; what is right is what the model predicts."""
    return [_generated(case) for case in generate.generated()]


def _generated(case: generate.Case) -> Case:
    def prediction(world: World) -> Prediction:
        return case.prediction if world.side == "after" else case.before_fix

    def right(world: World) -> tuple[str, ...]:
        return (prediction(world).ending,)

    return Case(case.scenario, right, prediction=prediction)


def over_unix() -> list[Case]:
    """Returns `UNIX_SAMPLE` combinations of each type with each ending; what is right is what the
    model of af_unix.c predicts.
    """
    of_each = (
        unix.combinations(sk_type, ending) for sk_type in unix.CONNECT for ending in unix.ENDINGS
    )
    return [
        _over_unix(text) for texts in of_each for text in sorted(texts, key=_digest)[:UNIX_SAMPLE]
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _over_unix(text: str) -> Case:
    steps = unix.parsed(text)
    # Which stable kernels have 2a5a4841846b nobody listed for us: where it matters, either ending
    # is right.
    right = tuple(
        dict.fromkeys(
            unix.predict(steps, oob_is_skipped=skipped).ending for skipped in (True, False)
        )
    )
    scenario = Scenario(
        name=f"unix-{_digest(text)[:10]}",
        title=text,
        steps=tuple(steps),
        expect=right,
        because="tests/truth/unix.py predicts it from the kernel's source.",
        families=("unix",),
    )
    return Case(scenario, lambda world: right, may_lack="urgent" in text)


SETS: dict[str, Callable[[], list[Case]]] = {
    "shipped": shipped,
    "generated": generated,
    "unix": over_unix,
}
