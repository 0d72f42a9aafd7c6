"""The sysctls worth showing: they vary, break an expectation or differ from the default. Pure.

Rules: values compare as text with white space collapsed. A default is what that kernel itself
reports, never from a table of ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetaudit.model import SEVERITIES, Audited, Sysctl

from .common import fold_names, group_by
from .view_model import SysctlValue, SysctlView, Verdict

CHANGED = "changed"
MOST_VALUES = 12
"""How many values of one sysctl are listed before the rest is counted."""
_ID_PREFIX = "sysctl:"

NOT_READ = Sysctl()
"""Stands for the sysctl of a host that has none although one is expected."""

Reading = tuple[Audited, Sysctl]
"""A host and its sysctl."""


@dataclass(frozen=True, slots=True)
class _ValueKey:
    """What hosts must share to be in one row of a sysctl."""

    value: str
    relation: str
    verdict: Verdict
    used: str


def view_sysctls(audited: Sequence[Audited]) -> tuple[SysctlView, ...]:
    """Returns the sysctls worth showing, by name; anchors count from "sysctl-1" in that order."""
    expected = dict[str, str]()
    for host in audited:
        expected |= _expected_values(host)
    shown = [
        (key, why, of_key)
        for key, of_key in sorted(_readings(audited).items())
        if (why := _why_shown(of_key, key in expected))
    ]
    return tuple(
        _view(f"sysctl-{i}", key, why, of_key, expected.get(key))
        for i, (key, why, of_key) in enumerate(shown, 1)
    )


def _readings(audited: Iterable[Audited]) -> Mapping[str, list[Reading]]:
    """Returns the readings by key, with those that an expectation misses."""
    readings = defaultdict[str, list[Reading]](list)
    for host in audited:
        for key, sysctl in host.sysctls.items():
            readings[key].append((host, sysctl))
        for key in _expected_values(host).keys() - host.sysctls.keys():
            readings[key].append((host, NOT_READ))
    return readings


def _expected_values(host: Audited) -> dict[str, str]:
    """Returns the expected value of each sysctl that the host has a finding about, by key."""
    return {
        finding.id.removeprefix(_ID_PREFIX): finding.expected
        for finding in host.findings
        if finding.id.startswith(_ID_PREFIX)
    }


def _why_shown(readings: Iterable[Reading], unexpected: bool) -> str:
    """Returns in words why a sysctl is shown, "" if it is not.

    Such as "not as expected, varies".
    """
    distinct = {sysctl for _, sysctl in readings}
    varies = len(set(map(_value, distinct))) > 1
    changed = CHANGED in map(_relation, distinct)
    reasons = (
        (unexpected, "not as expected"),
        (varies, "varies"),
        (changed, "changed from the default"),
    )
    return ", ".join(text for holds, text in reasons if holds)


def _view(
    anchor: str, key: str, why: str, readings: Iterable[Reading], expected: str | None
) -> SysctlView:
    """Returns the view of one sysctl; `expected` is None if no host has a finding about it."""
    otherwise: Verdict = "not run" if expected is None else "met"
    rows = group_by(readings, lambda reading: _value_key(reading, key, otherwise))
    # A value that breaks an expectation is never left out.
    order = sorted(rows, key=lambda row: (row.verdict not in SEVERITIES, -len(rows[row])))
    rest = order[MOST_VALUES:]
    return SysctlView(
        anchor=anchor,
        key=key,
        why=why,
        expected=expected or "",
        values=tuple(_row(row, rows[row]) for row in order[:MOST_VALUES]),
        omitted=len(rest),
        omitted_hosts=sum(len(rows[row]) for row in rest),
    )


def _row(key: _ValueKey, readings: Iterable[Reading]) -> SysctlValue:
    """Returns the row of one value."""
    return SysctlValue(
        value=key.value,
        relation=key.relation,
        verdict=key.verdict,
        used=key.used,
        hosts=fold_names(host for host, _ in readings),
    )


def _value_key(reading: Reading, key: str, otherwise: Verdict) -> _ValueKey:
    """Returns the row of a reading; its verdict is `otherwise` if the host has no finding."""
    host, sysctl = reading
    id_ = _ID_PREFIX + key
    severities = (finding.severity for finding in host.findings if finding.id == id_)
    return _ValueKey(
        value=_value(sysctl),
        relation=_describe_relation(sysctl),
        verdict=next(severities, otherwise),
        used=_collapse(sysctl.used),
    )


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
        return "kernel default"
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
