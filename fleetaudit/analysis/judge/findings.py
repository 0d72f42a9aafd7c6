"""Makes findings of expectations that are not met: one finding per name, however many expectations.

Rules: the finding of several expectations has the severity of the most severe, and the text of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from fleetaudit.model import SEVERITIES, Audited, Expectation, Finding, Severity
from fleetaudit.playbook.conditions import applies

E = TypeVar("E", bound=Expectation)

UNKNOWN = "unknown: "
"""The beginning of the observed text of a finding about what is unknown."""
_UNKNOWN_PREFIXES = (UNKNOWN, "could not be told")  # the second one in runs of earlier versions


class Unmet(NamedTuple):
    """An expectation that is not met: its text, and whether that is known."""

    expectation: Expectation
    expected: str
    is_known: bool = True

    @property
    def severity(self) -> Severity:
        """The severity, a warning at most if it is unknown whether the expectation is met."""
        severity = self.expectation.severity
        return severity if self.is_known else at_most_warning(severity)


def make_finding(id_: str, unmet: Sequence[Unmet], observed: str, remedy: str) -> Finding:
    """Returns the finding of at least one expectation that is not met.

    Its texts are those of all expectations, each once. `observed` begins with UNKNOWN if it is
    unknown whether any of them is met. `remedy` is used if no expectation has a `fix` of its own.
    """
    expectations = [each.expectation for each in unmet]
    is_known = any(each.is_known for each in unmet)
    return Finding(
        id=id_,
        severity=most_severe(each.severity for each in unmet),
        expected=join_unique(" and ", (each.expected for each in unmet)),
        observed=observed if is_known else UNKNOWN + observed,
        because=join_reasons(expectations),
        fix=join_fixes(expectations) or remedy,
    )


def join_reasons(expectations: Iterable[Expectation]) -> str:
    """Returns why something is expected, "" if no expectation says it."""
    return join_unique(" ", (each.because for each in expectations))


def join_fixes(expectations: Iterable[Expectation]) -> str:
    """Returns what the playbook says to do, "" if no expectation says it."""
    return join_unique("; ", (each.fix for each in expectations))


def is_unknown(finding: Finding | None) -> bool:
    """Returns whether a finding is about what is unknown, in this or an earlier version."""
    return finding is not None and finding.observed.startswith(_UNKNOWN_PREFIXES)


def applying(expectations: Iterable[E], audited: Audited) -> list[E]:
    """Returns the expectations that apply to a host."""
    return [each for each in expectations if applies(each.when, audited)]


def join_unique(separator: str, texts: Iterable[str]) -> str:
    """Returns the texts that are not empty, each once, in their order."""
    return separator.join(dict.fromkeys(filter(None, texts)))


def at_most_warning(severity: Severity) -> Severity:
    """Returns the severity of a finding about what is unknown."""
    return "warning" if severity == "error" else severity


def most_severe(severities: Iterable[Severity]) -> Severity:
    """Returns the most severe of at least one severity."""
    return max(severities, key=SEVERITIES.index)


def severity_order(finding: Finding) -> tuple[int, str]:
    """Returns the sort key of a finding: the most severe first, then by id."""
    return -SEVERITIES.index(finding.severity), finding.id
