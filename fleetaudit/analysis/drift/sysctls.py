"""How the sysctls of one host changed, and whether the host changed or the expectation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.judge import is_unknown
from fleetaudit.model import Change, Finding, Sysctl
from fleetaudit.playbook.expectation_tests import normalize_spaces

from .host_diff import HostDiff

_ABSENT = Sysctl(state="absent")
"""A sysctl that one of two kernels does not have."""


def sysctl_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of all sysctls that both runs read on this host.

    If only one run has a sysctl, the other did not collect it. But on another kernel, a pattern
    that matches more sysctls is a change: from "absent" to a value, or the other way round.
    """
    before, after = diff.before.sysctls, diff.after.sysctls
    if before == after and diff.findings_before == diff.findings_after:
        return
    keys = dict.fromkeys([*after, *before])
    if diff.before.kernel == diff.after.kernel:
        keys = dict.fromkeys(filter(before.__contains__, after))
    found = diff.findings_before.keys() | diff.findings_after.keys()
    for key in keys:
        old, new = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if old == new and f"sysctl:{key}" not in found:
            continue
        yield from _sysctl_changes(diff, f"sysctl:{key}", old, new)


def _sysctl_changes(diff: HostDiff, what: str, old: Sysctl, new: Sysctl) -> Iterator[Change]:
    """Yields the changes of one sysctl and of its expectation.

    If a finding appeared or went, the cause is another value or another default of the kernel; then
    it is a regression or a fix. Without such a cause, or if only one run expected it, the
    expectation changed. What is known in one run only is neither, so that is checked first. An
    edited expectation and another value are two changes.
    """
    findings = diff.findings(what)
    known_before, known_after = _is_known(old, findings.before), _is_known(new, findings.after)
    if known_before != known_after:
        yield diff.knowledge_change("sysctl", what, old.text, new.text, is_known=known_after)
        return
    if findings.has_appeared_or_gone:
        cause = _cause_of_change(old, new)
        if cause and diff.is_expected_in_both(what):
            yield diff.change(findings.effect, "sysctl", what, *cause)
            return
        yield diff.expectation_change(what)  # the playbook has changed, whatever the host did
    if old.text != new.text:
        yield diff.change("changed", "sysctl", what, old.text, new.text)


def _is_known(sysctl: Sysctl, finding: Finding | None) -> bool:
    """Returns whether a sysctl was read, and it is known whether it meets its expectation."""
    if sysctl.value is None and sysctl.state != "absent":
        return False
    return not is_unknown(finding)


def _cause_of_change(old: Sysctl, new: Sysctl) -> tuple[str, str] | None:
    """Returns what changed on the host: the values, or else the defaults; None if nothing did.

    The defaults are the kernels' own, if those are known and differ: "60 (this kernel's default:
    60)" and "60 (this kernel's default: 30)". An expectation of the default may be met by one
    kernel and not by the other with the same value.
    """
    if old.text != new.text:
        return old.text, new.text
    if old.default is None or new.default is None or old.default == new.default:
        return None
    return _describe_with_default(old, old.default), _describe_with_default(new, new.default)


def _describe_with_default(sysctl: Sysctl, default: str) -> str:
    """Returns a value with the kernel's own default, for a reader."""
    return f"{sysctl.text} (this kernel's default: {normalize_spaces(default)})"
