"""Counts the scenarios and expectations that were met on every host. Pure.

Rules: controls are not counted, because they only prove the other scenarios, nor are scenarios
without an expectation. A void host does not count, nor does a host on which no scenario ran; a
scenario that ran nowhere is not counted at all. A waived finding is not met.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from fleetaudit.model import Audited

from .common import Alike
from .view_model import Column, Met

NOT_RUN = ("not run", "not asked", "void")
"""Words of a cell without a verdict on its scenario."""


def met_of(columns: Sequence[Column], audited: Iterable[Audited], alike: Iterable[Alike]) -> Met:
    """Returns how many scenarios, and how many other expectations, were met on every host, and how
    many there are.

    `alike` are the same hosts by their behaviour.
    """
    sound = [host for host in audited if not host.void]
    ran = [column for column in columns if not column.is_control and has_run(column)]
    with_expectation = [column for column in ran if column.expect]
    deviating = {column.scenario for column in with_expectation if column.deviates}
    wanted = {id_ for host in sound for id_ in host.expectations}
    missed = {finding.id for host in sound for finding in host.findings} & wanted
    scenarios = {column.scenario for column in with_expectation}
    asked = {column.scenario for column in columns if not column.is_control}
    silent = sum(_is_silent(host, asked) for host in sound)
    told = [(hosts[0].observations, len(hosts)) for hosts in alike if not hosts[0].void]
    not_run = [(sum(o.ending == "not run" for o in observations), n) for observations, n in told]
    return Met(
        hosts=len(sound) - silent if ran else len(sound),
        silent=silent,
        verdicts=sum(len(observations) * n for observations, n in told),
        not_run=sum(count * n for count, n in not_run),
        lacking=sum(n for count, n in not_run if count),
        scenarios=len(scenarios - deviating),
        of_scenarios=len(scenarios),
        expectations=len(wanted - missed),
        of_expectations=len(wanted),
    )


def has_run(column: Column) -> bool:
    """Returns whether a scenario ran on any host that is not void."""
    return any(cell.word not in NOT_RUN for cell in column.cells)


def _is_silent(host: Audited, asked: Container[str]) -> bool:
    """Returns whether a host was asked scenarios that are no controls, and none of them ran."""
    endings = {o.ending for o in host.observations if o.scenario in asked}
    return endings == {"not run"}
