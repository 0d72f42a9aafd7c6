"""How real servers of Debian answer early and close, with their default configuration.

What was known of them before this test, on other machines: `python -m tests.services.table` prints
what they do here.
"""

from __future__ import annotations

import pytest

from fleetaudit.model import ServiceCheck, ServiceResult
from tests.services.table import ask_all, ask_early
from tests.support.asked_services import answered, check_of
from tests.support.servers import SERVERS, NoServersError, skip_without

Results = dict[str, ServiceResult | NoServersError]
BLIND = ("send all, then read", "chunked", "half-close")
ATTENTIVE = ("read while sending", "Expect: 100-continue")
LOSE = ("HAProxy 2.6", "Caddy", "gunicorn sync", "Node.js, Connection: close")
KEEP = ("HAProxy 3.0", "nginx", "Apache", "lighttpd", "gunicorn gthread", "uvicorn", "Node.js")
IDLE_S = {
    "HAProxy 2.6": 50,
    "HAProxy 3.0": 50,
    "nginx": 75,
    "Apache": 5,
    "lighttpd": 5,
    "gunicorn sync": 0,
    "gunicorn gthread": 2,
    "uvicorn": 5,
    "Node.js": 5,
    "Node.js, Connection: close": 0,
}
EXECUTABLES = {
    "HAProxy": "haproxy",
    "nginx": "nginx",
    "Apache": "apache2",
    "lighttpd": "lighttpd",
    "Caddy": "caddy",
    "gunicorn": "python3.11",
    "uvicorn": "python3.11",
    "Node.js": "node",
}


@pytest.fixture(scope="module")
def results() -> Results:
    """Returns what the probe says of each server; all idle connections are waited for at once."""
    return ask_all(SERVERS, idle_at_most=85.0)


def check(results: Results, name: str, check: str) -> ServiceCheck:
    """Returns one check of a server, skipping without that server."""
    return check_of(result(results, name), check)


def result(results: Results, name: str) -> ServiceResult:
    """Returns the result of a server, skipping without it."""
    found = results[name]
    if isinstance(found, ServiceResult):
        return found
    skip_without(name, found)
    raise AssertionError


def statuses_of(result: ServiceResult) -> set[int]:
    """Returns the statuses that clients got early."""
    return {each.status for each in check_of(result, "early answer").tries}


@pytest.mark.parametrize("name", LOSE)
def test_a_server_that_closes_with_unread_data_loses_its_early_answer(
    results: Results, name: str
) -> None:
    early = check(results, name, "early answer")
    assert [answered(early, writing) for writing in BLIND] == ["0 of 4"] * 3
    for each in early.tries:
        if each.writing in BLIND:
            assert (each.ending, each.error.partition(":")[0]) == ("RST", "send")
    assert [answered(early, writing) for writing in ATTENTIVE] == ["4 of 4"] * 2
    assert any("R" in segment.flags for segment in early.wire if segment.sender == "closer")


@pytest.mark.parametrize("name", KEEP)
def test_a_server_that_reads_on_delivers_its_early_answer(results: Results, name: str) -> None:
    early = check(results, name, "early answer")
    assert [answered(early, writing) for writing in (*BLIND, *ATTENTIVE)] == ["4 of 4"] * 5
    statuses = {each.status for each in early.tries if each.writing != "chunked"}
    assert statuses == {413}  # of a chunked body the length is not known


def test_a_proxy_in_front_makes_another_answer_of_it(results: Results) -> None:
    """How often depends on which is faster: the answer, or the body that nginx still sends."""
    statuses = statuses_of(result(results, "nginx in front"))
    for _ in range(5):
        if 502 not in statuses:
            statuses |= statuses_of(ask_early("nginx in front", tries=20))
    assert {502} <= statuses <= {413, 502}


@pytest.mark.parametrize("name", IDLE_S)
def test_an_idle_connection_is_closed_after_the_default_time(results: Results, name: str) -> None:
    (idle,) = check(results, name, "idle").tries
    assert idle.ending == "FIN"
    assert idle.seconds is not None
    assert IDLE_S[name] <= idle.seconds + 0.01
    assert idle.seconds < IDLE_S[name] + 3  # some look once a second only


def test_an_idle_connection_that_nobody_closes_is_open(results: Results) -> None:
    (idle,) = check(results, "Caddy", "idle").tries
    assert (idle.ending, round(idle.seconds or 0)) == ("open", 85)


@pytest.mark.parametrize("name", [*LOSE, *KEEP])
def test_every_server_answers_the_first_of_two_requests(results: Results, name: str) -> None:
    pipelined = check(results, name, "pipelined")
    assert answered(pipelined) == "4 of 4"
    assert {each.ending for each in pipelined.tries} <= {"FIN", "RST"}


@pytest.mark.parametrize("name", [*LOSE, *KEEP])
def test_every_server_closes_on_what_is_no_request(results: Results, name: str) -> None:
    unread = check(results, name, "unread request")
    assert sum(each.count for each in unread.tries) == 4
    assert {each.ending for each in unread.tries} <= {"FIN", "RST"}


@pytest.mark.parametrize("name", SERVERS)
def test_the_listener_is_named(results: Results, name: str) -> None:
    found = result(results, name)
    (wanted,) = [file for prefix, file in EXECUTABLES.items() if name.startswith(prefix)]
    assert found.executable.rpartition("/")[2] == wanted


def test_a_server_calls_itself_by_its_header(results: Results) -> None:
    assert result(results, "nginx").server.startswith("nginx/1.22")
    assert result(results, "lighttpd").server == "lighttpd/1.4.69"
