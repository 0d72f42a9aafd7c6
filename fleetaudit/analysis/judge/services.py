"""Compares how services answered and closed with what a playbook expects of them. Pure.

Rules:
- Each client is expected to get an answer: of a request with a large body, and of the first of two
  requests. How long an idle connection stays open and how a service closes count only if the
  playbook says so.
- A service that could not be asked has one finding that says so; what nobody saw is not judged.
- One finding is one check of one service: "service:upload/early answer".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import UNSET

from fleetaudit.analysis.services import find_cure, find_product
from fleetaudit.model import (
    Audited,
    Expectation,
    Finding,
    HostPlan,
    Service,
    ServiceCheck,
    ServiceCheckName,
    ServiceResult,
    ServiceTry,
)
from fleetaudit.playbook.conditions import applies

from .findings import Unmet, make_finding

ASKED = "asked"
"""What stands for the name of a check in the finding of a service that could not be asked."""
WRITERS: Mapping[str, str] = {
    "": "clients",
    "send all, then read": "clients that send all, then read",
    "read while sending": "clients that read while sending",
    "Expect: 100-continue": "clients that expect 100-continue",
    "chunked": "clients that send chunks",
    "half-close": "clients that half-close",
}
"""The clients of each way of writing, in words."""
_LOST: Mapping[str, str] = {
    "RST": "a reset",
    "FIN": "a close without an answer",
    "open": "nothing in time",
    "": "an error",
}
_BECAUSE: Mapping[ServiceCheckName, str] = {
    "early answer": (
        "A server that closes while its client still sends makes the kernel send a RST, and that"
        " erases the answer which the client has not read (RFC 9112, section 9.6)."
    ),
    "pipelined": (
        "A request that arrives after the close makes the kernel send a RST, and that erases the"
        " answer to the request before it (RFC 9112, section 9.6)."
    ),
    "idle": (
        "A load balancer that keeps a connection for longer sends a request into the close, and its"
        " client gets a 502."
    ),
    "unread request": (
        "A server that closes with unread data makes the kernel send a RST (RFC 2525, section"
        " 2.17)."
    ),
}


class Seen(NamedTuple):
    """What was seen of one check: whether it is as expected, None if unknown, and the text."""

    is_met: bool | None
    text: str


class _Case(NamedTuple):
    """One service of a host, as the plan has it and as it answered."""

    service: Service
    result: ServiceResult

    def checks(self) -> Iterator[tuple[ServiceCheckName, str, ServiceCheck]]:
        """Yields each check that is expected to end in some way, with that way in words."""
        found = {check.check: check for check in self.result.checks}
        for name, describe in _EXPECTED.items():
            if name in found and (expected := describe(self.service)):
                yield name, expected, found[name]

    def finding_id(self, check: str) -> str:
        """Returns the id of the finding of a check."""
        return f"service:{self.service.name}/{check}"

    def finding(self, check: str, unmet: Unmet, observed: str, remedy: str) -> Finding:
        """Returns the finding of a check."""
        return make_finding(self.finding_id(check), [unmet], observed, remedy)

    def not_asked(self) -> Finding:
        """Returns the finding of a service that could not be asked; its fix is the next command."""
        expectation = Expectation(severity=self.service.severity)
        unmet = Unmet(expectation, "an answer", is_known=False)
        return self.finding(ASKED, unmet, self.result.problem, self.result.hint)

    def expectation(self, because: str) -> Expectation:
        """Returns what is expected of the service, with why; the playbook's reason goes before."""
        service = self.service
        return Expectation(
            severity=service.severity,
            because=service.because or because,
            fix=service.fix,
            tags=service.tags,
            when=service.when,
        )


