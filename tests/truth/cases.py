"""What is run and what must come of it: the shipped playbook by its matrix, the generated set by the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleetaudit.model import Scenario
from fleetaudit.playbook import load_playbook
from tests.kernel_matrix import MATRIX, expected

from . import generate
from .model import Prediction
from .worlds import World


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, the endings that are right for it in a world, and whether a kernel may lack what it needs.

    `prediction`, where there is one, is what the model says of the wire, the peer and the counters in that world.
    """

    scenario: Scenario
    right: Callable[[World], tuple[str, ...]]
    may_lack: bool = False
    prediction: Callable[[World], Prediction] | None = None


def shipped() -> list[Case]:
    """Returns the scenarios of the shipped playbook; what is right is what the matrix of kernels says."""
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


SETS: dict[str, Callable[[], list[Case]]] = {"shipped": shipped, "generated": generated}
