"""How the services of one host answer and close now, and did before. Pure.

Rules:
- Only a check that both runs made is compared. A service that could be asked in one run only is
  known in that one.
- A count of lost answers differs from run to run: it is a change only if all, some or no clients of
  a way of writing lose their answer now, and it was another share before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from fleetaudit.analysis.services import CheckRow, rows_by_check, shares
from fleetaudit.model import Audited, Change, ServiceResult

from .host_diff import HostDiff

SLACK_S = 2.0
"""By how many seconds the close of an idle connection may differ between two runs."""


class _Seen(NamedTuple):
    """What one run saw of a check: the shares of its clients, when it was closed, and the text."""

    shares: tuple[tuple[str, ...], ...]
    seconds: float
    text: str

    def is_like(self, other: _Seen) -> bool:
        """Returns whether another run saw the same; servers close a little sooner or later."""
        return self.shares == other.shares and abs(self.seconds - other.seconds) <= SLACK_S


def service_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of the services that both runs asked, by service and check.

    The id of such a change is that of the finding: "service:upload/early answer".
    """
    before, after = _by_name(diff.before), _by_name(diff.after)
    for name in filter(before.__contains__, after):
        yield from _service_changes(diff, f"service:{name}", before[name], after[name])


def _by_name(host: Audited) -> Mapping[str, ServiceResult]:
    """Returns the results of the services of a host by name."""
    return {result.name: result for result in host.asked_services}


def _service_changes(
    diff: HostDiff, what: str, old: ServiceResult, new: ServiceResult
) -> Iterator[Change]:
    """Yields the changes of one service: whether it could be asked, or each check of both runs."""
    if bool(old.problem) != bool(new.problem):
        texts = old.problem or "asked", new.problem or "asked"
        id_, is_known = f"{what}/asked", not new.problem
        yield diff.knowledge_change("service", id_, *texts, is_known=is_known)
    before, after = _seen(old), _seen(new)
    for check in filter(before.__contains__, after):
        yield from _check_changes(diff, f"{what}/{check}", before[check], after[check])


def _check_changes(diff: HostDiff, what: str, old: _Seen, new: _Seen) -> Iterator[Change]:
    """Yields the change of one check, or that of its expectation if the service did the same.

    It is a regression or a fix if both runs expected it and its finding is new or gone.
    """
    findings = diff.findings(what)
    if old.is_like(new):
        yield from [diff.expectation_change(what)] * findings.has_appeared_or_gone
        return
    is_judged = findings.has_appeared_or_gone and diff.is_expected_in_both(what)
    effect = findings.effect if is_judged else "changed"
    yield diff.change(effect, "service", what, old.text, new.text)


def _seen(result: ServiceResult) -> Mapping[str, _Seen]:
    """Returns what one run saw of a service, by check."""
    return {check: _seen_check(rows) for check, rows in rows_by_check(result).items()}


def _seen_check(rows: Sequence[CheckRow]) -> _Seen:
    """Returns what one run saw of a check; one that nobody closed has 0 seconds."""
    seconds, _ = rows[0].seconds or (0.0, 0.0)
    return _Seen(tuple(map(shares, rows)), seconds, _text(rows))


def _text(rows: Sequence[CheckRow]) -> str:
    """Returns what was seen in one check: "lost answers: 3 of 4", or "closed after 75 s"."""
    if not rows[0].asks_answer:
        return str(rows[0])
    return f"lost answers: {sum(row.lost for row in rows)} of {sum(row.tries for row in rows)}"
