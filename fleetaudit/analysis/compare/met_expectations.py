"""Counts the scenarios and expectations that are met on every host. Pure.

Rules: controls are not counted, because they only prove the other scenarios; nor are scenarios
without an expectation. Void hosts do not count, nor do hosts on which no scenario ran. A scenario
that ran nowhere is not counted at all. A waived finding is not met.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from fleetaudit.model import Audited

from .columns import NOT_IN_PLAYBOOK
from .common import BehaviourGroup, each_finding
from .view_model import Column, MetExpectations

_NO_VERDICT = ("not run", NOT_IN_PLAYBOOK, "void")
"""Labels of cells without a verdict on the scenario."""


def count_met(
    columns: Iterable[Column], audited: Iterable[Audited], groups: Iterable[BehaviourGroup]
) -> MetExpectations:
    """Returns how many scenarios and other expectations are met on every host, and how many exist.

    `groups` are the same hosts by their behaviour.
    """
    hosts = [host for host in audited if not host.void]
    not_control = [column for column in columns if not column.is_control]
    expected = [column for column in not_control if column.expect and has_run(column)]
    scenarios = {column.scenario for column in expected}
    deviating = {column.scenario for column in expected if column.deviates}
    in_playbook = {column.scenario for column in not_control}
    without_verdict = sum(_ran_nothing(host, in_playbook) for host in hosts)
    any_run = any(map(has_run, not_control))
    expectations, unmet = _expectations(hosts)
    verdicts, not_run, hosts_not_run = _count_verdicts(groups)
    return MetExpectations(
        hosts=len(hosts) - (without_verdict if any_run else 0),
        hosts_without_verdict=without_verdict,
        verdicts=verdicts,
        verdicts_not_run=not_run,
        hosts_not_run=hosts_not_run,
        scenarios=len(scenarios - deviating),
        scenarios_total=len(scenarios),
        expectations=len(expectations - unmet),
        expectations_total=len(expectations),
    )


def has_run(column: Column) -> bool:
    """Returns whether a scenario ran on any host that is not void."""
    return any(cell.label not in _NO_VERDICT for cell in column.cells)


def _ran_nothing(host: Audited, in_playbook: Container[str]) -> bool:
    """Returns whether a host was to run scenarios besides controls, and none of them ran."""
    endings = {o.ending for o in host.observations if o.scenario in in_playbook}
    return endings == {"not run"}


def _expectations(hosts: Sequence[Audited]) -> tuple[set[str], set[str]]:
    """Returns the ids of the other expectations, and of those that some host does not meet."""
    expectations = set[str]().union(*(host.expectations for host in hosts))
    findings = {finding.id for _, finding in each_finding(hosts)}
    return expectations, findings & expectations


def _count_verdicts(groups: Iterable[BehaviourGroup]) -> tuple[int, int, int]:
    """Returns the number of verdicts, of those not run, and of the hosts that miss some."""
    verdicts = not_run = hosts_not_run = 0
    for group in groups:
        if group[0].void:
            continue
        observations = group[0].observations
        missing = sum(o.ending == "not run" for o in observations)
        verdicts += len(observations) * len(group)
        not_run += missing * len(group)
        hosts_not_run += len(group) * bool(missing)
    return verdicts, not_run, hosts_not_run
