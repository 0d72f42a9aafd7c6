"""Reads the scenarios of a play: its own, those of shipped playbooks, and the adjusted ones.

Rules: a scenario that expects RST names its `control`, the scenario that must end the other way;
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
    """Returns the scenarios of the play at `where`; raises `InputError` at the line of what makes
    no sense.
    """
    placed = list[PlacedScenario]()
    for number, item in enumerate(file.scenarios):
        at = (*where, "scenarios", number)
        if isinstance(item, str):
            names = {each.scenario.name for each in placed}
            found = shipped_scenarios(document, item, at, file.families, shipped)
            placed += [PlacedScenario(s, at) for s in found if s.name not in names]
        else:
            placed.append(PlacedScenario(_build_scenario(document, item, at, file.families), at))
    _check_names(document, placed)
    placed = _adjust_scenarios(document, placed, file.adjust, (*where, "adjust"))
    check_controls(document, placed)
    return tuple(placed)


# ---- one scenario


def _build_scenario(
    document: Document, file: ScenarioFile, where: ValuePath, offered: Sequence[Family]
) -> Scenario:
    """Returns a scenario that the play itself describes; `offered` are the play's families."""
    steps = tuple(_parse(document, text, (*where, "steps", n)) for n, text in enumerate(file.steps))
    _check_order(document, steps, (*where, "steps"))
    families = step_families(
        steps, [f for f in offered if file.families is None or f in file.families]
    )
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
    return (expect,) if isinstance(expect, str) else tuple(dict.fromkeys(expect))


def _resolve_control(
    document: Document, name: str, control: str | None, expect: tuple[Ending, ...], where: ValuePath
) -> str | None:
    """Returns the name of the control, None for a positive control and for a scenario without
    one.
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
    """Returns the scenarios with the changes that the play makes to some of them."""
    names = [each.scenario.name for each in placed]
    for name in files:
        if name not in names:
            raise document.error(
                f"this play has no scenario “{name}”{did_you_mean(name, names)}",
                (*where, name),
                key=True,
            )
    return [
        _adjust_if_named(document, each, files.get(each.scenario.name), where) for each in placed
    ]


def _adjust_if_named(
    document: Document, placed: PlacedScenario, file: AdjustFile | None, where: ValuePath
) -> PlacedScenario:
    """Returns a scenario with the play's changes, itself if there are none."""
    if file is None:
        return placed
    at = (*where, placed.scenario.name)
    return PlacedScenario(_adjust(document, placed.scenario, file, at), at)


def _adjust(document: Document, scenario: Scenario, file: AdjustFile, where: ValuePath) -> Scenario:
    """Returns a scenario with the fields that the play sets; raises `InputError`."""
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
    """Returns the fields of a scenario that an adjustment sets, also to nothing."""
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
    """Returns the control of an adjusted scenario."""
    control = scenario.control if file.control is None else file.control
    stays_positive = scenario.is_positive_control and expect == scenario.expect
    if not stays_positive or file.control is not None:
        control = _resolve_control(document, scenario.name, control, expect, where)
    # Without a RST a control would have to end the other way for no reason.
    return control if expects_reset(expect) or file.control is not None else None


def _check_names(document: Document, placed: Sequence[PlacedScenario]) -> None:
    """Raises `InputError` if a name is used twice, or cannot be a name."""
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
