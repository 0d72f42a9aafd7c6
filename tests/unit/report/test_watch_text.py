"""Who resets, on a terminal: over the fleet first, then by host; what could not be is never 0."""

from __future__ import annotations

import unicodedata

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.production import watch_table
from fleetaudit.model import Watched
from fleetaudit.report.explain import host_text
from fleetaudit.report.terminal import summary
from fleetaudit.report.watch_text import host_watch_lines, watch_lines
from tests.support.runs import K612, Fleet, run_of
from tests.support.watches import (
    CURL,
    NGINX,
    NOT_ROOT,
    judged_host,
    owner,
    resets,
    unread,
    watched,
    watched_host,
)


def fleet_lines(*watches: Watched) -> list[str]:
    hosts = [watched_host(f"web{n}", watch) for n, watch in enumerate(watches, 1)]
    return watch_lines(watch_table(hosts), 100)


def test_a_run_without_a_watch_says_nothing_of_it() -> None:
    assert watch_lines(watch_table([Fleet().host("web1", K612)]), 100) == []
    assert host_watch_lines(Fleet().host("web1", K612), 100) == []


def test_programs_over_the_fleet_come_first_then_the_hosts() -> None:
    haproxy = owner(unit="haproxy.service")
    some = watched(resets(30, of=haproxy), resets(2, 80, "linger 0", owner(NGINX)))
    assert fleet_lines(some, watched(resets(12), seconds=58.2), watched()) == [
        "Who resets: 44 resets on 2 of 3 watched hosts in 58 to 60 s.",
        "  /usr/sbin/haproxy  8443  unread data  42  42.4/min  web[1-2]  (haproxy.service)",
        "  /usr/sbin/nginx    80    linger 0     2   2.0/min   web1",
        "By host:",
        "  web1: haproxy:8443 30 (unread data), nginx:80 2 (linger 0)",
        "  web2: haproxy:8443 12 (unread data)",
    ]


def test_a_host_that_could_not_be_watched_is_counted() -> None:
    assert fleet_lines(NOT_ROOT, watched()) == [
        "Who resets: 0 resets on 0 of 1 watched host in 60 s; 1 host could not be watched."
    ]
    assert fleet_lines(NOT_ROOT, NOT_ROOT) == [
        "Who resets: unknown, none of 2 hosts could be watched."
    ]
    assert fleet_lines(NOT_ROOT) == ["Who resets: unknown, the one host could not be watched."]


def test_the_summary_has_the_reason_and_the_next_command() -> None:
    run = run_of([judged_host("web1", NOT_ROOT), judged_host("web2", watched(resets(3)))])
    text = summary(compare(run), width=100)
    assert text.startswith("Watch: 1 of 2 audited hosts could not be watched (warning).\n")
    assert "First, for web1:  set become: true\n" in text
    assert "observed unknown: watching needs root: web1" in " ".join(text.split())
    assert "/usr/sbin/haproxy  8443  unread data  3  3.0/min  web2\n" in text
    problems = summary(compare(run), width=100, problems_only=True)
    assert "watching needs root" in problems
    assert "haproxy" not in problems


def test_resets_alone_leave_the_status_as_expected() -> None:
    text = summary(compare(run_of([judged_host("web1", watched(resets(3)))])), width=100)
    assert text.startswith("All as expected: ")
    assert "Findings: 1 info" in text


def test_incomplete_counts_are_at_least_that() -> None:
    lines = fleet_lines(replace(watched(resets(3)), sampled=True, notes=("a storm",)))
    assert lines[0] == "Who resets: at least 3 resets in 60 s."
    assert "at least 3" in lines[1]
    assert lines[-1] == "  a storm: web1"


def test_rows_that_are_not_shown_are_counted() -> None:
    many = watched(*(resets(1, 1000 + n) for n in range(20)))
    lines = fleet_lines(*[many] * 20)
    assert "  and 8 more rows: see the report" in lines
    assert "  and 8 more hosts: see the report" in lines
    assert any("and 16 more" in line for line in lines)


def test_one_host_is_explained_with_peers_method_and_notes() -> None:
    curl = replace(resets(4, 0, of=owner(CURL)), peers={"192.0.2.0/24": 3, "2001:db8::/64": 1})
    watch = replace(watched(curl), unread=(unread(2),), aborts_on_close=4, notes=("a note",))
    text = host_text(run_of([judged_host("web1", watch)]), judged_host("web1", watch), width=100)
    for line in (
        "Who resets: 4 resets in 60 s.\n",
        "  /usr/bin/curl  ephemeral  unread data  4  4.0/min\n",
        "      peers of curl:ephemeral: 192.0.2.0/24 3, 2001:db8::/64 1\n",
        "  haproxy:8443: 2 sockets, 20 bytes: web1\n",
        "  watched by perf_event_open, the tracepoint names the reasons\n",
        "  TCPAbortOnClose moved by 4\n",
        "  a note\n",
        "info  resets:curl:ephemeral: ",
    ):
        assert line in text
    failed = host_text(
        run_of([judged_host("web1", NOT_ROOT)]), judged_host("web1", NOT_ROOT), width=100
    )
    assert "Not watched: watching needs root\n  next:  set become: true\n" in failed


@pytest.mark.parametrize("evil", ["\x1b[2J\x07", "\u202e\u2066", "a\nb\rc", "\ud800", "x" * 256])
def test_nothing_of_a_host_controls_the_terminal(evil: str) -> None:
    named = owner(f"/{evil}", command=evil[:15], unit=evil, namespace=evil)
    hostile = replace(
        watched(replace(resets(2, reason=evil, of=named), peers={evil: 2})),
        unread=(unread(1, of=named),),
        notes=(evil,),
    )
    broken = Watched(problem=evil, hint=evil)
    for watch in (hostile, broken):
        host = judged_host("web1", watch)
        run = run_of([host])
        for text in (summary(compare(run), width=100), host_text(run, host, width=100)):
            kinds = {unicodedata.category(c) for c in text.replace("\n", "")}
            assert kinds.isdisjoint({"Cc", "Cf", "Cs"})
