"""Services compared with a playbook: who lost an answer, with the cure of the server."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import (
    Audited,
    Condition,
    Finding,
    HostPlan,
    LocalTarget,
    Service,
    ServiceCheck,
    ServiceResult,
    ServiceTry,
)
from tests.support.service_results import asked, early, idle, service

UPLOAD = Service(name="upload", url="http://127.0.0.1:8080/upload", port=8080)


def judged(result: ServiceResult, planned: Service = UPLOAD) -> Audited:
    """Returns a host with the findings of one service."""
    plan = HostPlan(
        name="web1",
        groups=("web",),
        target=LocalTarget(),
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
        services=(planned,),
    )
    return judge_host(replace(asked("web1", result), groups=("web",)), plan)


def finding(result: ServiceResult, planned: Service = UPLOAD) -> Finding:
    """Returns the only finding of a service."""
    (found,) = judged(result, planned).findings
    return found


def test_a_client_that_lost_its_answer_is_a_finding_with_the_cure_of_the_server() -> None:
    lossy = service(
        early(
            ServiceTry(writing="send all, then read", count=1, status=413, ending="FIN"),
            ServiceTry(writing="send all, then read", count=3, ending="RST"),
            ServiceTry(writing="chunked", count=4, status=413, ending="FIN"),
        )
    )
    found = finding(replace(lossy, executable="/usr/sbin/haproxy"))
    assert (found.id, found.severity) == ("service:upload/early answer", "warning")
    assert found.expected == "a status for every client"
    assert found.observed == (
        "1 of 4 clients that send all, then read got a status (3 got a reset)"
    )
    assert "HAProxy 3.0 or later" in found.fix
    assert "RFC 9112" in found.because


def test_answers_for_all_are_met_and_the_expectation_is_listed() -> None:
    host = judged(service(early(status=413), idle(5.0)))
    assert host.findings == ()
    assert host.expectations == ("service:upload/asked", "service:upload/early answer")


def test_ways_of_writing_with_the_same_outcome_are_named_together() -> None:
    lost = [
        ServiceTry(writing=writing, count=4, ending="RST", unread_status=413)
        for writing in ("send all, then read", "chunked", "half-close")
    ]
    assert finding(service(early(*lost))).observed == (
        "0 of 4 clients that send all, then read and of clients that send chunks and of clients"
        " that half-close got a status (4 got a reset with 413 unread)"
    )


@pytest.mark.parametrize(("status", "is_cured"), [(502, True), (405, False)])
def test_only_a_lost_answer_has_the_cure_of_the_server(status: int, is_cured: bool) -> None:
    result = service(early(status=status), server="nginx/1.22.1")
    found = finding(result, replace(UPLOAD, statuses=(413,)))
    assert ("proxy_request_buffering" in found.fix) == is_cured
    assert ("no answer is lost" in found.fix) != is_cured


def test_another_status_than_the_expected_one_is_a_finding() -> None:
    found = finding(service(early(status=502)), replace(UPLOAD, statuses=(413, 401)))
    assert found.expected == "413 or 401 for every client"
    assert found.observed == (
        "0 of 4 clients that send all, then read got 413 or 401 (4 got the status 502)"
    )


@pytest.mark.parametrize(
    ("seen", "observed", "is_known"),
    [
        (ServiceTry(status=200, ending="FIN", seconds=60.9), "closed after 60 s with FIN", True),
        (ServiceTry(status=200, ending="RST", seconds=5.01), "closed after 5 s with RST", True),
        (ServiceTry(status=200, ending="open", seconds=9.0), "open when the time was over", False),
        (ServiceTry(error="the service keeps sending"), "the service keeps sending", False),
    ],
)
def test_an_idle_connection_that_is_closed_early_is_a_finding(
    seen: ServiceTry, observed: str, is_known: bool
) -> None:
    planned = replace(UPLOAD, idle_at_least=61.0, severity="error")
    found = finding(service(ServiceCheck(check="idle", tries=(seen,))), planned)
    assert (found.id, found.expected) == ("service:upload/idle", "open for at least 61 s")
    assert observed in found.observed
    assert (found.severity, found.observed.startswith("unknown: ")) == (
        ("error", False) if is_known else ("warning", True)
    )


@pytest.mark.parametrize("ending", ["FIN", "open"])
def test_an_idle_connection_that_stays_open_long_enough_is_met(ending: str) -> None:
    seen = ServiceTry(status=200, ending=ending, seconds=61.0)  # type: ignore[arg-type]
    planned = replace(UPLOAD, idle_at_least=61.0)
    assert judged(service(ServiceCheck(check="idle", tries=(seen,))), planned).findings == ()


def test_what_the_playbook_does_not_expect_is_not_judged() -> None:
    tries = (ServiceTry(ending="RST", count=4),)
    result = service(idle(1.0), ServiceCheck(check="unread request", tries=tries))
    assert judged(result).findings == ()
    found = finding(result, replace(UPLOAD, ending="FIN"))
    assert (found.expected, found.observed) == ("FIN", "0 of 4 clients got FIN (4 got RST)")


def test_the_first_of_two_answers_must_not_be_lost() -> None:
    tries = (ServiceTry(status=200, ending="FIN"), ServiceTry(ending="RST", count=3))
    found = finding(service(ServiceCheck(check="pipelined", tries=tries)))
    assert found.observed == "1 of 4 clients got a status (3 got a reset)"


def test_a_service_that_could_not_be_asked_has_one_finding_with_the_next_command() -> None:
    problem = ServiceResult(name="upload", problem="nothing listens there", hint="ss -ltnp")
    planned = replace(UPLOAD, severity="error", fix="restart it", idle_at_least=61.0)
    host = judged(problem, planned)
    (found,) = host.findings
    assert (found.id, found.severity) == ("service:upload/asked", "warning")
    assert (found.observed, found.fix) == ("unknown: nothing listens there", "ss -ltnp")
    assert host.expectations == ("service:upload/asked",)


def test_a_check_that_could_not_be_made_is_unknown() -> None:
    check = ServiceCheck(check="early answer", problem="the time ran out")
    found = finding(service(check), replace(UPLOAD, severity="info"))
    assert (found.severity, found.observed) == ("info", "unknown: the time ran out")


def test_the_words_of_the_playbook_go_before_those_of_the_table() -> None:
    planned = replace(UPLOAD, fix="ask the front team", because="Customers upload here.")
    found = finding(service(early(status=0)), planned)
    assert (found.fix, found.because) == ("ask the front team", "Customers upload here.")


def test_a_condition_says_where_a_service_is_judged() -> None:
    planned = replace(UPLOAD, when=Condition(groups=("db",)))
    host = judged(service(early(status=0)), planned)
    assert (host.findings, host.expectations) == ((), ())


def test_a_check_that_ended_before_its_last_try_is_met_by_none() -> None:
    check = replace(early(status=413), problem="the time for this service ran out")
    assert finding(service(check)).observed == "unknown: the time for this service ran out"
    lossy = finding(service(replace(early(status=0), problem="the time ran out")))
    assert lossy.observed.startswith("0 of 4 clients")
