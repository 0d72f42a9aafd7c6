"""Compares how services answered and closed with what a playbook expects of them. Pure.

Rules:
- Each client is expected to get an answer: of a request with a large body, and of the first of two
  requests. How long an idle connection stays open and how a service closes count only if the
  playbook says so.
- A service that could not be asked has one finding that says so; what nobody saw is not judged.
- One finding is one check of one service: "service:upload/early answer".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from fleetaudit.analysis.services import find_cure, find_product
from fleetaudit.analysis.services.model import ANSWER_CHECKS
from fleetaudit.analysis.services.tries import count_answers, tries_by_writing
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
from fleetaudit.text.phrases import surround

from .findings import Unmet, make_finding

OTHER_STATUS = (
    "no answer is lost: change what the server answers, or the “status” that the playbook expects"
)
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

    def checks(self) -> Iterator[tuple[ServiceCheck, str]]:
        """Yields each check that is expected to end in some way, with that way in words."""
        for check in self.result.checks:
            expected = _EXPECTED[check.check](self.service)
            if expected:
                yield check, expected

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

    Nothing else is known of such a service, so that it has no other finding.
    """
    for case in _cases(audited, plan):
        if case.result.problem:
            yield case.not_asked()
        for check, expected in case.checks():
            yield from _judge_check(case, check, expected)


def service_expectations(audited: Audited, plan: HostPlan) -> Iterator[str]:
    """Yields the ids of what is expected of the services of a host, met or not.

    Of a service that could not be asked it is that alone. The ids are those of the findings.
    """
    for case in _cases(audited, plan):
        yield case.finding_id(ASKED)
        yield from (case.finding_id(check.check) for check, _ in case.checks())


def _cases(audited: Audited, plan: HostPlan) -> Iterator[_Case]:
    """Yields the services of a host whose expectations apply to it, in the order of the plan."""
    planned = {service.name: service for service in plan.services}
    for result in audited.asked_services:
        case = _Case(planned[result.name], result)
        if applies(case.service.when, audited):
            yield case


def _judge_check(case: _Case, check: ServiceCheck, expected: str) -> Iterator[Finding]:
    """Yields the finding of one check, unless it is met.

    One that ended before all of its tries is unknown if those are as expected. What helps against
    what is unknown is the next command; otherwise it is the cure of the server.
    """
    name, seen = check.check, Seen(True, "")
    if check.tries:
        seen = _SEE[name](case.service, check.tries)
    if seen.is_met:
        seen = Seen(not check.problem or None, check.problem)
    if seen.is_met:
        return
    is_known = seen.is_met is not None
    remedies = {True: _remedy(case.result, check), False: check.hint}
    unmet = Unmet(case.expectation(_BECAUSE[name]), expected, is_known=is_known)
    yield case.finding(name, unmet, seen.text, remedies[is_known])


def _remedy(result: ServiceResult, check: ServiceCheck) -> str:
    """Returns the cure of the server; of answers that are not lost, that their status is another.

    A 502 stands for an answer that the server in front has lost.
    """
    statuses = {each.status for each in check.tries}
    if check.check in ANSWER_CHECKS and statuses.isdisjoint({0, 502}):
        return OTHER_STATUS
    return str(find_cure(find_product(result.server, result.executable), check.check))


# ---- what is expected


def _wanted(service: Service) -> str:
    """Returns which status a client is to get: "413 or 401", "a status" for any."""
    return " or ".join(map(str, service.statuses)) or "a status"


def _expected_answer(service: Service) -> str:
    """Returns which status each client is to get."""
    return f"{_wanted(service)} for every client"


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
    outcome, writers = partial(_outcome, service), dict[tuple[int, int, str], list[str]]()
    for writing, some in tries_by_writing(tries).items():
        answers = count_answers(some, outcome)
        key = answers.good, answers.total, answers.others
        writers.setdefault(key, []).append(WRITERS.get(writing, "clients"))
    texts = [
        f"{good} of {total} {' and of '.join(clients)} got {_wanted(service)} ({others})"
        for (good, total, others), clients in writers.items()
        if others
    ]
    return Seen(not texts, "; ".join(texts))


def _see_first_answer(service: Service, tries: Iterable[ServiceTry]) -> Seen:
    """Returns how many clients got the first of two answers, with any status."""
    return _see_answers(replace(service, statuses=()), tries)


def _outcome(service: Service, seen: ServiceTry) -> str:
    """Returns what a client got that is not expected, "" for an expected status.

    Any status is expected if the playbook names none. Without a status the answer is lost.
    """
    if not seen.status:
        return _LOST[seen.ending] + surround(" with ", seen.unread_status, " unread")
    expected = service.statuses or (seen.status,)
    return "" if seen.status in expected else f"the status {seen.status}"


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
    names: dict[str, str] = {"": "an error", service.ending: ""}
    answers = count_answers(tries, lambda seen: names.get(seen.ending, seen.ending))
    text = f"{answers.good} of {answers.total} clients got {service.ending} ({answers.others})"
    return Seen(not answers.others, text)


_SEE: Mapping[ServiceCheckName, Callable[[Service, Iterable[ServiceTry]], Seen]] = {
    "early answer": _see_answers,
    "idle": _see_idle,
    "pipelined": _see_first_answer,
    "unread request": _see_ending,
}
"""How the tries of each check are compared with what is expected."""
