"""Describes the connection to a host and its stages, as its transport knows them. Pure."""

from __future__ import annotations

from typing import NamedTuple

from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import NoTarget, Target
from fleetaudit.transport.registry import transport_of

AnyTarget = Target | NoTarget
_STAGES_OF_ALL = ("inventory", "interpreter", "namespaces")


class Connection(NamedTuple):
    """The connection to a host; by default that to a host without a target, of which nothing is
    known.

    `description` says in a few words how the host is reached and as which user. `stages` are those
    that the host has, in order. `reports_login`: every stage of a login is reported as soon as it
    passes. `boots`: the stage "connect" boots the target.
    """

    description: str = ""
    stages: tuple[CheckStage, ...] = CHECK_STAGES
    reports_login: bool = False
    boots: bool = False
    has_target: bool = False

    @property
    def has_login(self) -> bool:
        """Whether somebody logs in at the target, perhaps by way of jump hosts."""
        return self.has_target and "authenticate" in self.stages


def connection_of(target: AnyTarget) -> Connection:
    """Returns what the transport of a host knows of the connection to it.

    `target` is that of the host's plan; it may be the result of a host that has none.
    """
    if isinstance(target, NoTarget):
        return Connection()
    transport = transport_of(target)
    stages = {*_STAGES_OF_ALL, *transport.stages(target)}
    return Connection(
        description=transport.describe(target),
        stages=tuple(filter(stages.__contains__, CHECK_STAGES)),
        reports_login=transport.reports_login(target),
        boots=transport.boots,
        has_target=True,
    )


def describe_connection(target: AnyTarget) -> str:
    """Returns in a few words how a host is reached and as which user, "" if that is unknown.

    Such as "ssh audit@192.0.2.7 port 2222", "this machine".
    """
    return connection_of(target).description
