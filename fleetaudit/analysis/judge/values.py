"""Sysctls and what production shows, against what is wanted of them: one finding a name, however
many rules. Pure.

Rules: several rules of one name that are not met are one finding, as grave as the gravest, with all
that was wanted. A sysctl that is absent or unreadable meets nothing but `present: false`. A default
that no namespace could tell, a counter that the kernel lacks and a scan that was cut short could
not be told: a warning at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from fleetaudit.analysis.remediation import EXPOSURE_REMEDIES, sysctl_remedy
from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Expectation,
    Exposure,
    Finding,
    HostPlan,
    Sysctl,
    SysctlExpectation,
)
from fleetaudit.playbook.conditions import applies
from fleetaudit.playbook.expectation_tests import (
    describe_bounds,
    describe_expectation,
    is_within,
    meets,
    normalize_spaces,
)

from .scenarios import at_most_warning

R = TypeVar("R", bound=Expectation)


class _Unmet(NamedTuple):
    """A rule that is not met: what it wants in words, and whether that could be told."""

    rule: Expectation
    expected: str
    told: bool = True


def wanted(audited: Audited, plan: HostPlan) -> tuple[str, ...]:
    """Returns the ids of all that is wanted of this host beside its scenarios."""
    keys = (
        f"sysctl:{key}" for key, rules in plan.sysctls_expect.items() if _applying(rules, audited)
    )
    names = (
        f"exposure:{name}"
        for name, rules in plan.exposure_expect.items()
        if _applying(rules, audited)
    )
    return (*keys, *names)


def _applying(rules: Sequence[R], audited: Audited) -> list[R]:
    return [rule for rule in rules if applies(rule.when, audited)]


def _finding(id_: str, unmet: Sequence[_Unmet], observed: str, cure: str) -> Finding:
    severities = [u.rule.severity if u.told else at_most_warning(u.rule.severity) for u in unmet]
    return Finding(
        id=id_,
        severity=max(severities, key=SEVERITIES.index),
        expected=" and ".join(dict.fromkeys(u.expected for u in unmet)),
        observed=observed if any(u.told for u in unmet) else f"could not be told: {observed}",
        because=" ".join(dict.fromkeys(u.rule.because for u in unmet if u.rule.because)),
        fix="; ".join(dict.fromkeys(u.rule.fix for u in unmet if u.rule.fix)) or cure,
    )


# ---- sysctls
# -------------------------------------------------------------------------------------------------------


def sysctls(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every sysctl that falls short."""
    for key, rules in plan.sysctls_expect.items():
        sysctl = audited.sysctls.get(key)
        here = _applying(rules, audited)
        unmet = [u for rule in here if (u := _unmet(rule, sysctl)) is not None]
        if unmet:
            yield _finding(
                f"sysctl:{key}", unmet, _observed(audited, key), sysctl_remedy(key, here, audited)
            )


def _unmet(rule: SysctlExpectation, sysctl: Sysctl | None) -> _Unmet | None:
    there = sysctl is not None and (
        sysctl.value is not None or sysctl.state.startswith("unreadable")
    )
    known = sysctl is not None and (sysctl.value is not None or bool(sysctl.state))
    unmet = _Unmet(rule, describe_expectation(rule))
    if rule.present is False:
        return None if known and not there else unmet
    tests = (rule.equals, rule.one_of, rule.at_least, rule.at_most, rule.matches)
    if rule.present and not rule.is_default and all(test is None for test in tests):
        return None if there else unmet
    if sysctl is None or sysctl.value is None or not meets(sysctl.value, rule):
        return unmet
    if rule.is_default and sysctl.default is None:
        return unmet._replace(told=False)
    return (
        unmet
        if rule.is_default
        and normalize_spaces(sysctl.value) != normalize_spaces(sysctl.default or "")
        else None
    )


def _observed(audited: Audited, key: str) -> str:
    """Returns the value with the line that sets it at boot, or why there is no value."""
    sysctl = audited.sysctls.get(key)
    if sysctl is None or sysctl.value is None:
        return (sysctl.state if sysctl else "") or "not read"
    places = (audited.sysctl_places or {}).get(key)
    at_boot = f" (set at boot by {' or '.join(places)})" if places else ""
    return normalize_spaces(sysctl.value) + at_boot


# ---- production
# ----------------------------------------------------------------------------------------------------


class _Number(NamedTuple):
    """A number that production shows; None could not be told. `more`: it is at least this, the scan
    was cut short.
    """

    value: float | None
    more: bool = False
    note: str = ""


def _counter(name: str) -> Callable[[Exposure], _Number]:
    def measure(exposure: Exposure) -> _Number:
        count = exposure.counters.get(name)
        return _Number(count, note="" if count is not None else f"the host tells no {name}")

    return measure


def _per_thousand(exposure: Exposure) -> _Number:
    aborts = exposure.counters.get("TCPAbortOnClose")
    opened = [exposure.counters.get(name) for name in ("ActiveOpens", "PassiveOpens")]
    connections = sum(count for count in opened if count is not None)
    if aborts is None or None in opened or (aborts and not connections):
        return _Number(
            None,
            note=(
                "the host tells no TCPAbortOnClose, ActiveOpens and PassiveOpens that fit together"
            ),
        )
    return _Number(
        1000 * aborts / connections if connections else 0.0,
        note=f"{aborts} of {connections} connections",
    )


def _sockets(exposure: Exposure) -> _Number:
    unread = exposure.unread_sockets
    return (
        _Number(None, note="sockets could not be read")
        if unread is None
        else _Number(unread.sockets, unread.partial)
    )


def _bytes(exposure: Exposure) -> _Number:
    unread = exposure.unread_sockets
    return (
        _Number(None, note="sockets could not be read")
        if unread is None
        else _Number(unread.bytes, unread.partial)
    )


EXPOSURE_NUMBERS: Mapping[str, Callable[[Exposure], _Number]] = {
    "aborts_on_close_per_thousand": _per_thousand,
    "aborts_failed": _counter("TCPAbortFailed"),
    "aborts_on_memory": _counter("TCPAbortOnMemory"),
    "listen_overflows": _counter("ListenOverflows"),
    "unread_sockets": _sockets,
    "unread_bytes": _bytes,
}
"""By the name that a playbook has for it."""


def exposure(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every number of production that falls short, or could not be told."""
    for name, rules in plan.exposure_expect.items():
        seen = (
            EXPOSURE_NUMBERS[name](audited.exposure)
            if audited.exposure
            else _Number(None, note="the host tells nothing")
        )
        unmet = list[_Unmet]()
        for rule in _applying(rules, audited):
            met = is_within(seen.value, rule.at_least, rule.at_most)
            over = seen.value is not None and rule.at_most is not None and seen.value > rule.at_most
            # A count that was cut short can only show that there are too many, or enough.
            cut = seen.more and not over and (rule.at_most is not None or not met)
            if not met or cut:
                words = " and ".join(describe_bounds(rule.at_least, rule.at_most))
                unmet.append(_Unmet(rule, words, told=seen.value is not None and not cut))
        if unmet:
            yield _finding(
                f"exposure:{name}", unmet, _number_in_words(seen), EXPOSURE_REMEDIES.get(name, "")
            )


def _number_in_words(seen: _Number) -> str:
    if seen.value is None:
        return seen.note
    words = f"{seen.value:.2f}" if isinstance(seen.value, float) else f"{seen.value}"
    return words + (" or more" if seen.more else "") + (f" ({seen.note})" if seen.note else "")
