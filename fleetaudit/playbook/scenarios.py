"""Reads the scenarios of a play: its own, those of shipped playbooks, and the adjusted ones.

Rules: a scenario that expects RST names its `control`, a scenario that must end differently;
`controls.py` checks the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from fleetaudit.model import Ending, Family, Scenario, Step
from fleetaudit.text.document import Document, ValuePath
from fleetaudit.text.typed_documents import did_you_mean

from .controls import POSITIVE_CONTROL, PlacedScenario, check_controls, expects_reset
from .expectation_tests import normalize_spaces
from .expectations import parse_condition
from .format import AdjustFile, PlayFile, ScenarioFile
from .shipped import ShippedPlaybooks, shipped_scenarios
from .step_order import order_problem, step_families
from .steps import StepError, parse_step


def build_scenarios(
    document: Document, file: PlayFile, where: ValuePath, shipped: ShippedPlaybooks
) -> tuple[PlacedScenario, ...]:
    """Returns the scenarios of a play, in the order of the file.

    `where` is the play's path in the document. A shipped scenario that is named twice counts once.
    Raises `InputError` at the line of the mistake: an unknown step, an unknown name, a control that
    proves nothing.
    """
    placed = list[PlacedScenario]()
    for number, item in enumerate(file.scenarios):
        at = (*where, "scenarios", number)
        if isinstance(item, str):
            found = shipped_scenarios(document, item, at, file.families, shipped)
            placed += _new_ones(placed, found, at)
        else:
            placed.append(PlacedScenario(_build_scenario(document, item, at, file.families), at))
    _check_names(document, placed)
    placed = _adjust_scenarios(document, placed, file.adjust, (*where, "adjust"))
    check_controls(document, placed)
    return tuple(placed)


def _new_ones(
    placed: Sequence[PlacedScenario], found: Sequence[Scenario], where: ValuePath
) -> list[PlacedScenario]:
    """Returns the shipped scenarios that the play does not have yet."""
    names = {each.scenario.name for each in placed}
    return [PlacedScenario(scenario, where) for scenario in found if scenario.name not in names]


# ---- one scenario


def _build_scenario(
    document: Document, file: ScenarioFile, where: ValuePath, offered: Sequence[Family]
) -> Scenario:
    """Returns a scenario that the play itself describes; `offered` are the play's families."""
    steps = tuple(_parse(document, text, (*where, "steps", n)) for n, text in enumerate(file.steps))
    _check_order(document, steps, (*where, "steps"))
    if file.families is not None:
        offered = [family for family in offered if family in file.families]
    families = step_families(steps, offered)
    if not families:
        raise document.error(f"“{file.name}” runs over none of the play's families", where)
    expect = _endings(file.expect)
    return Scenario(
        name=file.name,
        title=file.title,
        steps=steps,
        expect=expect,
        severity=file.severity,
        control=_resolve_control(document, file.name, file.control, expect, where),
        because=normalize_spaces(file.because),
        families=families,
        trials=file.trials,
        fix=file.fix.strip(),
        tags=tuple(file.tags),
        when=parse_condition(document, file.when, where),
    )


def _parse(document: Document, text: str, where: ValuePath) -> Step:
    """Returns one step; raises `InputError` at its line."""
    try:
        return parse_step(text)
    except StepError as e:
        raise document.error(
            str(e), where, hint="“fleetaudit scenarios” prints steps that work"
        ) from e


def _check_order(document: Document, steps: Sequence[Step], where: ValuePath) -> None:
    """Raises `InputError` if no probe can run the steps in this order, at the step that is to
    blame.
    """
    problem = order_problem(steps)
    if problem:
        # The message begins with the step that is out of order, if it is one step's fault.
        to_blame = [n for n, step in enumerate(steps) if problem.startswith(f"“{step.text}”")]
        raise document.error(problem, (*where, *to_blame[-1:]))


def _endings(expect: Ending | Sequence[Ending] | UnsetType) -> tuple[Ending, ...]:
    """Returns the expected endings, each once; () if none are expected."""
    if expect is UNSET:
        return ()
    if isinstance(expect, str):
        return (expect,)
    return tuple(dict.fromkeys(expect))


