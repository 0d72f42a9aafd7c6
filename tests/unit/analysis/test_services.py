"""Services folded into rows: n of N for each check, idle seconds, and what could not be asked."""

from __future__ import annotations

from fleetaudit.analysis.services import service_table
from fleetaudit.model import ServiceCheck, ServiceResult, ServiceTry
from tests.support.service_results import asked, early, idle, service


def test_tries_are_counted_by_check_and_by_way_of_writing() -> None:
    result = service(
        early(
            ServiceTry(writing="send all, then read", count=1, status=413, ending="RST"),
            ServiceTry(writing="send all, then read", count=3, ending="RST", error="send: EPIPE"),
            ServiceTry(writing="chunked", count=4, status=413, ending="FIN"),
        )
    )
    (row,) = service_table([asked("web1", result)]).rows
    one, other = row.checks
    assert (one.writing, one.answered, one.tries, one.resets) == ("send all, then read", 1, 4, 4)
    assert (one.statuses, one.error, one.lost) == (((413, 1),), "send: EPIPE", 3)
    assert (other.answered, other.tries, other.resets) == (4, 4, 0)
    assert (row.lost, row.tries) == (3, 8)


def test_hosts_on_which_a_service_did_the_same_are_one_row() -> None:
    lossy, other = service(early(status=0, count=4)), service(early(status=0, count=2))
    sound = service(early(status=413, count=4))
    table = service_table(
        [asked("web1", lossy), asked("web3", sound), asked("web2", other), asked("db1")]
    )
    assert [row.hosts.ranges for row in table.rows] == [("web[1-2]",), ("web3",)]
    assert (table.asked, table.lost, table.tries) == (3, 6, 10)


def test_the_services_that_lose_most_of_their_answers_are_first() -> None:
    some = service(early(status=413, count=3), early(status=0, count=1), name="b")
    every = service(early(status=0, count=1), name="c")
    none = service(early(status=200, count=4), name="a")
    table = service_table([asked("web1", some, every, none)])
    assert [row.service for row in table.rows] == ["c", "b", "a"]


def test_idle_seconds_are_a_range_and_an_open_connection_has_none() -> None:
    hosts = [asked("a", service(idle(75.02))), asked("b", service(idle(75.31)))]
    hosts.append(asked("c", service(idle(None))))
    closed, still_open = service_table(hosts).rows
    assert closed.of("idle")[0].seconds == (75.02, 75.31)
    assert (still_open.of("idle")[0].seconds, still_open.of("idle")[0].open) == (None, 1)


def test_what_could_not_be_asked_is_listed_with_its_reason_and_counts_as_nothing() -> None:
    closed = ServiceResult(name="web", problem="nothing listens there", hint="ss -ltnp")
    half = service(
        early(status=413, count=4),
        ServiceCheck(check="idle", problem="no answer", hint="curl -v http://127.0.0.1:8080/"),
    )
    table = service_table([asked("a", closed), asked("b", closed), asked("c", half)])
    assert [(each.check, each.problem, each.hosts.ranges) for each in table.not_asked] == [
        ("", "nothing listens there", ("a", "b")),
        ("idle", "no answer", ("c",)),
    ]
    assert [row.hosts.ranges for row in table.rows] == [("c",)]
    assert [check.check for check in table.rows[0].checks] == ["early answer"]


def test_a_run_without_services_has_no_rows() -> None:
    table = service_table([asked("a")])
    assert (table.asked, table.rows, table.not_asked, table.lost) == (0, (), (), 0)
