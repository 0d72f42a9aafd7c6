"""How the other findings of one host changed, and which of them somebody has accepted. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.judge import is_unknown
from fleetaudit.model import Change, Finding

from .host_diff import HostDiff

_COMPARED_ELSEWHERE = ("scenario", "sysctl", "control", "resets", "service")


def finding_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of the findings that are not about a scenario, a sysctl, a control, a
    program or a service.

    These are the production numbers ("exposure:listen_overflows") and what only the whole fleet
    shows ("kernel:same-ending:unread-close/ipv4"). An expectation without a finding is met.
    """
    for id_ in dict.fromkeys([*diff.findings_after, *diff.findings_before]):
        if _is_compared(diff, id_.partition(":")[0]):
            yield from _finding_change(diff, id_)


def _is_compared(diff: HostDiff, kind: str) -> bool:
    """Returns whether findings of this kind are compared here.

    A void host is not compared with the others of its kernel.
    """
    if diff.has_void_host and kind == "kernel":
        return False
    return kind not in _COMPARED_ELSEWHERE


def _finding_change(diff: HostDiff, id_: str) -> Iterator[Change]:
    """Yields the change of one finding, if it changed.

    If only one of the runs expected it, the expectation changed and not the host. If it is unknown
    in one of them, that is the change. Otherwise a new finding is a regression, and one that is
    gone a fix. The order of these checks matters: a finding of a new expectation must not look like
    a regression.
    """
    findings = diff.findings(id_)
    was_unknown, is_unknown_now = map(is_unknown, findings)
    texts = map(_describe, findings)
    if not diff.is_expected_in_both(id_):
        yield diff.expectation_change(id_)
    elif was_unknown != is_unknown_now:
        yield diff.knowledge_change("finding", id_, *texts, is_known=was_unknown)
    elif findings.has_appeared_or_gone:
        yield diff.change(findings.effect, "finding", id_, *texts)


def _describe(finding: Finding | None) -> str:
    """Returns a finding for a reader: "expected at most 10, observed 12", "met"."""
    if finding is None:
        return "met"
    return f"expected {finding.expected}, observed {finding.observed}"


def waiver_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields a change for each finding of both runs that is waived in one of them only.

    Its texts are those of the waiver and "not waived". Another text of the waiver is no change.
    """
    for id_, new in diff.findings_after.items():
        old = diff.findings_before.get(id_, new)
        if (old.waived is None) != (new.waived is None):
            yield diff.change("changed", "waiver", id_, _waiver(old), _waiver(new))


def _waiver(finding: Finding) -> str:
    """Returns the waiver of a finding for a reader."""
    return finding.waived or "not waived"
