"""Compares sysctls with expectations: one finding per sysctl, however many expectations. Pure.

Rules: a sysctl that is absent or unreadable meets nothing but `present: false`. If no new namespace
showed the kernel's default, it is unknown whether the value is the default: a warning at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fleetaudit.analysis.remediation import sysctl_remedy
from fleetaudit.model import NOT_READ, Audited, Finding, HostPlan, Sysctl, SysctlExpectation
from fleetaudit.playbook.expectation_tests import (
    describe_expectation,
    meets,
    normalize_spaces,
)

from .findings import Unmet, applying_by_name, find_unmet, make_finding


def judge_sysctls(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every sysctl that does not meet its expectations.

    The expectations of one sysctl make one finding, such as "sysctl:net.ipv4.tcp_rfc1337", with the
    command that makes it meet all of them. A sysctl that the host did not report is "not read",
    which meets no expectation.
    """
    for key, expectations in applying_by_name(plan.sysctls_expect, audited):
        sysctl = audited.sysctls.get(key, NOT_READ)
        if unmet := find_unmet(partial(_check, sysctl), expectations):
            remedy = sysctl_remedy(key, expectations, audited)
            yield make_finding(f"sysctl:{key}", unmet, _describe(audited, key, sysctl), remedy)


def _check(sysctl: Sysctl, expectation: SysctlExpectation) -> Unmet | None:
    """Returns the expectation as unmet, None if it is met.

    An expectation of the kernel's default is unknown if no new namespace showed that default.
    """
    if not _is_met(sysctl, expectation):
        return Unmet(expectation, describe_expectation(expectation))
    if _is_about_unknown_default(sysctl, expectation):
        return Unmet(expectation, describe_expectation(expectation), is_known=False)
    return None


def _is_about_unknown_default(sysctl: Sysctl, expectation: SysctlExpectation) -> bool:
    """Returns whether the kernel's default is expected and unknown."""
    return expectation.is_default and expectation.present is not False and sysctl.default is None


def _is_met(sysctl: Sysctl, expectation: SysctlExpectation) -> bool:
    """Returns whether a sysctl meets an expectation; a default that is unknown counts as met.

    `present: false` is met by a sysctl that is known to be absent. `present: true` alone is met by
    one that cannot be read, too. Any other expectation needs a value.
    """
    if expectation.present is False:
        return sysctl.is_absent
    if expectation.is_about_presence_only:
        return sysctl.exists
    if sysctl.value is None or not meets(sysctl.value, expectation):
        return False
    return not expectation.is_default or _may_be_default(sysctl)


def _may_be_default(sysctl: Sysctl) -> bool:
    """Returns whether a sysctl has the kernel's own default value, or that value is unknown."""
    return sysctl.default is None or sysctl.text == normalize_spaces(sysctl.default)


def _describe(audited: Audited, key: str, sysctl: Sysctl) -> str:
    """Returns what was observed of a sysctl, for a reader.

    It is the value, with the line that sets it at boot: "60 (set at boot by /etc/sysctl.conf:3)".
    If there is no value, it is the reason: "absent", "unreadable: EACCES", "not read".
    """
    places = (audited.sysctl_places or {}).get(key)
    if sysctl.value is None or not places:
        return sysctl.text
    return f"{sysctl.text} (set at boot by {' or '.join(places)})"