def judge_services(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for each check that did not end as expected, and one for each service that
    could not be asked.
    """
    for case in _cases(audited, plan):
        if case.result.problem:
            yield case.not_asked()
            continue
        for name, expected, check in case.checks():
            yield from _judge_check(case, name, expected, check)


def service_expectations(audited: Audited, plan: HostPlan) -> Iterator[str]:
    """Yields the ids of what is expected of the services of a host, met or not.

    Of a service that could not be asked only this is known.
    """
    for case in _cases(audited, plan):
        yield case.finding_id(ASKED)
        for name, _, _ in case.checks():
            yield case.finding_id(name)


def _cases(audited: Audited, plan: HostPlan) -> Iterator[_Case]:
    """Yields the services of a host whose expectations apply to it."""
    if audited.services is UNSET:
        return
    results = {result.name: result for result in audited.services}
    for service in plan.services:
        if service.name in results and applies(service.when, audited):
            yield _Case(service, results[service.name])


def _judge_check(
    case: _Case, name: ServiceCheckName, expected: str, check: ServiceCheck
) -> Iterator[Finding]:
    """Yields the finding of one check, unless it is met."""
    seen = Seen(None, check.problem)
    if check.tries:
        seen = _SEE[name](case.service, check.tries)
    if seen.is_met:
        return
    product = find_product(case.result.server, case.result.executable)
    unmet = Unmet(case.expectation(_BECAUSE[name]), expected, is_known=seen.is_met is not None)
    remedy = check.hint if seen.is_met is None else str(find_cure(product, name))
    yield case.finding(name, unmet, seen.text, remedy)


# ---- what is expected


def _expected_answer(service: Service) -> str:
    """Returns which status each client is to get."""
    statuses = " or ".join(map(str, service.statuses)) or "a status"
    return f"{statuses} for every client"


def _expected_first_answer(_service: Service) -> str:
    """Returns what two requests at once are to get."""
    return "the first answer for every client"


def _expected_idle(service: Service) -> str:
    """Returns how long an idle connection is to stay open, "" if that does not matter."""
    if service.idle_at_least is None:
        return ""
    return f"open for at least {service.idle_at_least:g} s"


def _expected_ending(service: Service) -> str:
    """Returns how the service is to close, "" if that does not matter."""
    return service.ending


_EXPECTED: Mapping[ServiceCheckName, Callable[[Service], str]] = {
    "early answer": _expected_answer,
    "idle": _expected_idle,
    "pipelined": _expected_first_answer,
    "unread request": _expected_ending,
}
"""What is expected of each check, in words; "" for nothing."""


# ---- what was seen


def _see_answers(service: Service, tries: Iterable[ServiceTry]) -> Seen:
    """Returns how many clients of each way of writing got an expected status, without the ways in
    which all did.
    """
    by_writing = dict[str, list[ServiceTry]]()
    for each in tries:
        by_writing.setdefault(each.writing, []).append(each)
    texts = [_describe_writing(service, *item) for item in by_writing.items()]
    return Seen(not any(texts), "; ".join(filter(None, texts)))


def _describe_writing(service: Service, writing: str, tries: Iterable[ServiceTry]) -> str:
    """Returns how many clients got an expected status and what the others got; "" if all did."""
    counts = Counter[str]()
    for each in tries:
        counts[_outcome(service, each)] += each.count
    total, good = counts.total(), counts.pop("", 0)
    if not counts:
        return ""
    wanted = " or ".join(map(str, service.statuses)) or "a status"
    others = ", ".join(f"{count} got {outcome}" for outcome, count in sorted(counts.items()))
    clients = WRITERS.get(writing, "clients")
    return f"{good} of {total} {clients} got {wanted} ({others})"


def _outcome(service: Service, seen: ServiceTry) -> str:
    """Returns what a client got that is not expected, "" for an expected status."""
    if not seen.status:
        return _LOST[seen.ending]
    if service.statuses and seen.status not in service.statuses:
        return f"the status {seen.status}"
    return ""


def _see_idle(service: Service, tries: Iterable[ServiceTry]) -> Seen:
    """Returns after how many whole seconds an idle connection was closed."""
    seen = min(tries, key=_seconds)
    seconds, least = _seconds(seen), service.idle_at_least or 0.0
    if seconds >= least:
        return Seen(True, f"open for {int(seconds)} s")
    if seen.ending in ("open", ""):
        return Seen(None, seen.error or f"open when the time was over, after {int(seconds)} s")
    return Seen(False, f"closed after {int(seconds)} s with {seen.ending}")


def _seconds(seen: ServiceTry) -> float:
    """Returns for how long a connection was open, 0 if that is unknown."""
    return seen.seconds or 0.0


def _see_ending(service: Service, tries: Iterable[ServiceTry]) -> Seen:
    """Returns how a service closed, with the number of clients."""
    endings = Counter[str]()
    for each in tries:
        endings[each.ending or "an error"] += each.count
    texts = [f"{ending} for {count}" for ending, count in sorted(endings.items())]
    return Seen({*endings} == {service.ending}, f"{', '.join(texts)} of {endings.total()} clients")


_SEE: Mapping[ServiceCheckName, Callable[[Service, Iterable[ServiceTry]], Seen]] = {
    "early answer": _see_answers,
    "idle": _see_idle,
    "pipelined": _see_answers,
    "unread request": _see_ending,
}
"""How the tries of each check are compared with what is expected."""
