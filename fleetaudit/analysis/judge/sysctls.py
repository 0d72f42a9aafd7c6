"""Compares sysctls with expectations: one finding per sysctl, however many expectations. Pure.

Rules: a sysctl that is absent or unreadable meets nothing but `present: false`. If no new namespace
showed the kernel's default, it is unknown whether the value is the default: a warning at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetaudit.analysis.remediation import sysctl_remedy
from fleetaudit.model import Audited, Finding, HostPlan, Sysctl, SysctlExpectation
from fleetaudit.playbook.expectation_tests import (
    describe_expectation,
    meets,
    normalize_spaces,
)

from .findings import Unmet, applying, make_finding


def sysctl_expectations(audited: Audited, plan: HostPlan) -> Iterator[str]:
    """Yields the ids of the expectations of sysctls that apply to this host."""
    for key, expectations in plan.sysctls_expect.items():
        if applying(expectations, audited):
            yield f"sysctl:{key}"


def judge_sysctls(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every sysctl that does not meet its expectations."""
    for key, expectations in plan.sysctls_expect.items():
        here = applying(expectations, audited)
        if unmet := _find_unmet(here, audited.sysctls.get(key)):
            observed, remedy = _describe(audited, key), sysctl_remedy(key, here, audited)
            yield make_finding(f"sysctl:{key}", unmet, observed, remedy)


def _find_unmet(expectations: Sequence[SysctlExpectation], sysctl: Sysctl | None) -> list[Unmet]:
    """Returns the expectations that a sysctl does not meet."""
    found = (_check(expectation, sysctl) for expectation in expectations)
    return [unmet for unmet in found if unmet is not None]


def _check(expectation: SysctlExpectation, sysctl: Sysctl | None) -> Unmet | None:
    """Returns the expectation as unmet, None if it is met.

    `present: false` is met by a sysctl that is known to be absent. `present: true` alone is met by
    one that cannot be read, too. Any other expectation needs a value.
    """
    unmet = Unmet(expectation, describe_expectation(expectation))
    if expectation.present is False:
        return None if _is_absent(sysctl) else unmet
    if _is_about_presence_only(expectation):
        return None if _exists(sysctl) else unmet
    if sysctl is None or sysctl.value is None or not meets(sysctl.value, expectation):
        return unmet
    return _check_default(unmet, sysctl) if expectation.is_default else None


def _check_default(unmet: Unmet, sysctl: Sysctl) -> Unmet | None:
    """Returns the expectation of the kernel's default as unmet, None if the value is the default.

    Whether it is, is unknown if no new namespace showed the default.
    """
    if sysctl.default is None:
        return unmet._replace(is_known=False)
    return None if _has_default(sysctl) else unmet


def _exists(sysctl: Sysctl | None) -> bool:
    """Returns whether a host has the sysctl, readable or not."""
    if sysctl is None:
        return False
    return sysctl.value is not None or sysctl.state.startswith("unreadable")


def _is_absent(sysctl: Sysctl | None) -> bool:
    """Returns whether a host is known not to have the sysctl."""
    return sysctl is not None and bool(sysctl.state) and not _exists(sysctl)


def _is_about_presence_only(expectation: SysctlExpectation) -> bool:
    """Returns whether an expectation says `present: true` and nothing about the value."""
    if not expectation.present or expectation.is_default:
        return False
    tests = (
        expectation.equals,
        expectation.one_of,
        expectation.at_least,
        expectation.at_most,
        expectation.matches,
    )
    return all(test is None for test in tests)


def _has_default(sysctl: Sysctl) -> bool:
    """Returns whether a sysctl has the kernel's own default value."""
    return normalize_spaces(sysctl.value or "") == normalize_spaces(sysctl.default or "")


def _describe(audited: Audited, key: str) -> str:
    """Returns what was observed of a sysctl, for a reader.

    It is the value, with the line that sets it at boot: "60 (set at boot by /etc/sysctl.conf:3)".
    If there is no value, it is the reason: "absent", "unreadable: EACCES", "not read".
    """
    sysctl = audited.sysctls.get(key)
    if sysctl is None:
        return "not read"
    if sysctl.value is None:
        return sysctl.state or "not read"
    value = normalize_spaces(sysctl.value)
    places = (audited.sysctl_places or {}).get(key)
    return f"{value} (set at boot by {' or '.join(places)})" if places else value
