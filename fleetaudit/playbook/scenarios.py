"""The scenarios of a play: those that it spells out, those that it takes from a shipped playbook,
and their controls.

Rules: a scenario that expects a RST names its `control`, the twin that must end the other way; and
a play with such scenarios has one that says `control: positive`, which must end in the RST that no
kernel withholds (zero linger).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from fleetaudit.model import (
    Ending,
    Family,
    Playbook,
    Scenario,
    Step,
)
from fleetaudit.text.yaml_lines import Document, ValuePath, did_you_mean

from .expectation_tests import normalize_spaces
from .expectations import parse_condition
from .format import AdjustFile, PlayFile, ScenarioFile
from .steps import (
    StepError,
    order_problem,
    parse_step,
    step_families,
)

DEFAULT_PLAYBOOK = "unread-close"
"""The shipped playbook that runs where none is named."""
POSITIVE_CONTROL = "positive"
"""What a positive control has as its `control`."""

_RESETS: frozenset[Ending] = frozenset({"RST", "FIN, then RST"})


class ShippedPlaybooks(NamedTuple):
    """The playbooks that come with fleetaudit: their names, and how one is read."""

    names: Sequence[str]
    read: Callable[[str], Playbook]


class Placed(NamedTuple):
    """A scenario, and where a file says what is expected of it."""

    scenario: Scenario
    where: ValuePath


def build_scenarios(
    document: Document, file: PlayFile, where: ValuePath, shipped: ShippedPlaybooks
) -> tuple[Placed, ...]:
    """Returns the scenarios of the play at `where`; raises `InputError` at the line of what makes
    no sense.
    """
    placed = list[Placed]()
    for number, item in enumerate(file.scenarios):
        at = (*where, "scenarios", number)
        if isinstance(item, str):
            taken = _taken(document, item, at, file.families, shipped)
            placed += [
                Placed(s, at) for s in taken if s.name not in {p.scenario.name for p in placed}
            ]
        else:
            placed.append(Placed(_scenario(document, item, at, file.families), at))
    _check_names(document, placed)
    placed = _adjusted(document, placed, file.adjust, (*where, "adjust"))
    _check_controls(document, placed)
    return tuple(placed)


def resets(scenario: Scenario) -> bool:
    """Returns whether a RST is among the endings that are all right."""
    return bool(_RESETS & {*scenario.expect})


# ---- one scenario
# --------------------------------------------------------------------------------------------------


def _scenario(
    document: Document, file: ScenarioFile, where: ValuePath, offered: Sequence[Family]
) -> Scenario:
    steps = tuple(_step(document, text, (*where, "steps", n)) for n, text in enumerate(file.steps))
    wrong = order_problem(steps)
    if wrong:
        # The message quotes the step that is out of order, where it is one step's fault.
        guilty = [n for n, step in enumerate(steps) if wrong.startswith(f"“{step.text}”")]
        raise document.error(wrong, (*where, "steps", *guilty[-1:]))
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
        control=_control(document, file.name, file.control, expect, where),
        because=normalize_spaces(file.because),
        families=families,
        trials=file.trials,
        fix=file.fix.strip(),
        tags=tuple(file.tags),
        when=parse_condition(document, file.when, where),
    )


def _endings(expect: Ending | Sequence[Ending] | UnsetType) -> tuple[Ending, ...]:
    if expect is UNSET:
        return ()
    return (expect,) if isinstance(expect, str) else tuple(dict.fromkeys(expect))


def _control(
    document: Document, name: str, control: str | None, expect: tuple[Ending, ...], where: ValuePath
) -> str | None:
    if control == POSITIVE_CONTROL:
        if expect != ("RST",):
            raise document.error(
                "a positive control expects RST, and nothing else", (*where, "expect")
            )
        return None
    if control is None and _RESETS & {*expect}:
        raise document.error(
            f"“{name}” expects a RST and names no control",
            (*where, "expect"),
            hint=(
                "say “control: drained-close” (the twin that must end in FIN), or “control:"
                " positive”"
            ),
        )
    return control


def _step(document: Document, text: str, where: ValuePath) -> Step:
    try:
        return parse_step(text)
    except StepError as e:
        raise document.error(
            str(e), where, hint="“fleetaudit scenarios” prints steps that work"
        ) from e


# ---- shipped ones
# --------------------------------------------------------------------------------------------------


def _taken(
    document: Document,
    reference: str,
    where: ValuePath,
    families: Sequence[Family],
    shipped: ShippedPlaybooks,
) -> list[Scenario]:
    """Returns the shipped scenarios that `reference` (playbook/name, globs allowed) names, with
    their controls.
    """
    source, slash, glob = reference.partition("/")
    if not slash or not glob:
        raise document.error(
            f"“{reference}” names no scenario",
            where,
            hint=(
                "a scenario is a mapping (name:, title:, steps:) or a shipped one, such as"
                f" {DEFAULT_PLAYBOOK}/unread-close"
            ),
        )
    if source not in shipped.names:
        raise document.error(
            f"no playbook “{source}” is shipped{did_you_mean(source, shipped.names)}", where
        )
    if f"playbooks/{source}.yml" == document.source:
        raise document.error(f"“{reference}” is of this very playbook", where)
    offered = {s.name: s for play in shipped.read(source).plays for s in play.scenarios}
    wanted = [s for name, s in offered.items() if fnmatch.fnmatchcase(name, glob)]
    if not wanted:
        raise document.error(
            f"no scenario of {source} is called “{glob}”{did_you_mean(glob, offered)}", where
        )
    names = {s.name for s in wanted} | {s.control for s in wanted}
    names |= {
        name
        for name, s in offered.items()
        if s.is_positive_control and any(resets(w) for w in wanted)
    }
    narrowed = [
        msgspec.structs.replace(
            s, families=tuple(f for f in s.families if f == "unix" or f in families)
        )
        for name, s in offered.items()
        if name in names
    ]
    # One that runs over IPv6 alone has no place in a play for IPv4.
    return [s for s in narrowed if s.families]


def _adjusted(
    document: Document, placed: Sequence[Placed], files: Mapping[str, AdjustFile], where: ValuePath
) -> list[Placed]:
    names = [p.scenario.name for p in placed]
    for name in files:
        if name not in names:
            raise document.error(
                f"the scenario “{name}” is none of this play{did_you_mean(name, names)}",
                (*where, name),
                key=True,
            )
    return [
        (
            Placed(
                _adjust(document, p.scenario, files[p.scenario.name], (*where, p.scenario.name)),
                (*where, p.scenario.name),
            )
            if p.scenario.name in files
            else p
        )
        for p in placed
    ]


def _adjust(document: Document, scenario: Scenario, file: AdjustFile, where: ValuePath) -> Scenario:
    expect = scenario.expect if file.expect is None else _endings(file.expect)
    control = scenario.control if file.control is None else file.control
    if not scenario.is_positive_control or expect != scenario.expect or file.control is not None:
        control = _control(document, scenario.name, control, expect, where)
    return msgspec.structs.replace(
        scenario,
        expect=expect,
        # A twin is for a RST; without one it would have to end the other way for no reason.
        control=control if _RESETS & {*expect} or file.control is not None else None,
        severity=file.severity or scenario.severity,
        because=scenario.because if file.because is None else normalize_spaces(file.because),
        fix=scenario.fix if file.fix is None else file.fix.strip(),
        trials=file.trials or scenario.trials,
        tags=scenario.tags if file.tags is None else tuple(file.tags),
        when=scenario.when if file.when is None else parse_condition(document, file.when, where),
    )


# ---- names and controls
# --------------------------------------------------------------------------------------------


def _check_names(document: Document, scenarios: Sequence[Placed]) -> None:
    lines = dict[str, int]()
    for scenario, where in scenarios:
        if scenario.name in lines:
            raise document.error(
                f"the scenario “{scenario.name}” is here for the second time; the first is in line "
                f"{lines[scenario.name]}",
                where,
            )
        if scenario.name == POSITIVE_CONTROL:
            raise document.error(
                f"“{POSITIVE_CONTROL}” is no name: it is what a positive control says", where
            )
        lines[scenario.name] = document.at(where).line


def _check_controls(document: Document, scenarios: Sequence[Placed]) -> None:
    by_name = {p.scenario.name: p.scenario for p in scenarios}
    for scenario, where in scenarios:
        if scenario.control is None:
            continue
        control = by_name.get(scenario.control)
        at = (*where, "control")
        if control is None:
            raise document.error(
                f"the control “{scenario.control}” is no scenario of this"
                f" play{did_you_mean(scenario.control, by_name)}",
                at,
                hint=f"if the shipped one is meant, add “- {DEFAULT_PLAYBOOK}/{scenario.control}”",
            )
        if control.control is not None:
            raise document.error(f"the control “{control.name}” names a control itself", at)
        if not control.expect:
            raise document.error(
                f"the control “{control.name}” has no expectation, so it cannot fail",
                at,
                hint="say “expect:” in that scenario, or name another control",
            )
        if {*control.expect} & {*scenario.expect}:
            raise document.error(
                f"the control “{control.name}” does not end the other way, but may end alike", at
            )
        if missing := [f for f in scenario.families if f not in control.families]:
            raise document.error(
                f"the control “{control.name}” does not run over {', '.join(missing)}", at
            )
    positive = {f for p in scenarios if p.scenario.is_positive_control for f in p.scenario.families}
    for scenario, where in scenarios:
        # AF_UNIX knows no zero linger.
        if resets(scenario) and (
            missing := [f for f in scenario.families if f not in positive and f != "unix"]
        ):
            raise document.error(
                f"“{scenario.name}” expects a RST over {missing[0]}, and the play has no positive"
                " control for it",
                where,
                hint=(
                    f"add “- {DEFAULT_PLAYBOOK}/zero-linger-close”, or “control: positive” to a scenario"
                    " that must reset"
                ),
            )