def _resolve_control(
    document: Document, name: str, control: str | None, expect: tuple[Ending, ...], where: ValuePath
) -> str | None:
    """Returns the name of the control, None for a positive control and for a scenario without
    one.

    Raises `InputError` for a positive control that does not expect exactly RST, and for a scenario
    that expects a RST and has no control.
    """
    if control == POSITIVE_CONTROL:
        if expect != ("RST",):
            raise document.error(
                "a positive control expects RST, and nothing else", (*where, "expect")
            )
        return None
    if control is None and expects_reset(expect):
        raise document.error(
            f"“{name}” expects a RST and names no control",
            (*where, "expect"),
            hint=(
                "add “control: drained-close” (the scenario that must end in FIN), or “control:"
                " positive”"
            ),
        )
    return control


# ---- adjusted scenarios


def _adjust_scenarios(
    document: Document,
    placed: Sequence[PlacedScenario],
    files: Mapping[str, AdjustFile],
    where: ValuePath,
) -> list[PlacedScenario]:
    """Returns the scenarios with the changes that the play makes to some of them.

    Raises `InputError` at a change of a scenario that the play does not have.
    """
    adjusted = {each.scenario.name: each for each in placed}
    for name, file in files.items():
        at = (*where, name)
        if name not in adjusted:
            raise document.error(
                f"this play has no scenario “{name}”{did_you_mean(name, adjusted)}", at, key=True
            )
        scenario = _adjust(document, adjusted[name].scenario, file, at)
        adjusted[name] = PlacedScenario(scenario, at)
    return [*adjusted.values()]


def _adjust(document: Document, scenario: Scenario, file: AdjustFile, where: ValuePath) -> Scenario:
    """Returns a scenario with the fields that the play sets; raises `InputError`.

    What it runs cannot be changed: a scenario of one name has the same steps in all plays.
    """
    expect = scenario.expect if file.expect is None else _endings(file.expect)
    adjusted = msgspec.structs.replace(
        scenario,
        expect=expect,
        control=_adjust_control(document, scenario, file, expect, where),
        severity=file.severity or scenario.severity,
        trials=file.trials or scenario.trials,
    )
    return msgspec.structs.replace(adjusted, **_set_texts(document, file, where))


def _set_texts(document: Document, file: AdjustFile, where: ValuePath) -> dict[str, object]:
    """Returns the fields of a scenario that an adjustment sets, also to nothing.

    None is a key that the playbook does not have, and "" or [] empties the field.
    """
    fields = dict[str, object]()
    if file.because is not None:
        fields["because"] = normalize_spaces(file.because)
    if file.fix is not None:
        fields["fix"] = file.fix.strip()
    if file.tags is not None:
        fields["tags"] = tuple(file.tags)
    if file.when is not None:
        fields["when"] = parse_condition(document, file.when, where)
    return fields


def _adjust_control(
    document: Document,
    scenario: Scenario,
    file: AdjustFile,
    expect: tuple[Ending, ...],
    where: ValuePath,
) -> str | None:
    """Returns the control of an adjusted scenario.

    A positive control stays one as long as its expectation is not changed. A control that the play
    does not name is dropped if no RST is expected any more: without a RST it would have to end the
    other way for no reason.
    """
    if file.control is not None:
        return _resolve_control(document, scenario.name, file.control, expect, where)
    control = scenario.control
    if not scenario.is_positive_control or expect != scenario.expect:
        control = _resolve_control(document, scenario.name, control, expect, where)
    if not expects_reset(expect):
        return None
    return control


def _check_names(document: Document, placed: Sequence[PlacedScenario]) -> None:
    """Raises `InputError` if a name is used twice, or is "positive", the mark of such a control."""
    lines = dict[str, int]()
    for scenario, where in placed:
        if scenario.name in lines:
            raise document.error(
                f"the scenario “{scenario.name}” is defined twice; the first is in line "
                f"{lines[scenario.name]}",
                where,
            )
        if scenario.name == POSITIVE_CONTROL:
            raise document.error(
                f"“{POSITIVE_CONTROL}” cannot be a name: it marks a positive control",
                where,
            )
        lines[scenario.name] = document.at(where).line
