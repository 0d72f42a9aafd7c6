"""What the shipped playbook ends in on each kernel: data/kernel_matrix.yml, and the question that
tests ask it.
"""

from __future__ import annotations

from typing import Any

import yaml

from tests import DATA

from .kernels import Side

MATRIX: dict[str, Any] = yaml.safe_load(DATA.joinpath("kernel_matrix.yml").read_text())


def expected(scenario: str, side: Side, release: tuple[int, ...]) -> tuple[str, ...]:
    """Returns the endings that are right for a shipped scenario on a kernel of this release and
    side of the fix.

    Raises LookupError where the matrix does not name the scenario.
    """
    for deviation in MATRIX["deviations"]:
        on_side = deviation.get("side") == side
        older = "below" in deviation and release[:2] < tuple(deviation["below"])
        if scenario in deviation["scenarios"] and (on_side or older):
            return tuple(deviation["ending"])
    endings = tuple(ending for ending, names in MATRIX["endings"].items() if scenario in names)
    if not endings:
        raise LookupError(f"tests/data/kernel_matrix.yml does not name {scenario}")
    return endings
