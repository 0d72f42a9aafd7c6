"""The stages of a run and of `fleetaudit doctor`, in the order of a connection. Pure."""

from __future__ import annotations

from typing import Literal, get_args

from fleetaudit.model import Stage

CheckStage = Literal[
    "inventory",
    "resolve",
    "connect",
    "host key",
    "authenticate",
    "become",
    "interpreter",
    "namespaces",
]
"""A stage that `fleetaudit doctor` checks. It tells apart two parts of the stage "execute"."""
CHECK_STAGES: tuple[CheckStage, ...] = get_args(CheckStage)
STAGES: tuple[str, ...] = tuple(dict.fromkeys((*CHECK_STAGES, *get_args(Stage))))
"""Every stage at which a host may fail, in the order in which causes are reported."""


def stage_order(stage: str) -> int:
    """Returns the sort key of a stage; a stage of another version comes last."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)
