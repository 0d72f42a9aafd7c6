"""Writes the behaviour of hosts as a playbook of expectations. Pure.

Rules: what is omitted is a comment, with the reason. Every string of a host is quoted so that it is
one inert value, in a comment too. The text is read by the parser before anyone gets it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fleetaudit.analysis.memory_sysctls import MAXIMUM_BY_MEMORY
from fleetaudit.errors import InputError
from fleetaudit.model import (
    SEVERITIES,
    AuditRun,
    Ending,
    Family,
    ScenarioRow,
    Sysctl,
)
from fleetaudit.playbook import POSITIVE_CONTROL, parse_playbook
from fleetaudit.playbook.expectation_tests import normalize_spaces, ordinal
from fleetaudit.text.sanitize import escape_code, printable_line

from .behaviour import FROM_MEMORY, MAX_TEXT, Behaviour, Omitted

_RESETS: frozenset[Ending] = frozenset({"RST", "FIN, then RST"})
_USUAL_CONTROL = "drained-close"
_DEFAULT_TRIALS = 3
_IP_FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
_SYSCTL_NAME = re.compile(r"net(\.[A-Za-z0-9_-]+)+", re.ASCII)


def render_playbook(run: AuditRun, behaviour: Behaviour) -> str:
    """Returns the playbook, as YAML; raises `InputError` if the run's own scenarios make none.

    `run` has the scenarios with their steps, and `behaviour` is what one or most of its hosts did.
    The playbook has one play for all hosts: scenarios with the observed endings, and sysctls with
    the observed values. What is not expected is a comment: "# Left out: net.ipv4.tcp_mem: …".
    """
    text = "".join(f"{line}\n" for line in _lines(run, behaviour))
    try:
        parse_playbook(text, source="policy")
    except InputError as e:
        raise InputError(
            f"its scenarios and sysctls make no playbook: {e.message}",
            source=f"the run {run.run.id}",
        ) from e
    return text


# ---- which scenarios ---------------------------------------------------------------------------


class _Scenario(NamedTuple):
    """A scenario of the playbook, with its one ending over its families."""

    row: ScenarioRow
    ending: Ending
    families: tuple[Family, ...]

    @property
    def is_positive_control(self) -> bool:
        """Whether it proves that a RST is seen.

        It has no control of its own, RST is the only ending that it expects, and it did end so.
        """
        return (self.ending, self.row.control, self.row.expect) == ("RST", None, ("RST",))

    @property
    def resets(self) -> bool:
        """Whether it needs a control."""
        return self.ending in _RESETS


class _Choice(NamedTuple):
    """The scenarios of the playbook, with the control of each by name, and notes of the others."""

    scenarios: list[_Scenario]
    controls: Mapping[str, str | None]
    notes: list[str]


def _choose_scenarios(run: AuditRun, behaviour: Behaviour) -> _Choice:
    """Returns the scenarios that can be expected of other hosts.

    They are in the order of the run. Each of the others has a note: why its ending is omitted, that
    its families end differently, or that there is no control for its reset.
    """
    notes = list[str]()
    candidates = list[_Scenario]()
    for row in run.scenarios:
        candidates += _candidate(row, behaviour, notes)
    controls = dict[str, str | None]()
    for scenario in candidates:
        control = _choose_control(scenario, candidates)
        if isinstance(control, Omitted):
            notes.append(f"{scenario.row.name}: it ends in {scenario.ending}, and {control.reason}")
        else:
            controls[scenario.row.name] = control
    chosen = [scenario for scenario in candidates if scenario.row.name in controls]
    return _Choice(chosen, controls, notes)


def _candidate(row: ScenarioRow, behaviour: Behaviour, notes: list[str]) -> Iterator[_Scenario]:
    """Yields a scenario if it has one ending over all its families.

    Adds a note of each family that is omitted, and of a scenario that ends differently by family.
    Such a note is "unread-close: it ends differently (RST over ipv4, FIN over ipv6)".
    """
    endings = _endings_by_family(row.name, behaviour, notes)
    if len(set(endings.values())) > 1:
        by_family = ", ".join(f"{ending} over {family}" for family, ending in endings.items())
        notes.append(f"{row.name}: it ends differently ({by_family})")
    elif endings:
        yield _Scenario(row, next(iter(endings.values())), tuple(endings))


def _endings_by_family(
    scenario: str, behaviour: Behaviour, notes: list[str]
) -> dict[Family, Ending]:
    """Returns the endings of a scenario by family; adds a note of each family that is omitted.

    A note is such as "unread-close over ipv6: not run: no IPv6".
    """
    endings = dict[Family, Ending]()
    for (name, family), ending in behaviour.endings.items():
        if name != scenario:
            continue
        if isinstance(ending, Omitted):
            notes.append(f"{name} over {family}: {ending.reason}")
        else:
            endings[family] = ending
    return endings


def _choose_control(scenario: _Scenario, scenarios: Sequence[_Scenario]) -> str | Omitted | None:
    """Returns the control of a scenario, None if it needs none, or why there is none for it.

    A scenario that resets needs a positive control over its families, which proves that a RST is
    seen, and a scenario of its own that ends in FIN. The positive control itself
    has POSITIVE_CONTROL.
    """
    if not scenario.resets:
        return None
    if not _families_with_positive_control(scenarios).issuperset(scenario.families):
        return Omitted("the run has no positive control for it")
    if scenario.is_positive_control:
        return POSITIVE_CONTROL
    return _choose_orderly_control(scenario, scenarios)


def _families_with_positive_control(scenarios: Sequence[_Scenario]) -> set[Family]:
    """Returns the families over which a RST is proven to be seen; AF_UNIX needs no proof."""
    families: set[Family] = {"unix"}
    for scenario in scenarios:
        if scenario.is_positive_control:
            families.update(scenario.families)
    return families


def _choose_orderly_control(scenario: _Scenario, scenarios: Sequence[_Scenario]) -> str | Omitted:
    """Returns a scenario that ends in FIN over at least the same families.

    It is the scenario's own control if possible, else the usual one, else the first of the run.
    """
    names = [other.row.name for other in scenarios if _is_orderly_twin(scenario, other)]
    preferred = scenario.row.control, _USUAL_CONTROL, *names
    none = Omitted("no other scenario ends in FIN")
    return next((name for name in preferred if name in names), none)


def _is_orderly_twin(scenario: _Scenario, other: _Scenario) -> bool:
    """Returns whether another scenario ends in FIN over at least the families of a scenario."""
    return other.ending == "FIN" and set(scenario.families) <= set(other.families)


# ---- the text ----------------------------------------------------------------------------------


class _PlayDefaults(NamedTuple):
    """The families and trials that the play sets for its scenarios."""

    families: tuple[Family, ...]
    trials: int

    @classmethod
    def of(cls, scenarios: Sequence[_Scenario], behaviour: Behaviour) -> _PlayDefaults:
        """Returns the families that some scenario has, and the most frequent number of trials."""
        return cls(_used_families(scenarios), _usual_trials(scenarios, behaviour))


def _used_families(scenarios: Iterable[_Scenario]) -> tuple[Family, ...]:
    """Returns the families of the Internet that some scenario has, both if none has any."""
    used = set[Family]().union(*(scenario.families for scenario in scenarios))
    return tuple(filter(used.__contains__, _IP_FAMILIES)) or _IP_FAMILIES


def _usual_trials(scenarios: Iterable[_Scenario], behaviour: Behaviour) -> int:
    """Returns the most frequent number of trials, the playbook's default without scenarios.

    Of equally frequent numbers it is that of the first scenario.
    """
    counts = Counter(behaviour.trials[scenario.row.name] for scenario in scenarios)
    if not counts:
        return _DEFAULT_TRIALS
    return counts.most_common(1)[0][0]


def _lines(run: AuditRun, behaviour: Behaviour) -> Iterator[str]:
    """Yields the lines of the playbook."""
    scenarios, controls, notes = _choose_scenarios(run, behaviour)
    defaults = _PlayDefaults.of(scenarios, behaviour)
    source = printable_line(behaviour.source)
    yield f"# The behaviour of {source} in the run {printable_line(run.run.id)}, for other hosts."
    yield "# Made by `fleetaudit policy make`. Edit what should be otherwise, and say why."
    yield ""
    yield f"- name: {_quote(f'As {behaviour.source}'[:200])}"
    yield "  hosts: all"
    yield f"  trials: {defaults.trials}"
    yield f"  families: [{', '.join(defaults.families)}]"
    if scenarios or notes:
        yield ""
    if scenarios:
        yield "  scenarios:"
    for scenario in scenarios:
        yield from _scenario_lines(scenario, controls[scenario.row.name], behaviour, defaults)
    yield from _omission_lines("    ", notes)
    yield from _sysctl_lines(behaviour.sysctls)


def _omission_lines(indent: str, notes: Iterable[str]) -> Iterator[str]:
    """Yields a comment for each note."""
    for note in notes:
        yield f"{indent}# Left out: {printable_line(note)}"


def _scenario_lines(
    scenario: _Scenario, control: str | None, behaviour: Behaviour, defaults: _PlayDefaults
) -> Iterator[str]:
    """Yields the lines of one scenario, and an empty line.

    Families and trials are written only if they are not the play's. A scenario over AF_UNIX has its
    family from its steps. A difference from the chosen host is a warning at least.
    """
    row = scenario.row
    yield f"    - name: {_quote(row.name)}"
    yield f"      title: {_quote(row.title)}"
    yield "      steps:"
    for step in row.steps:
        yield f"        - {_quote(step)}"
    yield f"      expect: {_quote(scenario.ending)}"
    yield f"      severity: {max(row.severity, 'warning', key=SEVERITIES.index)}"
    if control is not None:
        yield f"      control: {_quote(control)}"
    families = tuple(filter(scenario.families.__contains__, defaults.families))
    if families != defaults.families and "unix" not in scenario.families:
        yield f"      families: [{', '.join(families)}]"
    if behaviour.trials[row.name] != defaults.trials:
        yield f"      trials: {behaviour.trials[row.name]}"
    because = f"As on {behaviour.source}. {row.because}".strip()
    yield f"      because: {_quote(because[:MAX_TEXT])}"
    yield ""


def _sysctl_lines(sysctls: Mapping[str, Sysctl | Omitted]) -> Iterator[str]:
    """Yields the lines of the sysctls, and a comment for each that is omitted.

    A key comes from a host, so only one that is a name of a sysctl is written as a key.
    """
    expectations, notes = list[str](), list[str]()
    for key, sysctl in sysctls.items():
        if isinstance(sysctl, Omitted):
            notes.append(f"{key}: {sysctl.reason}")
        elif not _SYSCTL_NAME.fullmatch(key):
            notes.append(f"{key}: not a name of a sysctl that a playbook may have")
        else:
            expectations += _expectation_lines(key, sysctl.value, notes)
    if expectations:
        yield from ("  sysctls:", "    expect:", *expectations)
    yield from _omission_lines("      ", notes)


def _expectation_lines(key: str, value: str | None, notes: list[str]) -> Iterator[str]:
    """Yields the lines of the expectation of one sysctl.

    Without a value the sysctl must be absent. Of tcp_rmem and tcp_wmem the maximum is omitted, with
    a note, because it follows from the memory of the host. "4096 131072 6291456" is expected as
    4096 at position 1 and 131072 at position 2. Without exactly three words the whole value is
    expected.
    """
    if value is None:
        yield f"      {key}: {{present: false}}"
        return
    words = value.split()
    if key not in MAXIMUM_BY_MEMORY or len(words) != 3:
        yield f"      {key}: {{equals: {_quote(normalize_spaces(value))}}}"
        return
    notes.append(f"{key}, {ordinal(3)} number ({words[2]}): {FROM_MEMORY}")
    yield f"      {key}:"
    for position, word in enumerate(words[:2], 1):
        yield f"        - {{position: {position}, equals: {_quote(word)}}}"


def _quote(text: str) -> str:
    """Returns `text` as a double-quoted scalar of YAML, in ASCII: whatever it contains, it is one
    value on one line.
    """
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    """Returns a character of a double-quoted scalar; what is not printable ASCII is escaped."""
    if character in '"\\':
        return "\\" + character
    if " " <= character <= "~":
        return character
    return escape_code(character)
