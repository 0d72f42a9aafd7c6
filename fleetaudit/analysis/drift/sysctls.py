"""How the sysctls of one host changed, and whether the host changed or the expectation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.judge import is_unknown
from fleetaudit.model import Change, Finding, Sysctl
from fleetaudit.playbook.expectation_tests import normalize_spaces

from .host_diff import HostDiff


def sysctl_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of all sysctls that both runs read on this host.

    If only one run has a sysctl, the other did not collect it. But on another kernel, a pattern
    that matches more sysctls is a change.
    """
    before, after = diff.before.sysctls, diff.after.sysctls
    keys = dict.fromkeys([*after, *before])
    if diff.before.kernel == diff.after.kernel:
        keys = dict.fromkeys(filter(before.__contains__, after))
    for key in keys:
        yield from _sysctl_changes(diff, f"sysctl:{key}", before.get(key), after.get(key))


def _sysctl_changes(
    diff: HostDiff, what: str, old: Sysctl | None, new: Sysctl | None
) -> Iterator[Change]:
    """Yields the changes of one sysctl and of its expectation.

    If a finding appeared or went, the cause is another value or another default of the kernel; then
    it is a regression or a fix. Without such a cause, or if only one run expected it, the
    expectation changed.
    """
    finding_before, finding_after = diff.findings_before.get(what), diff.findings_after.get(what)
    known_before, known_after = _is_known(old, finding_before), _is_known(new, finding_after)
    texts = _describe(old), _describe(new)
    if known_before != known_after:
        yield diff.knowledge_change("sysctl", what, *texts, is_known=known_after)
        return
    if (finding_before is None) != (finding_after is None):
        cause = _cause_of_change(old, new)
        if cause and diff.is_expected_in_both(what):
            yield diff.change("regression" if finding_after else "fix", "sysctl", what, *cause)
            return
        yield diff.expectation_change(what)  # the playbook has changed, whatever the host did
    if texts[0] != texts[1]:
        yield diff.change("changed", "sysctl", what, *texts)


def _cause_of_change(old: Sysctl | None, new: Sysctl | None) -> tuple[str, str] | None:
    """Returns what changed on the host: the values, or else the defaults; None if nothing did."""
    before, after = _describe(old), _describe(new)
    return (before, after) if before != after else _describe_default_change(old, new)


def _is_known(sysctl: Sysctl | None, finding: Finding | None) -> bool:
    """Returns whether a sysctl was read, and it is known whether it meets its expectation."""
    return _is_readable(sysctl) and not is_unknown(finding)


def _is_readable(sysctl: Sysctl | None) -> bool:
    """Returns whether a sysctl has a value, or the host is known not to have it."""
    return sysctl is None or sysctl.value is not None or sysctl.state == "absent"


def _describe_default_change(old: Sysctl | None, new: Sysctl | None) -> tuple[str, str] | None:
    """Returns both values with their kernels' own defaults, if those are known and differ.

    Such as "60 (this kernel's default: 60)" and "60 (this kernel's default: 30)". An expectation of
    the default may be met by one kernel and not by the other with the same value.
    """
    if old is None or new is None:
        return None
    if old.default is None or new.default is None or old.default == new.default:
        return None
    return _describe_with_default(old), _describe_with_default(new)


def _describe_with_default(sysctl: Sysctl) -> str:
    """Returns a value with the kernel's own default, for a reader."""
    default = normalize_spaces(sysctl.default or "")
    return f"{_describe(sysctl)} (this kernel's default: {default})"


def _describe(sysctl: Sysctl | None) -> str:
    """Returns the value of a sysctl, or why there is none, for a reader.

    Such as "4096 131072 6291456", "absent", "unreadable: EACCES".
    """
    if sysctl is None:
        return "absent"
    if sysctl.value is None:
        return sysctl.state or "not read"
    return normalize_spaces(sysctl.value)
