"""Makes findings of expectations that are not met: one finding per name, however many expectations.

Rules: the finding of several expectations has the severity of the most severe, and the text of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from fleetaudit.model import SEVERITIES, Audited, Expectation, Finding, Severity
from fleetaudit.playbook.conditions import applies

E = TypeVar("E", bound=Expectation)

UNKNOWN = "unknown: "
"""The beginning of the observed text of a finding about what is unknown."""
_UNKNOWN_PREFIXES = (UNKNOWN, "could not be told")  # the second one in runs of earlier versions


class Unmet(NamedTuple):
    """An expectation that is not met: its text ("at least 10"), and whether that is known."""

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

    Its texts are those of all expectations, each once: `expected` is such as "at least 10 and at
    most 60". `observed` is what the host has ("5"), for a reader; in the finding it begins with
    UNKNOWN if it is unknown of every expectation whether it is met. `remedy` is used if no
    expectation has a `fix` of its own.
    """
    expectations, expected, is_known = zip(*unmet, strict=True)
    if not any(is_known):
        observed = UNKNOWN + observed
    return Finding(
        id=id_,
        severity=most_severe(each.severity for each in unmet),
        expected=join_unique(" and ", expected),
        observed=observed,
        because=join_reasons(expectations),
        fix=join_fixes(expectations) or remedy,
    )


def join_reasons(expectations: Iterable[Expectation]) -> str:
    """Returns why something is expected, "" if no expectation says it.

    The reasons are sentences of the playbook; equal ones are written once.
    """
    return join_unique(" ", (each.because for each in expectations))


def join_fixes(expectations: Iterable[Expectation]) -> str:
    """Returns what the playbook says to do, "" if no expectation says it.

    Several are joined as in "raise tcp_rmem; restart the service".
    """
    return join_unique("; ", (each.fix for each in expectations))


def is_unknown(finding: Finding | None) -> bool:
    """Returns whether a finding is about what is unknown, in this or an earlier version.

    None, no finding, means that the expectation is met, which is known.
    """
    if finding is None:
        return False
    return finding.observed.startswith(_UNKNOWN_PREFIXES)


def applying(expectations: Iterable[E], audited: Audited) -> list[E]:
    """Returns the expectations that apply to a host: its groups and kernel meet their `when`."""
    return [each for each in expectations if applies(each.when, audited)]


def applying_by_name(
    expectations: Mapping[str, Iterable[E]], audited: Audited
) -> Iterator[tuple[str, list[E]]]:
    """Yields each sysctl or number that has expectations on a host, with those that apply to it.

    `expectations` are those of the host's plan, by the name of the sysctl or number.
    """
    for name, planned in expectations.items():
        if here := applying(planned, audited):
            yield name, here


def expectation_ids(
    kind: str, expectations: Mapping[str, Iterable[Expectation]], audited: Audited
) -> Iterator[str]:
    """Yields the ids of the expectations that apply to a host: "sysctl:net.ipv4.tcp_rfc1337".

    `kind` is "sysctl", "exposure" or "watch". The id is that of the finding if one of them is not
    met.
    """
    for name, _ in applying_by_name(expectations, audited):
        yield f"{kind}:{name}"


def find_unmet(check: Callable[[E], Unmet | None], expectations: Iterable[E]) -> list[Unmet]:
    """Returns the expectations that are not met; `check` returns None for one that is."""
    return list(filter(None, map(check, expectations)))


def join_unique(separator: str, texts: Iterable[str]) -> str:
    """Returns the texts that are not empty, each once, in their order."""
    return separator.join(dict.fromkeys(filter(None, texts)))


def at_most_warning(severity: Severity) -> Severity:
    """Returns the severity of a finding about what is unknown: no error is proven by it.

    What would be a warning or info if it were known stays so.
    """
    return min(severity, "warning", key=SEVERITIES.index)


def most_severe(severities: Iterable[Severity]) -> Severity:
    """Returns the most severe of at least one severity."""
    return max(severities, key=SEVERITIES.index)


def severity_order(finding: Finding) -> tuple[int, str]:
    """Returns the sort key of a finding: the most severe first, then by id."""
    return -SEVERITIES.index(finding.severity), finding.id
