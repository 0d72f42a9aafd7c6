"""A playbook file into its plays: what is to be run, on which hosts, and what is wanted of them.

Rules: a file says everything once, and whatever makes no sense is refused with its line, before any
host is touched. `format.py` is the format, `scenarios.py` the experiments and their controls,
`expectations.py` what else is wanted.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import msgspec

from fleetaudit.errors import NothingToDoError
from fleetaudit.model import Play, Playbook, Scenario
from fleetaudit.text.yaml_lines import (
    Document,
    convert_document,
    load_yaml,
    parse_yaml,
)

from .expectations import (
    build_exposure_expectations,
    build_kernel_expectations,
    build_sysctl_expectations,
    check_sysctl,
    find_contradiction,
)
from .format import PlayFile, json_schema, write_schema
from .scenarios import (
    DEFAULT_PLAYBOOK,
    POSITIVE_CONTROL,
    ShippedPlaybooks,
    build_scenarios,
)

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

# In a wheel the playbooks lie inside of the package, in a checkout beside it.
_PLACES = (Path(__file__).parents[1] / "playbooks", Path(__file__).parents[2] / "playbooks")
_SHIPPED = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def shipped_playbook_names() -> tuple[str, ...]:
    """Returns the names of the playbooks that come with fleetaudit."""
    return tuple(sorted(p.stem for p in _SHIPPED.glob("*.yml")))


def load_playbook(path: Path | None) -> Playbook:
    """Returns the playbook at `path`: None is the default one, and a bare name that is no file a
    shipped one.

    Raises `InputError` for what makes no sense in it, `NothingToDoError` where it is missing.
    """
    if path is None:
        return _shipped(DEFAULT_PLAYBOOK)
    name = path.name.removesuffix(".yml")
    if len(path.parts) == 1 and not path.exists():
        if name not in shipped_playbook_names():
            raise NothingToDoError(
                f"{path}: no such file; shipped are: {', '.join(shipped_playbook_names())}"
            )
        return _shipped(name)
    return _playbook(load_yaml(path))


def parse_playbook(text: str, *, source: str) -> Playbook:
    """Returns the playbook in `text`; raises `InputError` with the line of `source` that makes no
    sense.
    """
    return _playbook(parse_yaml(text, source=source))


def is_same_experiment(one: Scenario, other: Scenario) -> bool:
    """Returns whether two scenarios of one name are alike in all but how often, over what and under
    which tags.
    """
    return (
        msgspec.structs.replace(one, families=other.families, trials=other.trials, tags=other.tags)
        == other
    )


@functools.cache
def _shipped(name: str) -> Playbook:
    path = _SHIPPED / f"{name}.yml"
    return _playbook(parse_yaml(path.read_text("utf-8"), source=f"playbooks/{name}.yml"))


def _playbook(document: Document) -> Playbook:
    if not isinstance(document.value, list):
        raise document.error("a playbook is a list of plays", hint="begin it with “- name:”")
    files = convert_document(document, list[PlayFile])
    if not files:
        raise document.error("a playbook without a play")
    lines = dict[str, int]()
    plays = tuple(_play(document, file, index, lines) for index, file in enumerate(files))
    _same_everywhere(document, plays)
    _agreed(document, plays)
    return Playbook(source=document.source, plays=plays, lines=lines)


def _play(document: Document, file: PlayFile, index: int, lines: dict[str, int]) -> Play:
    """Returns the play at `index`; what it expects that is not in `lines` yet goes there, with its
    line.
    """
    placed = build_scenarios(
        document, file, (index,), ShippedPlaybooks(shipped_playbook_names(), _shipped)
    )
    hosts = file.hosts if isinstance(file.hosts, str) else ",".join(file.hosts)
    if not hosts.strip():
        raise document.error("no hosts; “all” means every host of the inventory", (index, "hosts"))
    for number, glob in enumerate(file.sysctls.collect):
        check_sysctl(
            document, glob, (index, "sysctls", "collect", number), r"net\.[A-Za-z0-9_.*?\[\]-]+"
        )
    wanted = build_sysctl_expectations(document, file.sysctls.expect, (index, "sysctls", "expect"))
    exposure = build_exposure_expectations(
        document, file.exposure.expect, (index, "exposure", "expect")
    )
    kernels = build_kernel_expectations(document, file.kernels.expect, (index, "kernels", "expect"))
    if not (placed or file.sysctls.collect or wanted or exposure or kernels):
        raise document.error(
            f"the play “{file.name}” asks for nothing: no scenarios, no sysctls, nothing of"
            " exposure or kernels",
            (index,),
        )
    for one in placed:
        lines.setdefault(f"scenario:{one.scenario.name}", document.key_at(one.where).line)
    for kind, section, names in (("sysctl", "sysctls", wanted), ("exposure", "exposure", exposure)):
        for name in names:
            lines.setdefault(
                f"{kind}:{name}", document.key_at((index, section, "expect", name)).line
            )
    for name in kernels:
        lines.setdefault("kernel:", document.key_at((index, "kernels", "expect", name)).line)
    return Play(
        name=file.name,
        hosts=hosts,
        trials=file.trials,
        families=tuple(file.families),
        isolation=file.isolation,
        scenarios=tuple(one.scenario for one in placed),
        # What is wanted must be read, and an exact name is reported even where it is absent.
        sysctls_collect=tuple(dict.fromkeys([*file.sysctls.collect, *wanted])),
        sysctls_expect=wanted,
        exposure_expect=exposure,
        kernels_expect=kernels,
        tags=tuple(file.tags),
    )


def _same_everywhere(document: Document, plays: Sequence[Play]) -> None:
    seen = dict[str, tuple[Scenario, str]]()
    for index, play in enumerate(plays):
        for scenario in play.scenarios:
            first, name = seen.setdefault(scenario.name, (scenario, play.name))
            if not is_same_experiment(first, scenario):
                raise document.error(
                    f"the play “{play.name}” says something else by “{scenario.name}” than the play"
                    f" “{name}”",
                    (index, "scenarios"),
                    hint="give one of the two scenarios another name",
                )


def _agreed(document: Document, plays: Sequence[Play]) -> None:
    """Refuses plays that surely meet on a host and want what no value can meet; the plan finds
    those that may meet.
    """
    for (_, one), (index, other) in combinations(enumerate(plays), 2):
        meet = one.hosts == other.hosts or {"all", "*"} & {one.hosts, other.hosts}
        if meet and (what := find_contradiction(one, other)):
            kind = "sysctls" if what in other.sysctls_expect else "exposure"
            raise document.error(
                f"the play “{other.name}” and the play “{one.name}” expect different things of"
                f" {what} on the same hosts",
                (index, kind, "expect", what),
                key=True,
                hint="make the two agree, or let their “hosts:” not overlap",
            )
