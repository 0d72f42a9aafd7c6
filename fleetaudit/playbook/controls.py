"""Checks the controls of a play.

Rules: a control expects none of the endings of the scenario that names it, so that one of the two
fails if the measurement does not work. A play that expects RST has a positive control (zero
linger), which must end in RST: every kernel sends it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fleetaudit.model import Ending, Family, Scenario
from fleetaudit.text.document import Document, ValuePath
from fleetaudit.text.typed_documents import did_you_mean

DEFAULT_PLAYBOOK = "unread-close"
"""The shipped playbook that runs if none is named."""
POSITIVE_CONTROL = "positive"
"""The value of `control` in a positive control."""

_RESETS: frozenset[Ending] = frozenset({"RST", "FIN, then RST"})


class PlacedScenario(NamedTuple):
    """A scenario, and the place of its expectation in the file."""

    scenario: Scenario
    where: ValuePath


def expects_reset(expect: Collection[Ending]) -> bool:
    """Returns whether a RST is among the expected endings, alone or after a FIN."""
    return not _RESETS.isdisjoint(expect)


def names_with_controls(selected: Iterable[Scenario], offered: Iterable[Scenario]) -> set[str]:
    """Returns the names of the selected scenarios and of the controls that they need.

    These are the controls that they name, and all positive controls of those `offered` if one of
    them expects a RST.
    """
    names = set[str]()
    needs_positive = False
    for scenario in selected:
        names.update((scenario.name, scenario.control or scenario.name))
        needs_positive = needs_positive or expects_reset(scenario.expect)
    if needs_positive:
        names.update(scenario.name for scenario in offered if scenario.is_positive_control)
    return names


def check_controls(document: Document, placed: Sequence[PlacedScenario]) -> None:
    """Raises `InputError` at the first scenario of a play whose control proves nothing.

    Every named control must be a scenario of the play that can fail, that expects a different
    ending, and that runs over the same families. For every scenario that expects RST, a positive
    control must run over its families.
    """
    by_name = {each.scenario.name: each.scenario for each in placed}
    for each in placed:
        if each.scenario.control is not None:
            _check_control(document, each, each.scenario.control, by_name)
    covered = _families_with_positive_control(by_name.values())
    for each in placed:
        if expects_reset(each.scenario.expect):
            _check_positive_control(document, each, covered)


def _families_with_positive_control(scenarios: Iterable[Scenario]) -> set[Family]:
    """Returns the families over which some scenario proves that a RST would be seen."""
    covered = set[Family]()
    for scenario in scenarios:
        if scenario.is_positive_control:
            covered.update(scenario.families)
    return covered


def _check_control(
    document: Document, placed: PlacedScenario, name: str, by_name: Mapping[str, Scenario]
) -> None:
    """Raises `InputError` if the control of a scenario is missing or cannot fail."""
    at = (*placed.where, "control")
    control = by_name.get(name)
    if control is None:
        raise document.error(
            f"the control “{name}” is not a scenario of this play{did_you_mean(name, by_name)}",
            at,
            hint=f"if the shipped one is meant, add “- {DEFAULT_PLAYBOOK}/{name}”",
        )
    if control.control is not None:
        raise document.error(f"the control “{name}” names a control itself", at)
    if not control.expect:
        raise document.error(
            f"the control “{name}” has no expectation, so it cannot fail",
            at,
            hint="add “expect:” to that scenario, or name another control",
        )
    if not set(control.expect).isdisjoint(placed.scenario.expect):
        raise document.error(
            f"the control “{name}” must end differently, but may end the same way", at
        )
    missing = _families_without(placed.scenario, control.families)
    if missing:
        raise document.error(f"the control “{name}” does not run over {', '.join(missing)}", at)


def _families_without(scenario: Scenario, covered: Collection[Family]) -> list[Family]:
    """Returns the families of a scenario that are not `covered`."""
    return [family for family in scenario.families if family not in covered]


def _check_positive_control(
    document: Document, placed: PlacedScenario, covered: Collection[Family]
) -> None:
    """Raises `InputError` if no positive control covers the families of a scenario that resets."""
    # AF_UNIX has no zero linger.
    missing = _families_without(placed.scenario, {*covered, "unix"})
    if missing:
        raise document.error(
            f"“{placed.scenario.name}” expects a RST over {missing[0]}, and the play has no"
            " positive control for it",
            placed.where,
            hint=(
                f"add “- {DEFAULT_PLAYBOOK}/zero-linger-close”, or “control: positive” to a"
                " scenario that must reset"
            ),
        )
