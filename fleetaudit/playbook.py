"""A playbook file into its plays: what is to be run, on which hosts, and what is wanted of them.

Rules: a file says everything once, and whatever makes no sense is refused with its line, before any host is touched.
The `…File` types below are the format: they decode the file, and the published JSON Schema is made from them.

Controls keep a broken experiment from passing for a result. A scenario that expects a RST names its `control`, the
twin that must end the other way; and a play with such scenarios has one that says `control: positive`, which must
end in the RST that no kernel withholds (zero linger). `Scenario.positive` recognises it afterwards.

A play takes shipped scenarios by name, `unread-close/urgent-*`, and with them the controls that they need.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from .errors import NothingToDoError
from .model import Ending, Family, Isolation, Play, Playbook, Scenario, Severity, Step, SysctlRule
from .steps import StepError, check_order, families_of, parse_step
from .yamlfile import Document, ValuePath, decode, load, near_miss, parse

DEFAULT = "unread-close"
"""The shipped playbook that runs where none is named."""
POSITIVE = "positive"
"""What a positive control has as its `control`."""

# In a wheel the playbooks lie inside of the package, in a checkout beside it.
_SHIPPED = next(
    (p for p in (Path(__file__).parent / "playbooks", Path(__file__).parents[1] / "playbooks") if p.is_dir()),
    Path(__file__).parent / "playbooks",
)
_SCHEMA = Path(__file__).parent / "schema" / "playbook.schema.json"

_RESETS: frozenset[Ending] = frozenset({"RST", "FIN, then RST"})


# ---- the file's format ---------------------------------------------------------------------------------------------

Expectable = Literal["FIN", "RST", "FIN, then RST", "nothing"]
IpFamily = Literal["ipv4", "ipv6"]
Trials = Annotated[int, Meta(ge=1, le=20, description="How often each scenario is repeated over each family.")]
Text = Annotated[str, Meta(min_length=1, max_length=4000)]
Families = Annotated[list[IpFamily], Meta(min_length=1, max_length=2, description="Over which IP families it runs.")]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what a file holds: an unknown key is a mistake."""


class RuleFile(_File, frozen=True, kw_only=True):
    """What is wanted of one sysctl; all tests that are given must hold."""

    equals: int | Text | None = None
    one_of: Annotated[list[int | Text], Meta(min_length=1)] | None = None
    at_least: int | None = None
    at_most: int | None = None
    severity: Severity = "warning"
    because: Annotated[str, Meta(max_length=4000)] = ""
    fix: Annotated[str, Meta(max_length=4000, description="What to type on the host.")] = ""


class SysctlsFile(_File, frozen=True, kw_only=True):
    """Which sysctls are read, and what is wanted of some."""

    collect: Annotated[list[str], Meta(description="Names or globs, such as net.ipv4.tcp_*.")] = []
    expect: dict[str, RuleFile] = {}


