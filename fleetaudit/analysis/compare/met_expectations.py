"""Counts the scenarios and expectations that are met on every host. Pure.

Rules: controls are not counted, because they only prove the other scenarios; nor are scenarios
without an expectation. Void hosts do not count, nor do hosts on which no scenario ran. A scenario
that ran nowhere is not counted at all. A waived finding is not met.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import chain

from fleetaudit.caching.shared_parts import distinct_objects
from fleetaudit.model import Audited

from .columns import NOT_IN_PLAYBOOK
from .common import BehaviourGroup, valid_groups
from .view_model import Column, MetExpectations

_NO_VERDICT = ("not run", NOT_IN_PLAYBOOK, "void")
"""Labels of cells without a verdict on the scenario."""


def count_met(
    columns: Iterable[Column], audited: Iterable[Audited], groups: Iterable[BehaviourGroup]
) -> MetExpectations:
    """Returns how many scenarios and other expectations are met on every host, and how many exist.

    `audited` are all audited hosts, void ones too; `groups` are the same hosts by their behaviour.
    A scenario with a column per family is met if every column is.
    """
    valid = tuple(valid_groups(groups))
    hosts = sum(map(len, valid))
    not_control = [column for column in columns if not column.is_control]
    ran = columns_to_meet(not_control)
    scenarios, deviating = _scenarios(ran)
    in_playbook = {column.scenario for column in not_control}
    without_verdict = sum(len(group) for group in valid if _ran_nothing(group[0], in_playbook))
    expectations, unmet = _expectations(audited)
    verdicts, not_run, hosts_not_run = _count_verdicts(valid)
    return MetExpectations(
        # If no scenario ran anywhere, there is no host that ran one: all of them count.
        hosts=hosts - without_verdict * bool(ran),
        hosts_without_verdict=without_verdict,
        verdicts=verdicts,
        verdicts_not_run=not_run,
        hosts_not_run=hosts_not_run,
        scenarios=len(scenarios - deviating),
        scenarios_total=len(scenarios),
        expectations=len(expectations - unmet),
        expectations_total=len(expectations),
    )


def columns_to_meet(columns: Iterable[Column]) -> list[Column]:
    """Returns the columns that ran and are no controls, in their order."""
    return [column for column in columns if has_run(column) and not column.is_control]


def has_run(column: Column) -> bool:
    """Returns whether a scenario ran on any host that is not void."""
    return any(cell.label not in _NO_VERDICT for cell in column.cells)


def _scenarios(ran: Iterable[Column]) -> tuple[set[str], set[str]]:
    """Returns the scenarios with an expectation, and those that some kernel does not meet."""
    scenarios, deviating = set[str](), set[str]()
    for column in ran:
        if column.expect:
            scenarios.add(column.scenario)
        if column.expect and column.deviates:
            deviating.add(column.scenario)
    return scenarios, deviating


def _ran_nothing(host: Audited, in_playbook: Container[str]) -> bool:
    """Returns whether a host was to run scenarios besides controls, and none of them ran.

    A host with no such scenario in its observations was not to run any, so it is not one.
    """
    endings = {o.ending for o in host.observations if o.scenario in in_playbook}
    return endings == {"not run"}


def _expectations(audited: Iterable[Audited]) -> tuple[set[str], set[str]]:
    """Returns the ids of the other expectations, and of those that some host does not meet."""
    hosts = [host for host in audited if not host.void]
    expectations = set[str]().union(*distinct_objects(host.expectations for host in hosts))
    findings = chain.from_iterable(distinct_objects(host.findings for host in hosts))
    return expectations, {finding.id for finding in findings} & expectations


def _count_verdicts(valid: Iterable[BehaviourGroup]) -> tuple[int, int, int]:
    """Returns the number of verdicts, of those not run, and of the hosts that miss some.

    A verdict is one scenario over one family on one host; void hosts do not count.
    """
    verdicts = not_run = hosts_not_run = 0
    for group in valid:
        observations = group[0].observations
        missing = sum(o.ending == "not run" for o in observations)
        verdicts += len(observations) * len(group)
        not_run += missing * len(group)
        hosts_not_run += len(group) * bool(missing)
    return verdicts, not_run, hosts_not_run
