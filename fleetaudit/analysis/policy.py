"""A playbook of expectations out of a run: what one host did, or most hosts did, is what all are
held to. Pure.

Rules: nothing is wanted that was not seen. What could not be told, what depends on one host's
memory or modules and what the hosts do not agree on is left out, with the reason in a comment.
Every string of a host is quoted so that it is one inert value, in a comment too; the text that
comes out is read back by the parser before anyone gets it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import (
    EXPECTABLE_ENDINGS,
    Audited,
    AuditRun,
    Ending,
    Family,
    Observation,
    ScenarioRow,
    Sysctl,
)
from fleetaudit.playbook import POSITIVE_CONTROL, parse_playbook
from fleetaudit.playbook.expectation_tests import normalize_spaces, ordinal
from fleetaudit.text.sanitize import escape_code, printable_line

# Why a sysctl is no expectation for other hosts. Source: Documentation/networking/ip-sysctl of
# Linux 6.18.
_BY_MEMORY = "its default follows from the memory of the host"
_BY_MODULES = "it lists the modules that happen to be loaded"
LEFT_OUT: Mapping[str, str] = {
    "net.ipv4.tcp_mem": _BY_MEMORY,
    "net.ipv4.udp_mem": _BY_MEMORY,
    "net.ipv4.tcp_max_orphans": _BY_MEMORY,
    "net.ipv4.tcp_max_syn_backlog": _BY_MEMORY,
    "net.ipv4.tcp_max_tw_buckets": _BY_MEMORY,
    "net.ipv4.tcp_ehash_entries": f"a size of a table; {_BY_MEMORY}",
    "net.ipv4.tcp_fastopen_key": "a secret of the host",
    "net.ipv4.tcp_available_congestion_control": _BY_MODULES,
    "net.ipv4.tcp_available_ulp": _BY_MODULES,
}
FIRST_TWO = frozenset({"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"})
"""Of these the third number, the maximum, follows from the host's memory; the others do not."""

_RESETS: frozenset[Ending] = frozenset({"RST", "FIN, then RST"})
_MAX_VALUE = 4000
T = TypeVar("T")


class Behaviour(NamedTuple):
    """What hosts are held to. A text in place of an ending or a sysctl says why it is left out."""

    whose: str
    endings: dict[tuple[str, Family], Ending | str]
    trials: dict[str, int]
    sysctls: dict[str, Sysctl | str]


def behaviour_of_host(run: AuditRun, name: str) -> Behaviour:
    """Returns what one host did; raises `NothingToDoError` where it is not in the run, or proves
    nothing.
    """
    host = next((host for host in run.hosts if host.name == name), None)
    if host is None:
        raise NothingToDoError(f"no host “{name}” in the run {run.run.id}")
    if not isinstance(host, Audited):
        raise NothingToDoError(f"{name} was not audited in the run {run.run.id}: {host.reason}")
    if host.void:
        raise NothingToDoError(
            f"what {name} did in the run {run.run.id} proves nothing: {host.void}"
        )
    return _agreed([host], f"{name} (kernel {host.kernel.release})")


def behaviour_of_majority(run: AuditRun) -> Behaviour:
    """Returns what more than half of the hosts did that told; raises `NothingToDoError` where none
    was audited.
    """
    hosts = [host for host in run.hosts if isinstance(host, Audited) and not host.void]
    if not hosts:
        raise NothingToDoError(
            f"no host of the run {run.run.id} was audited with controls that held"
        )
    return _agreed(hosts, f"most of {len(hosts)} host{'' if len(hosts) == 1 else 's'}")


def render_playbook(run: AuditRun, seen: Behaviour) -> str:
    """Returns the playbook, as YAML; raises `InputError` where the run's own scenarios make none."""
    text = "".join(f"{line}\n" for line in _lines(run, seen))
    try:
        parse_playbook(text, source="policy")
    except InputError as e:
        raise InputError(
            f"its scenarios and sysctls make no playbook: {e.message}",
            source=f"the run {run.run.id}",
        ) from e
    return text


# ---- what the hosts agree on
# ---------------------------------------------------------------------------------------


