"""The sysctls worth showing: they vary, break an expectation or differ from the default. Pure.

Rules: values compare as text with white space collapsed. A default is what that kernel itself
reports, never from a table of ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from fleetaudit.analysis.memory_sysctls import differ_by_memory
from fleetaudit.caching.shared_parts import distinct_objects, once_per_object
from fleetaudit.model import SEVERITIES, Audited, Finding, Sysctl
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import shorten

from .common import group_by
from .host_links import unique_labels
from .host_sets import HostSets
from .view_model import (
    KERNEL_DEFAULT,
    SysctlRows,
    SysctlValue,
    SysctlView,
    Verdict,
    listed_sysctls,
)

CHANGED = "changed"
MOST_VALUES = 12
"""How many values of one sysctl are listed before the rest is counted."""
MAX_VALUE = 400
"""Maximum number of characters of a value that are shown; run.json has all of them."""
_ID_PREFIX = "sysctl:"

NO_ROW = -1
"""Stands for the row of a host that has no reading of a sysctl."""
NOT_READ = Sysctl()
"""Stands for the sysctl of a host that has none although one is expected."""

Reading = tuple[int, Sysctl]
"""The number of a set of hosts that share sysctls and findings, and their sysctl."""


class _ValueKey(msgspec.Struct, frozen=True):
    """What hosts must share to be in one row of a sysctl."""

    value: str
    relation: str
    verdict: Verdict
    used: str


class Sysctls(msgspec.Struct, frozen=True, kw_only=True):
    """The sysctls worth showing, and the hosts in each of their rows.

    `sets` are the numbers of the sets of hosts by sysctl, then by row: one for each listed value,
    and one for all others.
    """

    views: tuple[SysctlView, ...]
    sets: Mapping[str, Sequence[Sequence[int]]]
    hosts: HostSets[Audited]

    def rows_by_host(self) -> Mapping[str, SysctlRows]:
        """Returns the rows of the listed sysctls of each audited host, by its name.

        Hosts of one set share one object. A row that is `SysctlView.usual_row` is left out.
        """
        rows = [list[tuple[int, int]]() for _ in self.hosts.firsts]
        for index, sysctl in enumerate(listed_sysctls(self.views)):
            row_of = _row_of_set(self.sets[sysctl.key])
            for number, of_set in enumerate(rows):
                row = row_of.get(number, NO_ROW)
                if row != sysctl.usual_row:
                    of_set.append((index, row))
        found = dict[str, SysctlRows]()
        for number, of_set in enumerate(rows):
            found |= dict.fromkeys((h.name for h in self.hosts.hosts((number,))), tuple(of_set))
        return found


def view_sysctls(audited: Sequence[Audited]) -> Sysctls:
    """Returns the sysctls worth showing, by name; anchors count from "sysctl-1" in that order."""
    hosts = HostSets(audited, lambda host: (host.sysctls, host.findings))
    expected, missing = _expected_values(audited), _missing(hosts.firsts)
    at_boot = set[str]().union(*distinct_objects(host.sysctl_places or {} for host in audited))
    read = set[str]().union(*distinct_objects(host.sysctls for host in audited))
    shown = [
        (key, why)
        for key in sorted(read.union(missing))
        if (why := _why_shown(_distinct(key, hosts.firsts, missing), key in expected))
    ]
    views, sets = list[SysctlView](), dict[str, Sequence[Sequence[int]]]()
    for i, (key, why) in enumerate(shown, 1):
        table = _Table(key, expected.get(key), missing.get(key, ()), hosts, key in at_boot)
        view, sets[key] = _view(f"sysctl-{i}", why, table)
        views.append(view)
    return Sysctls(views=tuple(views), sets=sets, hosts=hosts)


def _row_of_set(sets: Iterable[Iterable[int]]) -> dict[int, int]:
    """Returns the row of each set of hosts that has a reading of a sysctl."""
    return {number: row for row, numbers in enumerate(sets) for number in numbers}


def _usual_row(sets: Sequence[Sequence[int]], hosts: HostSets[Audited]) -> int:
    """Returns the row of most hosts, `NO_ROW` if most have no reading."""
    sizes = dict(enumerate(map(hosts.count, sets)))
    sizes[NO_ROW] = sum(hosts.sizes) - sum(sizes.values())
    return max(sizes, key=sizes.__getitem__)


def _distinct(key: str, hosts: Iterable[Audited], missing: Container[str]) -> Iterable[Sysctl]:
    """Returns the different readings of one sysctl, with that of a host that has none."""
    found = distinct_objects(filter(None, (host.sysctls.get(key) for host in hosts)))
    return (*found, NOT_READ) if key in missing else found


def _missing(hosts: Iterable[Audited]) -> Mapping[str, set[int]]:
    """Returns the numbers of the hosts that have no sysctl although one is expected, by key."""
    missing = defaultdict[str, set[int]](set)
    for number, host in enumerate(hosts):
        for key in _expected_of_host(host.findings).keys() - host.sysctls.keys():
            missing[key].add(number)
    return missing


class _Table(msgspec.Struct, frozen=True):
    """The readings of one sysctl; `expected` is None if no host has a finding about it.

    `missing` are the numbers of the sets of hosts that have none although one is expected.
    `set_at_boot`: a file sets it on some host.
    """

    key: str
    expected: str | None
    missing: Container[int]
    hosts: HostSets[Audited]
    set_at_boot: bool

    def rows(self) -> dict[_ValueKey, tuple[int, ...]]:
        """Returns the numbers of the sets of hosts in each row."""
        rows = group_by(self._readings(), self._value_key)
        return {row: tuple(number for number, _ in of_row) for row, of_row in rows.items()}

    def _readings(self) -> Iterator[Reading]:
        """Yields the readings in the order of the hosts."""
        for number, host in enumerate(self.hosts.firsts):
            sysctl = host.sysctls.get(self.key)
            if sysctl is not None:
                yield number, sysctl
            elif number in self.missing:
                yield number, NOT_READ

    def _value_key(self, reading: Reading) -> _ValueKey:
        """Returns the row of a reading."""
        number, sysctl = reading
        id_ = _ID_PREFIX + self.key
        findings = self.hosts.firsts[number].findings
        severities = (finding.severity for finding in findings if finding.id == id_)
        return _ValueKey(
            value=_value(sysctl),
            relation=_describe_relation(sysctl),
            verdict=next(severities, self._otherwise()),
            used=_collapse(sysctl.used),
        )

    def _otherwise(self) -> Verdict:
        """Returns the verdict on a host without a finding."""
        return "not run" if self.expected is None else "met"


def _expected_values(audited: Iterable[Audited]) -> dict[str, str]:
    """Returns the expected value of each sysctl that a host has a finding about, by key.

    Of several values that of the last host counts.
    """
    of_host = once_per_object(_expected_of_host)
    expected = dict[str, str]()
    for host in audited:
        expected |= of_host(host.findings)
    return expected


def _expected_of_host(findings: Iterable[Finding]) -> dict[str, str]:
    """Returns the expected value of each sysctl that there is a finding about, by key."""
    return {
        finding.id.removeprefix(_ID_PREFIX): finding.expected
        for finding in findings
        if finding.id.startswith(_ID_PREFIX)
    }


def _why_shown(readings: Iterable[Sysctl], unexpected: bool) -> str:
    """Returns in words why a sysctl is shown, "" if it is not.

    Such as "not as expected, varies".
    """
    distinct = set(readings)
    varies = len(set(map(_value, distinct))) > 1
    changed = CHANGED in map(_relation, distinct)
    reasons = (
        (unexpected, "not as expected"),
        (varies, "varies"),
        (changed, "changed from the default"),
    )
    return ", ".join(text for holds, text in reasons if holds)


def _view(anchor: str, why: str, table: _Table) -> tuple[SysctlView, Sequence[Sequence[int]]]:
    """Returns the view of one sysctl, and the numbers of the sets of hosts in each row."""
    rows, hosts = table.rows(), table.hosts
    # A value that breaks an expectation is never left out.
    order = sorted(rows, key=lambda row: (row.verdict not in SEVERITIES, -hosts.count(rows[row])))
    listed, others = order[:MOST_VALUES], order[MOST_VALUES:]
    labels = unique_labels([_texts(table.key, row) for row in listed])
    other_sets = tuple(chain.from_iterable(map(rows.__getitem__, others)))
    sets = (*map(rows.__getitem__, listed), other_sets)
    view = SysctlView(
        anchor=anchor,
        key=table.key,
        why=why,
        by_memory=_differ_by_memory(table, rows),
        expected=table.expected or "",
        values=tuple(
            SysctlValue(
                value=shorten(row.value, MAX_VALUE),
                relation=shorten(row.relation, MAX_VALUE),
                verdict=row.verdict,
                used=shorten(row.used, MAX_VALUE),
                label=label,
                hosts=hosts.names(rows[row]),
            )
            for row, label in zip(listed, labels, strict=True)
        ),
        omitted=len(others),
        omitted_hosts=hosts.count(other_sets),
        usual_row=_usual_row(sets, hosts),
    )
    return view, sets


def _texts(key: str, row: _ValueKey) -> tuple[str, ...]:
    """Returns texts that name a row, each with more detail than the one before it."""
    value = f"{key}={row.value}"
    compared = f"{value} ({row.relation})"
    return value, compared, f"{compared}, {row.verdict}{surround(', used ', row.used)}"


def _differ_by_memory(table: _Table, rows: Collection[_ValueKey]) -> bool:
    """Returns whether values differ, and only as the memory of their hosts does.

    Where somebody has changed a value, it is a difference: a finding, a line of a file that sets it
    at boot, or a value that is known to differ from the default of its kernel.
    """
    values = {row.value for row in rows}
    is_changed = any(row.relation.startswith(CHANGED) for row in rows)
    if table.expected is not None or table.set_at_boot or is_changed or len(values) < 2:
        return False
    return differ_by_memory(table.key, values)


def _value(sysctl: Sysctl) -> str:
    """Returns the value in words: as it was read, else why there is none.

    Without a value it is the state ("absent"), or else "not read".
    """
    if sysctl.value is not None:
        return _collapse(sysctl.value)
    return sysctl.state or "not read"


def _relation(sysctl: Sysctl) -> str:
    """Returns how the value compares with the default of that kernel, "" without a value."""
    if sysctl.value is None:
        return ""
    if sysctl.default is None:
        return "default unknown"
    if _collapse(sysctl.value) == _collapse(sysctl.default):
        return KERNEL_DEFAULT
    return CHANGED


def _describe_relation(sysctl: Sysctl) -> str:
    """Returns how the value compares with the default, with the default if it differs.

    Such as "changed; the kernel default is 60".
    """
    relation = _relation(sysctl)
    if relation == CHANGED:
        return f"changed; the kernel default is {_collapse(sysctl.default)}"
    return relation


def _collapse(text: str | None) -> str:
    """Returns a value with its white space collapsed, "" for None."""
    if text is None:
        return ""
    return " ".join(text.split())
