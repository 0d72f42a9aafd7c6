"""Reads a playbook file into its plays: what runs, on which hosts, and what is expected.

Rules: a file says everything once. What makes no sense is refused with its line, before any host is
contacted. `format.py` is the format, `scenarios.py` the experiments, `controls.py` their controls,
`expectations.py` the other expectations.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import msgspec

from fleetaudit.errors import NothingToDoError
from fleetaudit.model import Play, Playbook, Scenario
from fleetaudit.text.document import Document, ValuePath
from fleetaudit.text.typed_documents import convert_document

from .contradictions import find_contradiction
from .controls import DEFAULT_PLAYBOOK, POSITIVE_CONTROL, PlacedScenario
from .expectations import (
    build_exposure_expectations,
    build_kernel_expectations,
    build_sysctl_expectations,
    check_sysctl,
)
from .format import PlayFile, json_schema, write_schema
from .scenarios import build_scenarios
from .services import build_services
from .shipped import ShippedPlaybooks
from .watch import build_watch, build_watch_expectations

__all__ = [
    "DEFAULT_PLAYBOOK",
    "POSITIVE_CONTROL",
    "find_contradiction",
    "is_same_experiment",
    "json_schema",
    "load_playbook",
    "parse_playbook",
    "shipped_playbook_names",
    "write_schema",
]

# In a wheel the playbooks are inside the package, in a checkout next to it.
_PLACES = (Path(__file__).parents[1] / "playbooks", Path(__file__).parents[2] / "playbooks")
_SHIPPED = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def shipped_playbook_names() -> tuple[str, ...]:
    """Returns the names of the playbooks that come with fleetaudit."""
    return tuple(sorted(p.stem for p in _SHIPPED.glob("*.yml")))


def load_playbook(path: Path | None) -> Playbook:
    """Returns the playbook at `path`: None is the default one, and a bare name that is not a file a
    shipped one.

    "unread-close" and "unread-close.yml" are bare names; a file of that very name in the current
    folder comes before the shipped playbook. Raises `InputError` for what makes no sense in it,
    `NothingToDoError` if the file is missing or cannot be read, and for a bare name that is neither
    a file nor shipped.
    """
    if path is None:
        return _read_shipped(DEFAULT_PLAYBOOK)
    name = path.name.removesuffix(".yml")
    if len(path.parts) > 1 or path.exists():
        # Imported only now: the judge and the reports need this package and no YAML.
        from fleetaudit.text.yaml_lines import load_yaml

        return _build_playbook(load_yaml(path))
    if name not in shipped_playbook_names():
        raise NothingToDoError(
            f"{path}: no such file; shipped are: {', '.join(shipped_playbook_names())}"
        )
    return _read_shipped(name)


def parse_playbook(text: str, *, source: str) -> Playbook:
    """Returns the playbook in `text`; raises `InputError` with the line of `source` that makes no
    sense.
    """
    from fleetaudit.text.yaml_lines import parse_yaml

    return _build_playbook(parse_yaml(text, source=source))


def is_same_experiment(one: Scenario, other: Scenario) -> bool:
    """Returns whether two scenarios of one name differ in nothing but trials, families and tags.

    Only then can a host run them as one.
    """
    same = msgspec.structs.replace(
        one, families=other.families, trials=other.trials, tags=other.tags
    )
    return same == other


@functools.cache
def _read_shipped(name: str) -> Playbook:
    """Returns a playbook that comes with fleetaudit."""
    text = (_SHIPPED / f"{name}.yml").read_text("utf-8")
    return parse_playbook(text, source=f"playbooks/{name}.yml")


def _build_playbook(document: Document) -> Playbook:
    """Returns the playbook in a document; raises `InputError`."""
    if not isinstance(document.value, list):
        raise document.error("a playbook is a list of plays", hint="begin it with “- name:”")
    files = convert_document(document, list[PlayFile])
    if not files:
        raise document.error("a playbook without a play")
    lines = dict[str, int]()
    plays = tuple(_build_play(document, file, index, lines) for index, file in enumerate(files))
    _check_same_scenarios(document, plays)
    _check_agreement(document, plays)
    return Playbook(source=document.source, plays=plays, lines=lines)


def _build_play(document: Document, file: PlayFile, index: int, lines: dict[str, int]) -> Play:
    """Returns the play at `index`; adds the lines of its expectations to `lines` unless they are
    there.
    """
    shipped = ShippedPlaybooks(shipped_playbook_names(), _read_shipped)
    placed = build_scenarios(document, file, (index,), shipped)
    _check_collected(document, file.sysctls.collect, (index, "sysctls", "collect"))
    sysctls = build_sysctl_expectations(document, file.sysctls.expect, (index, "sysctls", "expect"))
    play = Play(
        name=file.name,
        hosts=_hosts_pattern(document, file, index),
        hosts_line=document.at((index, "hosts")).line,
        trials=file.trials,
        families=tuple(file.families),
        isolation=file.isolation,
        scenarios=tuple(each.scenario for each in placed),
        # An expected sysctl is read, and its exact name is reported even if it is absent.
        sysctls_collect=tuple(dict.fromkeys([*file.sysctls.collect, *sysctls])),
        sysctls_expect=sysctls,
        exposure_expect=build_exposure_expectations(
            document, file.exposure.expect, (index, "exposure", "expect")
        ),
        kernels_expect=build_kernel_expectations(
            document, file.kernels.expect, (index, "kernels", "expect")
        ),
        watch=build_watch(document, file.watch, (index, "watch")),
        watch_expect=build_watch_expectations(document, file.watch, (index, "watch")),
        services=build_services(document, file.services, (index, "services")),
        tags=tuple(file.tags),
    )
    if is_empty(play):
        raise document.error(
            f"the play “{file.name}” is empty: it has no scenarios, no watch, no services, and"
            " nothing of sysctls, exposure or kernels",
            (index,),
        )
    _note_lines(document, play, placed, index, lines)
    return play


def is_empty(play: Play) -> bool:
    """Returns whether a play asks nothing of its hosts."""
    parts = (
        play.scenarios,
        play.sysctls_collect,
        play.sysctls_expect,
        play.exposure_expect,
        play.kernels_expect,
        play.watch,
        play.services,
    )
    return not any(parts)


def _hosts_pattern(document: Document, file: PlayFile, index: int) -> str:
    """Returns the pattern of a play's hosts, a list joined by commas: "web,db" for [web, db].

    Raises `InputError` if it is blank.
    """
    hosts = file.hosts if isinstance(file.hosts, str) else ",".join(file.hosts)
    if not hosts.strip():
        raise document.error("no hosts; “all” means every host of the inventory", (index, "hosts"))
    return hosts


def _check_collected(document: Document, globs: Sequence[str], where: ValuePath) -> None:
    """Raises `InputError` at the first glob that no sysctl that is read can match."""
    for number, glob in enumerate(globs):
        check_sysctl(document, glob, (*where, number), r"net\.[A-Za-z0-9_.*?\[\]-]+")


def _note_lines(
    document: Document,
    play: Play,
    placed: Iterable[PlacedScenario],
    index: int,
    lines: dict[str, int],
) -> None:
    """Adds the line of each expectation of a play to `lines`, by the id of its findings.

    Ids are "scenario:NAME", "sysctl:NAME", "exposure:NAME", "watch:NAME" and "service:NAME". All
    expectations of kernels share "kernel:". The first line of an id counts.
    """
    places: list[tuple[str, ValuePath]] = [
        (f"scenario:{each.scenario.name}", each.where) for each in placed
    ]
    for kind, section, names in (
        ("sysctl", "sysctls", play.sysctls_expect),
        ("exposure", "exposure", play.exposure_expect),
        ("watch", "watch", play.watch_expect),
    ):
        places += [(f"{kind}:{name}", (index, section, "expect", name)) for name in names]
    places += [("kernel:", (index, "kernels", "expect", name)) for name in play.kernels_expect]
    places += [
        (f"service:{service.name}", (index, "services", number))
        for number, service in enumerate(play.services)
    ]
    for id_, where in places:
        lines.setdefault(id_, document.key_at(where).line)


def _check_same_scenarios(document: Document, plays: Sequence[Play]) -> None:
    """Raises `InputError` if two plays have different scenarios of one name."""
    seen = dict[str, tuple[Scenario, str]]()
    for index, play in enumerate(plays):
        for scenario in play.scenarios:
            first, name = seen.setdefault(scenario.name, (scenario, play.name))
            if not is_same_experiment(first, scenario):
                raise document.error(
                    f"the play “{play.name}” defines “{scenario.name}” differently from the play"
                    f" “{name}”",
                    (index, "scenarios"),
                    hint="give one of the two scenarios another name",
                )


def _check_agreement(document: Document, plays: Sequence[Play]) -> None:
    """Raises `InputError` if two plays surely share hosts and expect what no value can meet; the
    plan finds those that may share hosts.
    """
    for (_, one), (index, other) in combinations(enumerate(plays), 2):
        name = find_contradiction(one, other) if _share_hosts(one, other) else ""
        if name:
            section = _section_of(other, name)
            raise document.error(
                f"the play “{other.name}” and the play “{one.name}” expect different things of"
                f" {name} on the same hosts",
                (index, section, "expect", name),
                key=True,
                hint="make the two agree, or let their “hosts:” not overlap",
            )


def _section_of(play: Play, name: str) -> str:
    """Returns the key of a play under which it has the expectation of this name."""
    if name in play.sysctls_expect:
        return "sysctls"
    return "watch" if name in play.watch_expect else "exposure"


def _share_hosts(one: Play, other: Play) -> bool:
    """Returns whether two plays surely match a host in common, if each matches one.

    They do if their patterns are equal as text, or if one of them is for all hosts. The patterns
    are not evaluated: "web:db" and "db:web" count as different.
    """
    if one.hosts == other.hosts:
        return True
    return not {"all", "*"}.isdisjoint((one.hosts, other.hosts))