def _agreed(hosts: Sequence[Audited], whose: str) -> Behaviour:
    observed = dict[tuple[str, Family], list[Observation]]()
    read = dict[str, list[Sysctl]]()
    for host in hosts:
        for o in host.observations:
            observed.setdefault((o.scenario, o.family), []).append(o)
        for key, sysctl in host.sysctls.items():
            read.setdefault(key, []).append(sysctl)
    trials = dict[str, int]()
    for (name, _), some in observed.items():
        trials[name] = max(trials.get(name, 1), *(o.trials for o in some))
    return Behaviour(
        whose=whose,
        endings={place: _ending(some) for place, some in observed.items()},
        trials={name: min(20, n) for name, n in trials.items()},
        sysctls={key: _sysctl(key, some) for key, some in sorted(read.items())},
    )


def _ending(observations: Sequence[Observation]) -> Ending | str:
    told = [
        o.ending
        for o in observations
        if o.ending in EXPECTABLE_ENDINGS and set(o.endings) <= {o.ending}
    ]
    if not told:
        first = observations[0]
        return f"{first.ending}: {first.reason}" if first.reason else first.ending
    return _most(told) or f"the hosts do not agree: {_counted(told)}"


def _sysctl(key: str, some: Sequence[Sysctl]) -> Sysctl | str:
    if key in LEFT_OUT:
        return LEFT_OUT[key]
    values = [normalize_spaces(s.value) if s.value is not None else s.state for s in some]
    most = _most(values)
    if most is None:
        return f"the hosts do not agree: {_counted(values)}"
    chosen = some[values.index(most)]
    if chosen.value is None and chosen.state != "absent":
        return chosen.state or "not read"
    if chosen.value is not None and len(chosen.value) > _MAX_VALUE:
        return f"{len(chosen.value)} characters long"
    return chosen


def _most(values: Sequence[T]) -> T | None:
    """Returns what more than half of the values are."""
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else None


def _counted(values: Iterable[str]) -> str:
    ordered = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"“{value}” on {n}" for value, n in ordered[:5])


# ---- the text
# ------------------------------------------------------------------------------------------------------


class _Item(NamedTuple):
    """A scenario of the playbook to be."""

    row: ScenarioRow
    ending: Ending
    families: tuple[Family, ...]

    @property
    def is_positive_control(self) -> bool:
        return self.ending == "RST" and self.row.control is None and self.row.expect == ("RST",)

    @property
    def resets(self) -> bool:
        return self.ending in _RESETS


def _lines(run: AuditRun, seen: Behaviour) -> Iterator[str]:
    items, notes = _items(run.scenarios, seen)
    controls, more = _controls(items)
    notes += more
    items = [item for item in items if item.row.name in controls]
    families = [f for f in ("ipv4", "ipv6") if any(f in item.families for item in items)] or [
        "ipv4",
        "ipv6",
    ]
    trials = (
        Counter(seen.trials[item.row.name] for item in items).most_common(1)[0][0] if items else 3
    )
    yield (
        f"# What {printable_line(seen.whose)} did in the run {printable_line(run.run.id)}, as expectations for"
        " others."
    )
    yield "# Made by `fleetaudit policy make`; change what is meant otherwise, and say why."
    yield ""
    yield f"- name: {_quoted(f'As {seen.whose}'[:200])}"
    yield "  hosts: all"
    yield f"  trials: {trials}"
    yield f"  families: [{', '.join(families)}]"
    if items or notes:
        yield ""
    if items:
        yield "  scenarios:"
    for item in items:
        yield from _scenario(item, controls[item.row.name], seen, families, trials)
    yield from (f"    # Left out: {printable_line(note)}" for note in notes)
    yield from _sysctl_lines(seen)


def _items(rows: Iterable[ScenarioRow], seen: Behaviour) -> tuple[list[_Item], list[str]]:
    """Returns the scenarios that ended in one way, and why the others are left out."""
    items, notes = list[_Item](), list[str]()
    for row in rows:
        here = {
            family: ending for (name, family), ending in seen.endings.items() if name == row.name
        }
        told = {family: ending for family, ending in here.items() if ending in EXPECTABLE_ENDINGS}
        notes += [
            f"{row.name} over {family}: {why}" for family, why in here.items() if family not in told
        ]
        endings = [ending for ending in EXPECTABLE_ENDINGS if ending in told.values()]
        if len(endings) > 1:
            words = ", ".join(f"{ending} over {family}" for family, ending in told.items())
            notes.append(f"{row.name}: it ends differently ({words})")
        elif endings:
            items.append(_Item(row, endings[0], tuple(told)))
    return items, notes


