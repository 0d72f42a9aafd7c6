"""Sysctls worth a look: those that vary, break an expectation or differ from the kernel's own
default. Pure.

Rules: values compare as text with white space collapsed. A default is what that very kernel told,
not a table of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Severity,
    Sysctl,
)

from .common import grouped, names_of
from .view_model import SysctlValue, SysctlView, Tone

CHANGED = "changed"
MOST_VALUES = 12
"""How many values of one sysctl are listed before the rest is counted."""


def sysctls_of(audited: Sequence[Audited]) -> tuple[SysctlView, ...]:
    """Returns only keys that vary, break an expectation or differ from the kernel's own default, by
    name.
    """
    read = dict[str, list[tuple[Audited, Sysctl | None]]]()
    expected = dict[str, tuple[str, Severity]]()
    for host in audited:
        for key, sysctl in host.sysctls.items():
            read.setdefault(key, []).append((host, sysctl))
        for f in host.findings:
            kind, _, key = f.id.partition(":")
            if kind == "sysctl":
                expected[key] = (f.expected, f.severity)
                if key not in host.sysctls:
                    read.setdefault(key, []).append((host, None))
    views = list[SysctlView]()
    for key in sorted(read):
        pairs = read[key]
        distinct = {sysctl for _, sysctl in pairs}
        values = {_value(sysctl) for sysctl in distinct}
        changed = any(_relation(sysctl) == CHANGED for sysctl in distinct)
        why = [
            word
            for word, holds in (("varies", len(values) > 1), ("changed from the default", changed))
            if holds
        ]
        if key in expected:
            why.insert(0, "not as expected")
        if why:
            views.append(
                _sysctl_view(
                    f"sysctl-{len(views) + 1}", key, ", ".join(why), pairs, expected.get(key)
                )
            )
    return tuple(views)


def _sysctl_view(
    anchor: str,
    key: str,
    why: str,
    pairs: Sequence[tuple[Audited, Sysctl | None]],
    expected: tuple[str, Severity] | None,
) -> SysctlView:
    def row(pair: tuple[Audited, Sysctl | None]) -> tuple[str, str, Tone, str]:
        host, sysctl = pair
        finding = next((f for f in host.findings if f.id == f"sysctl:{key}"), None)
        words = _relation(sysctl)
        if sysctl and words == CHANGED:
            words = f"changed; this kernel's default is {_spaced(sysctl.default or '')}"
        used = _spaced(sysctl.used) if sysctl and sysctl.used is not None else ""
        return (
            _value(sysctl),
            words,
            finding.severity if finding else "met" if expected else "silent",
            used,
        )

    rows = sorted(grouped(pairs, row).items(), key=lambda item: -len(item[1]))
    # A value that breaks an expectation is never among those left out.
    rows.sort(key=lambda item: item[0][2] not in SEVERITIES)
    shown, rest = rows[:MOST_VALUES], rows[MOST_VALUES:]
    return SysctlView(
        anchor=anchor,
        key=key,
        why=why,
        expected=expected[0] if expected else "",
        values=tuple(
            SysctlValue(
                value=value,
                relation=words,
                tone=tone,
                used=used,
                hosts=names_of(host for host, _ in members),
            )
            for (value, words, tone, used), members in shown
        ),
        omitted=len(rest),
        omitted_hosts=sum(len(members) for _, members in rest),
    )


def _value(sysctl: Sysctl | None) -> str:
    if sysctl is None:
        return "not read"
    return sysctl.state or "not read" if sysctl.value is None else _spaced(sysctl.value)


def _relation(sysctl: Sysctl | None) -> str:
    if sysctl is None or sysctl.value is None:
        return ""
    if sysctl.default is None:
        return "default not known"
    return "this kernel's default" if _spaced(sysctl.value) == _spaced(sysctl.default) else CHANGED


def _spaced(text: str) -> str:
    return " ".join(text.split())
