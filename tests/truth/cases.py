"""What is run and what must come of it: the shipped playbook by its matrix, the generated set by the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleetaudit.model import Scenario
from fleetaudit.playbook import load_playbook
from tests.kernel_matrix import MATRIX, expected

from .worlds import World


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, the endings that are right for it in a world, and whether a kernel may lack what it needs."""

    scenario: Scenario
    right: Callable[[World], tuple[str, ...]]
    may_lack: bool = False


def shipped() -> list[Case]:
    """Returns the scenarios of the shipped playbook; what is right is what the matrix of kernels says."""
    (play,) = load_playbook(None).plays
    return [_shipped(scenario) for scenario in play.scenarios]


def _shipped(scenario: Scenario) -> Case:
    def right(world: World) -> tuple[str, ...]:
        return expected(scenario.name, world.side, world.release)

    return Case(scenario, right, scenario.name in MATRIX["needs"])


SETS: dict[str, Callable[[], list[Case]]] = {"shipped": shipped}