def _controls(items: Sequence[_Item]) -> tuple[dict[str, str | None], list[str]]:
    """Returns the control of each scenario that can have the one it needs, and why the others are
    left out.
    """
    controls, notes = dict[str, str | None](), list[str]()
    positive = {
        family for item in items if item.is_positive_control for family in item.families
    } | {"unix"}
    orderly = {item.row.name: item for item in items if item.ending == "FIN"}
    for item in items:
        if not item.resets:
            controls[item.row.name] = None
            continue
        if not positive.issuperset(item.families):
            notes.append(
                f"{item.row.name}: it ends in {item.ending}, and the run has no positive control"
                " beside it"
            )
            continue
        if item.is_positive_control:
            controls[item.row.name] = POSITIVE_CONTROL
            continue
        preferred = [
            orderly[name] for name in (item.row.control, "drained-close") if name in orderly
        ]
        twin = next(
            (t for t in (*preferred, *orderly.values()) if set(item.families) <= set(t.families)),
            None,
        )
        if twin is None:
            notes.append(
                f"{item.row.name}: it ends in {item.ending}, and no scenario beside it ends in FIN"
            )
        else:
            controls[item.row.name] = twin.row.name
    return controls, notes


def _scenario(
    item: _Item, control: str | None, seen: Behaviour, families: Sequence[str], trials: int
) -> Iterator[str]:
    row = item.row
    yield f"    - name: {_quoted(row.name)}"
    yield f"      title: {_quoted(row.title)}"
    yield "      steps:"
    yield from (f"        - {_quoted(step)}" for step in row.steps)
    yield f"      expect: {_quoted(item.ending)}"
    # A difference from the host that was chosen is never for information alone.
    yield f"      severity: {'warning' if row.severity == 'info' else row.severity}"
    if control is not None:
        yield f"      control: {_quoted(control)}"
    ip = [family for family in families if family in item.families]
    if "unix" not in item.families and ip != list(families):
        yield f"      families: [{', '.join(ip)}]"
    if seen.trials[row.name] != trials:
        yield f"      trials: {seen.trials[row.name]}"
    yield f"      because: {_quoted(f'As on {seen.whose}. {row.because}'.strip()[:_MAX_VALUE])}"
    yield ""


def _sysctl_lines(seen: Behaviour) -> Iterator[str]:
    if not seen.sysctls:
        return
    wanted, notes = list[str](), list[str]()
    for key, sysctl in seen.sysctls.items():
        if isinstance(sysctl, str):
            notes.append(f"{key}: {sysctl}")
        elif not re.fullmatch(r"net(\.[A-Za-z0-9_-]+)+", key, re.ASCII):
            notes.append(f"{key}: no name of a sysctl that a playbook can have")
        else:
            wanted += _rule(key, sysctl, notes)
    if wanted:
        yield from ("  sysctls:", "    expect:", *wanted)
    yield from (f"      # Left out: {printable_line(note)}" for note in notes)


def _rule(key: str, sysctl: Sysctl, notes: list[str]) -> list[str]:
    if sysctl.value is None:
        return [f"      {key}: {{present: false}}"]
    words = sysctl.value.split()
    if key in FIRST_TWO and len(words) == 3:
        notes.append(f"{key}, {ordinal(3)} number ({words[2]}): {_BY_MEMORY}")
        rules = [
            f"        - {{position: {n}, equals: {_quoted(word)}}}"
            for n, word in enumerate(words[:2], 1)
        ]
        return [f"      {key}:", *rules]
    return [f"      {key}: {{equals: {_quoted(normalize_spaces(sysctl.value))}}}"]


# ---- what a host said, made harmless
# -------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    """Returns `text` as a double-quoted scalar of YAML, in ASCII: whatever it holds, it is one
    value on one line.
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if " " <= character <= "~" else escape_code(character)
