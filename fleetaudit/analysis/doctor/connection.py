"""Describes the connection to a host and its stages, as its transport knows them. Pure."""

from __future__ import annotations

from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import NoTarget, Target
from fleetaudit.transport.registry import transport_of

AnyTarget = Target | NoTarget
_STAGES_OF_ALL = ("inventory", "interpreter", "namespaces")


def describe_connection(target: AnyTarget) -> str:
    """Returns in a few words how a host is reached and as which user, "" if that is unknown."""
    return "" if isinstance(target, NoTarget) else transport_of(target).describe(target)


def stages_of(target: AnyTarget) -> tuple[CheckStage, ...]:
    """Returns the stages that a target has, in order."""
    if isinstance(target, NoTarget):
        return CHECK_STAGES
    stages = {*_STAGES_OF_ALL, *transport_of(target).stages(target)}
    return tuple(stage for stage in CHECK_STAGES if stage in stages)


def has_login(target: AnyTarget) -> bool:
    """Returns whether somebody logs in at the target, perhaps by way of jump hosts."""
    return not isinstance(target, NoTarget) and "authenticate" in stages_of(target)


def reports_login(target: AnyTarget) -> bool:
    """Returns whether the transport reports every stage of a login as soon as it passes."""
    return not isinstance(target, NoTarget) and transport_of(target).reports_login(target)


def boots(target: AnyTarget) -> bool:
    """Returns whether the stage "connect" boots the target."""
    return not isinstance(target, NoTarget) and transport_of(target).boots