class ScenarioFile(_File, frozen=True, kw_only=True):
    """One experiment, step by step."""

    name: Annotated[str, Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    # 64: as many as the probe's reply has places for.
    steps: Annotated[list[Text], Meta(min_length=1, max_length=64, description="See `fleetaudit scenarios`.")]
    expect: Annotated[
        Expectable | Annotated[list[Expectable], Meta(min_length=1)],
        Meta(description="The ending, or the endings, that are all right."),
    ]
    severity: Annotated[Severity, Meta(description="Of the finding, where another ending is seen.")] = "warning"
    control: Annotated[
        str | None, Meta(description="The scenario that must end the other way; positive: it is itself the one.")
    ] = None
    because: Annotated[str, Meta(max_length=4000, description="Why that is expected, and by which source.")] = ""
    families: Families | None = None
    trials: Trials | None = None


class PlayFile(_File, frozen=True, kw_only=True):
    """Which hosts run which scenarios."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    hosts: Annotated[Text | list[Text], Meta(description="A pattern, as in Ansible.")]
    trials: Trials = 3
    families: Families = msgspec.field(default_factory=lambda: ["ipv4", "ipv6"])
    isolation: Annotated[Isolation, Meta(description="auto: a private network namespace where one is to be had.")] = (
        "auto"
    )
    scenarios: Annotated[
        list[str | ScenarioFile], Meta(description="Scenarios, or shipped ones by name: unread-close/urgent-*.")
    ] = []
    sysctls: SysctlsFile = SysctlsFile()


def json_schema() -> str:
    """Returns the JSON Schema (2020-12) of a playbook, as it is published in `fleetaudit/schema/`."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A fleetaudit playbook",
        **msgspec.json.schema(list[PlayFile]),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schema(path: Path = _SCHEMA) -> None:
    """Writes the JSON Schema to where it is published from."""
    path.write_text(json_schema(), encoding="utf-8")


# ---- reading one ---------------------------------------------------------------------------------------------------


def shipped_names() -> tuple[str, ...]:
    """Returns the names of the playbooks that come with fleetaudit."""
    return tuple(sorted(p.stem for p in _SHIPPED.glob("*.yml")))


def load_playbook(path: Path | None) -> Playbook:
    """Returns the playbook at `path`: None is the default one, and a bare name that is no file a shipped one.

    Raises `InputError` for what makes no sense in it, `NothingToDoError` where it is missing.
    """
    if path is None:
        return _shipped(DEFAULT)
    name = path.name.removesuffix(".yml")
    if len(path.parts) == 1 and not path.exists():
        if name not in shipped_names():
            raise NothingToDoError(f"{path}: no such file; shipped are: {', '.join(shipped_names())}")
        return _shipped(name)
    return _playbook(load(path))


def parse_playbook(text: str, *, source: str) -> Playbook:
    """Returns the playbook in `text`; raises `InputError` with the line of `source` that makes no sense."""
    return _playbook(parse(text, source=source))


def same_experiment(one: Scenario, other: Scenario) -> bool:
    """Returns whether two scenarios of one name are alike in all but how often and over what they run."""
    return msgspec.structs.replace(one, families=other.families, trials=other.trials) == other


@functools.cache
def _shipped(name: str) -> Playbook:
    path = _SHIPPED / f"{name}.yml"
    document = parse(path.read_text("utf-8"), source=f"playbooks/{name}.yml")
    return _playbook(document)


def _playbook(document: Document) -> Playbook:
    if not isinstance(document.value, list):
        raise document.error("a playbook is a list of plays", hint="begin it with “- name: …”")
    files = decode(document, list[PlayFile])
    if not files:
        raise document.error("a playbook without a play")
    plays = tuple(_play(document, file, index) for index, file in enumerate(files))
    _same_everywhere(document, plays)
    return Playbook(source=document.source, plays=plays)


def _play(document: Document, file: PlayFile, index: int) -> Play:
    at = (index, "scenarios")
    scenarios = list[_Placed]()
    for number, item in enumerate(file.scenarios):
        where = (*at, number)
        if isinstance(item, str):
            taken = _taken(document, item, where, file.families)
            scenarios += [_Placed(s, where) for s in taken if s.name not in {p.scenario.name for p in scenarios}]
        else:
            scenarios.append(_Placed(_scenario(document, item, where, file.families), where))
    _check_names(document, scenarios)
    _check_controls(document, scenarios)
    hosts = file.hosts if isinstance(file.hosts, str) else ",".join(file.hosts)
    if not hosts.strip():
        raise document.error("no hosts; “all” means every host of the inventory", (index, "hosts"))
    if not scenarios and not file.sysctls.collect and not file.sysctls.expect:
        raise document.error(f"the play “{file.name}” asks for nothing: no scenarios, no sysctls", (index,))
    expect = {
        key: _rule(document, file.sysctls.expect[key], (index, "sysctls", "expect", key)) for key in file.sysctls.expect
    }
    collect = [*file.sysctls.collect]
    for number, glob in enumerate(collect):
        _check_sysctl(document, glob, (index, "sysctls", "collect", number), r"net\.[A-Za-z0-9_.*?\[\]-]+")
    return Play(
        name=file.name,
        hosts=hosts,
        trials=file.trials,
        families=tuple(file.families),
        isolation=file.isolation,
        scenarios=tuple(p.scenario for p in scenarios),
        # What is wanted must be read, and an exact name is reported even where it is absent.
        sysctls_collect=tuple(dict.fromkeys([*collect, *expect])),
        sysctls_expect=expect,
    )


# ---- scenarios -----------------------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    scenario: Scenario
    where: ValuePath


def _scenario(document: Document, file: ScenarioFile, where: ValuePath, offered: Sequence[Family]) -> Scenario:
    steps = tuple(_step(document, text, (*where, "steps", n)) for n, text in enumerate(file.steps))
    wrong = check_order(steps)
    if wrong:
        # The message quotes the step that is out of order, where it is one step's fault.
        guilty = [n for n, step in enumerate(steps) if wrong.startswith(f"“{step.text}”")]
        raise document.error(wrong, (*where, "steps", *guilty[-1:]))
    families = families_of(steps, [f for f in offered if file.families is None or f in file.families])
    if not families:
        raise document.error(f"“{file.name}” runs over none of the play's families", where)
    expect: tuple[Ending, ...] = (file.expect,) if isinstance(file.expect, str) else tuple(dict.fromkeys(file.expect))
    control = file.control
    if control == POSITIVE:
        if expect != ("RST",):
            raise document.error("a positive control expects RST, and nothing else", (*where, "expect"))
        control = None
    elif control is None and _RESETS & {*expect}:
        raise document.error(
            f"“{file.name}” expects a RST and names no control",
            (*where, "expect"),
            hint="say “control: drained-close” (the twin that must end in FIN), or “control: positive”",
        )
    return Scenario(
        name=file.name,
        title=file.title,
        steps=steps,
        expect=expect,
        severity=file.severity,
        control=control,
        because=" ".join(file.because.split()),
        families=families,
        trials=file.trials,
    )


def _step(document: Document, text: str, where: ValuePath) -> Step:
    try:
        return parse_step(text)
    except StepError as e:
        raise document.error(str(e), where, hint="“fleetaudit scenarios” prints steps that work") from e


def _taken(document: Document, reference: str, where: ValuePath, families: Sequence[Family]) -> list[Scenario]:
    """Returns the shipped scenarios that `reference` (playbook/name, globs allowed) names, with their controls."""
    source, slash, glob = reference.partition("/")
    if not slash or not glob:
        raise document.error(
            f"“{reference}” names no scenario",
            where,
            hint=f"a scenario is a mapping (name:, title:, steps:, …) or a shipped one, such as {DEFAULT}/unread-close",
        )
    if source not in shipped_names():
        raise document.error(f"no playbook “{source}” is shipped{near_miss(source, shipped_names())}", where)
    offered = {s.name: s for play in _shipped(source).plays for s in play.scenarios}
    wanted = [s for name, s in offered.items() if fnmatch.fnmatchcase(name, glob)]
    if not wanted:
        raise document.error(f"no scenario of {source} is called “{glob}”{near_miss(glob, offered)}", where)
    names = {s.name for s in wanted} | {s.control for s in wanted}
    names |= {name for name, s in offered.items() if s.positive and any(_resets(w) for w in wanted)}
    narrowed = [
        msgspec.structs.replace(s, families=tuple(f for f in s.families if f == "unix" or f in families))
        for name, s in offered.items()
        if name in names
    ]
    # One that runs over IPv6 alone has no place in a play for IPv4.
    return [s for s in narrowed if s.families]


def _resets(scenario: Scenario) -> bool:
    return bool(_RESETS & {*scenario.expect})


def _check_names(document: Document, scenarios: Sequence[_Placed]) -> None:
    lines = dict[str, int]()
    for scenario, where in scenarios:
        if scenario.name in lines:
            raise document.error(
                f"the scenario “{scenario.name}” is here for the second time; the first is in line "
                f"{lines[scenario.name]}",
                where,
            )
        if scenario.name == POSITIVE:
            raise document.error(f"“{POSITIVE}” is no name: it is what a positive control says", where)
        lines[scenario.name] = document.at(where).line


def _check_controls(document: Document, scenarios: Sequence[_Placed]) -> None:
    by_name = {p.scenario.name: p.scenario for p in scenarios}
    for scenario, where in scenarios:
        if scenario.control is None:
            continue
        control = by_name.get(scenario.control)
        at = (*where, "control")
        if control is None:
            raise document.error(
                f"the control “{scenario.control}” is no scenario of this play{near_miss(scenario.control, by_name)}",
                at,
                hint=f"if the shipped one is meant, add “- {DEFAULT}/{scenario.control}”",
            )
        if control.control is not None:
            raise document.error(f"the control “{control.name}” names a control itself", at)
        if {*control.expect} & {*scenario.expect}:
            raise document.error(f"the control “{control.name}” does not end the other way, but may end alike", at)
        if missing := [f for f in scenario.families if f not in control.families]:
            raise document.error(f"the control “{control.name}” does not run over {', '.join(missing)}", at)
    positive = {f for p in scenarios if p.scenario.positive for f in p.scenario.families}
    for scenario, where in scenarios:
        # AF_UNIX knows no zero linger.
        if _resets(scenario) and (missing := [f for f in scenario.families if f not in positive and f != "unix"]):
            raise document.error(
                f"“{scenario.name}” expects a RST over {missing[0]}, and the play has no positive control for it",
                where,
                hint=f"add “- {DEFAULT}/zero-linger-close”, or “control: positive” to a scenario that must reset",
            )


def _same_everywhere(document: Document, plays: Sequence[Play]) -> None:
    seen = dict[str, tuple[Scenario, str]]()
    for index, play in enumerate(plays):
        for scenario in play.scenarios:
            first, name = seen.setdefault(scenario.name, (scenario, play.name))
            if not same_experiment(first, scenario):
                raise document.error(
                    f"the play “{play.name}” says something else by “{scenario.name}” than the play “{name}”",
                    (index, "scenarios"),
                    hint="give one of the two scenarios another name",
                )


# ---- sysctls -------------------------------------------------------------------------------------------------------


def _check_sysctl(document: Document, name: str, where: ValuePath, allowed: str, *, key: bool = False) -> None:
    if not re.fullmatch(allowed, name, re.ASCII):
        raise document.error(
            f"“{name}” is no sysctl that is read", where, key=key, hint="names begin with net. and are ASCII"
        )


def _rule(document: Document, file: RuleFile, where: ValuePath) -> SysctlRule:
    _check_sysctl(document, str(where[-1]), where, r"net(\.[A-Za-z0-9_-]+)+", key=True)
    equals = None if file.equals is None else _sysctl_text(file.equals)
    one_of = None if file.one_of is None else tuple(map(_sysctl_text, file.one_of))
    tests = (equals, one_of, file.at_least, file.at_most)
    if all(test is None for test in tests):
        raise document.error("no test; say equals, one_of, at_least or at_most", where)
    wanted = [equals] if equals is not None else list(one_of) if one_of is not None else None
    if wanted is not None and one_of is not None:
        wanted = [v for v in wanted if v in one_of]
    if wanted is not None:
        wanted = [v for v in wanted if _between(v, file.at_least, file.at_most)]
    too_narrow = file.at_least is not None and file.at_most is not None and file.at_least > file.at_most
    if wanted == [] or too_narrow:
        raise document.error("no value can meet all of this", where)
    return SysctlRule(
        equals=equals,
        one_of=one_of,
        at_least=file.at_least,
        at_most=file.at_most,
        severity=file.severity,
        because=" ".join(file.because.split()),
        fix=file.fix.strip(),
    )


def _sysctl_text(value: int | str) -> str:
    # As the probe reports it: several numbers with one space between them.
    return " ".join(str(value).split())


def _between(value: str, low: int | None, high: int | None) -> bool:
    if low is None and high is None:
        return True
    if not re.fullmatch(r"-?[0-9]+", value):
        return False
    return (low is None or int(value) >= low) and (high is None or int(value) <= high)
