"""The way of the page from the kernel to the culprit: its sentences, numbers and rows."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.compare import Comparison, compare
from fleetaudit.analysis.compare.resets import MOST_LINES
from fleetaudit.analysis.compare.services import MOST_CARDS
from fleetaudit.analysis.compare.view_model import (
    ResetsView,
    Sentence,
    ServicesView,
    StoryStep,
)
from fleetaudit.model import Finding, Owner, ServiceTry, Watched
from tests.support.browser import page_of
from tests.support.culprits import HOSTS, culprit_run, culprits, host_services
from tests.support.runs import K612, Fleet, run_of, small_fleet
from tests.support.service_results import early, service
from tests.support.watches import HAPROXY, NOT_ROOT, owner, resets, unread, watched, watched_host


def text_of(sentence: Sentence) -> str:
    """Returns a sentence as plain text."""
    return "".join(part.text for part in sentence)


def view_of(*watches: Watched) -> ResetsView:
    """Returns who resets on hosts that were watched, web0, web1 and so on."""
    fleet = Fleet()
    hosts = [watched_host(f"web{n}", watch, fleet) for n, watch in enumerate(watches)]
    view = compare(run_of(hosts)).resets_view
    assert view is not None
    return view


def services_of(comparison: Comparison) -> ServicesView:
    """Returns the services that the page shows."""
    assert comparison.services_view is not None
    return comparison.services_view


def steps_of(comparison: Comparison) -> dict[str, StoryStep]:
    """Returns the steps of the way by their title."""
    return {step.title: step for step in comparison.story.steps}


# ---- the way


def test_each_step_has_the_numbers_of_the_run_and_leads_to_its_section() -> None:
    steps = steps_of(compare(culprit_run()))
    assert list(steps) == ["Kernel", "Since boot", "Who resets", "Services", "Cure"]
    links = [step.link for step in steps.values()]
    assert links == ["kernels", "production", "resets", "services", "service-1"]
    assert text_of(steps["Kernel"].sentence).startswith("Close with unread data: RST on all 3")
    assert "of 1,000 connections" in text_of(steps["Since boot"].sentence)
    assert text_of(steps["Who resets"].sentence) == (
        "haproxy:8443, nginx:80, curl:ephemeral reset 256 connections on 11 of 11 watched hosts"
        " in 60 s, 235 of them with unread data; 1 host could not be watched."
    )
    assert text_of(steps["Services"].sentence) == (
        "upload (haproxy) loses answers: 18 of 72 clients got none."
    )
    assert "upgrade to HAProxy 3.0" in text_of(steps["Cure"].sentence)
    assert not any(step.command for step in steps.values())


def test_a_step_that_was_not_measured_has_the_command_to_type() -> None:
    comparison = compare(small_fleet())
    assert not comparison.story.has_culprits
    assert (comparison.resets_view, comparison.services_view) == (None, None)
    assert [command.split()[:2] for command in comparison.story.commands] == [
        ["fleetaudit", "watch"],
        ["fleetaudit", "services"],
    ]
    run = small_fleet()
    info = replace(run.run, inventory=("our hosts.yml",), limit="web*")
    steps = steps_of(compare(replace(run, run=info)))
    assert steps["Who resets"].command == "fleetaudit watch 'our hosts.yml' --limit 'web*'"


def test_a_run_that_only_watches_has_its_kernel_step_as_not_measured() -> None:
    host = replace(watched_host("a", watched(resets())), observations=())
    comparison = compare(replace(run_of([host]), scenarios=()))
    steps = steps_of(comparison)
    assert steps["Kernel"].command.startswith("fleetaudit run")
    assert steps["Services"].command.startswith("fleetaudit services")
    assert steps["Cure"].link == "resets-cures"


def test_hosts_that_could_not_be_watched_are_not_hosts_without_resets() -> None:
    fleet = Fleet()
    comparison = compare(run_of([watched_host("a", NOT_ROOT, fleet)]))
    step = steps_of(comparison)["Who resets"]
    assert text_of(step.sentence) == "No host could be watched: watching needs root."
    assert (step.command, step.is_typed) == (NOT_ROOT.hint, False)
    assert "Cure" not in steps_of(comparison)


# ---- who resets


def test_the_named_resets_are_compared_with_the_counter_of_the_kernel() -> None:
    inside = replace(owner(), namespace="net:[1]")
    seen = watched(resets(40), resets(2, of=inside), resets(9, reason="linger 0"))
    (text,) = view_of(replace(seen, aborts_on_close=41)).qualifiers
    assert "the kernel counted 41 for unread data (TCPAbortOnClose), of which 40 are named" in text
    unknown = view_of(replace(seen, aborts_on_close=41), seen).qualifiers[0]
    assert "of which 40 are named. The counter could not be read on 1 host." in unknown


def test_a_part_of_the_events_is_at_least_that() -> None:
    view = view_of(replace(watched(resets(7)), sampled=True, lost=3))
    assert view.lines[0].count == "at least 7"
    assert text_of(view.headline).startswith("at least 7 resets")
    assert view.qualifiers == (
        "On 1 host there were too many resets to read all: the counts are a part of them.",
        "3 events were lost before they could be read.",
    )


def test_hosts_that_could_not_be_watched_have_their_reason_and_the_next_command() -> None:
    gone = Watched(problem="no tracepoint", hint="uname -r")
    view = view_of(watched(), NOT_ROOT, gone, NOT_ROOT)
    found = [(line.problem, line.hint, line.at.hosts.count) for line in view.not_watched]
    assert found == [
        ("watching needs root", "set become: true", 2),
        ("no tracepoint", "uname -r", 1),
    ]
    assert text_of(view.headline) == (
        "0 resets on 0 of 1 watched host in 60 s; 3 hosts could not be watched."
    )


@pytest.mark.parametrize(
    ("of", "sockets", "effect"),
    [
        (owner(), 3, "a restart of haproxy resets 3 connections"),
        (owner(""), 1, "a close resets 1 connection; perhaps it waits in an accept queue"),
        (owner(""), 2, "a close resets 2 connections; perhaps they wait in an accept queue"),
    ],
)
def test_a_restart_resets_unread_connections_only_of_a_program_that_is_known(
    of: Owner, sockets: int, effect: str
) -> None:
    view = view_of(replace(watched(), unread=(replace(unread(sockets), owner=of),)))
    assert view.unread[0].effect == effect


def test_each_reason_has_a_cure_also_one_that_nobody_knows() -> None:
    view = view_of(
        watched(
            resets(), resets(reason="linger 0"), resets(reason="new in 7.0"), resets(reason="other")
        )
    )
    assert [cure.reason for cure in view.cures] == ["linger 0", "other", "unread data"]
    assert all(cure.text and cure.meaning for cure in view.cures)


def test_rows_are_bounded_and_what_is_not_listed_is_counted() -> None:
    many = (resets(port=0, of=owner(f"/opt/{n:03}")) for n in range(MOST_LINES + 7))
    view = view_of(watched(*many))
    assert (len(view.lines), view.more_lines) == (MOST_LINES, 7)


# ---- services


def test_a_service_has_its_checks_verdicts_cures_and_segments() -> None:
    upload, front = services_of(compare(culprit_run())).cards
    assert (upload.name, upload.product, upload.units) == (
        "upload",
        "haproxy",
        ("haproxy.service",),
    )
    lines = [(line.writing or line.check, line.answered, line.verdict) for line in upload.checks]
    assert lines == [
        ("send all, then read", 6, "warning"),
        ("Expect: 100-continue", 24, "met"),
        ("idle", None, "error"),
    ]
    assert upload.checks[0].seen == "413: 6, no answer: 18; RST: 18, FIN: 6"
    assert upload.checks[2].seen == "closed after 5.0 s; FIN: 6"
    assert upload.checks[2].expected == "open for at least 61 s"
    assert (upload.verdict, upload.closes) == ("error", "closed after 5.0 s")
    assert [cure.check for cure in upload.cures] == ["early answer", "idle"]
    assert [len(trace.rows) for trace in upload.traces] == [7]
    assert (front.verdict, front.cures, front.loses) == ("met", (), False)
    assert [line.verdict for line in front.checks] == ["met", "met", "no expectation"]


def test_a_service_that_could_not_be_asked_has_its_reason() -> None:
    view = services_of(compare(culprit_run()))
    (line,) = view.not_asked
    assert (line.service, line.problem, line.at.hosts.count) == ("admin", "refused", 6)
    assert text_of(view.headline) == (
        "18 of 72 clients lost their answer, of 2 services on 6 hosts."
        " Of 1 more question nothing is known."
    )


def test_a_waived_finding_says_so() -> None:
    (host,) = culprits(1)
    finding = Finding(
        id="service:front/idle", severity="error", expected="x", observed="y", waived="a: b"
    )
    comparison = compare(run_of([replace(host, findings=(finding,))]))
    front = services_of(comparison).cards[1]
    assert front.verdict_text == "error, waived"


def test_services_are_bounded_and_what_is_not_listed_is_counted() -> None:
    host = Fleet().host("a", K612)
    many = tuple(service(early(), name=f"s{n}") for n in range(MOST_CARDS + 4))
    view = services_of(compare(run_of([replace(host, services=many)])))
    assert (len(view.cards), view.more_cards) == (MOST_CARDS, 4)


# ---- from a row to its hosts


def test_every_host_has_the_rows_that_count_it() -> None:
    comparison = compare(culprit_run())
    resets_view, services = comparison.resets_view, services_of(comparison)
    assert resets_view is not None
    listed = [line.at for line in resets_view.lines]
    listed += [line.at for line in resets_view.unread]
    listed += [line.at for line in resets_view.not_watched]
    listed += [card.at for card in services.cards] + [line.at for line in services.not_asked]
    assert [at.row for at in listed] == list(comparison.labels)
    for number, at in enumerate(listed):
        names = [host.name for host in comparison.hosts if number in host.rows]
        assert names == list(at.names)
        assert len(names) == at.hosts.count
    assert all(host.rows for host in comparison.hosts[:HOSTS])


def test_rows_of_programs_with_one_name_have_labels_of_their_own() -> None:
    view = view_of(watched(resets(3), resets(2, of=owner("/opt/haproxy")), resets(1, port=80)))
    assert [line.at.row[1] for line in view.lines] == [
        f"{HAPROXY}:8443 unread data",
        "/opt/haproxy:8443 unread data",
        "haproxy:80 unread data",
    ]


def test_a_service_that_does_something_else_on_another_host_is_another_row() -> None:
    first, *_ = culprits(1)
    other = replace(first, name="other", services=(*host_services()[1:2], service(early(status=0))))
    cards = services_of(compare(run_of([first, other]))).cards
    assert [card.at.row[1] for card in cards] == ["upload", "upload (haproxy)", "front"]


def test_a_way_of_writing_that_nobody_knows_is_shown_as_it_came() -> None:
    (host,) = culprits(1)
    strange = service(early(ServiceTry(writing="by pigeon", status=413, ending="FIN")))
    view = services_of(compare(run_of([replace(host, services=(strange,))])))
    assert [line.writing for line in view.cards[0].checks] == ["by pigeon"]


def test_more_named_resets_than_the_kernel_counted_are_not_a_part_of_them() -> None:
    (text,) = view_of(replace(watched(resets(5)), aborts_on_close=2)).qualifiers
    assert text.endswith(
        "counted 2 for unread data (TCPAbortOnClose), and 5 are named: some may be"
        " those of other namespaces."
    )


def test_the_resets_of_one_host_are_not_a_share_of_hosts() -> None:
    assert text_of(view_of(watched(resets(3))).headline) == "3 resets in 60 s."


def test_the_cure_of_unread_data_goes_before_more_frequent_reasons() -> None:
    seen = watched(resets(9, reason="linger 0"), resets(1))
    step = steps_of(compare(run_of([watched_host("a", seen)])))["Cure"]
    assert text_of(step.sentence).startswith("unread data: In the application: half-close")


def test_a_run_without_scenarios_says_nothing_of_kernels() -> None:
    host = replace(watched_host("a", watched()), observations=())
    comparison = compare(replace(run_of([host]), scenarios=()))
    assert text_of(comparison.summary[0].sentences[0]).startswith("No scenario ran")
    page = page_of(replace(run_of([host]), scenarios=()))
    assert "No scenario ran, so what these kernels do was not measured." in page
    assert "all kernel builds have the same ending" not in page


def test_reasons_from_a_stack_trace_are_named_as_such() -> None:
    view = view_of(replace(watched(resets()), told_by="stack"), watched())
    assert view.qualifiers == (
        "On 1 host the reasons come from stack traces: this kernel does not say them.",
    )


def test_an_answer_that_arrived_and_was_not_read_is_lost_and_says_so() -> None:
    (host,) = culprits(1)
    gave_up = ServiceTry(writing="chunked", count=3, unread_status=413, ending="RST")
    view = services_of(compare(run_of([replace(host, services=(service(early(gave_up)),))])))
    assert view.cards[0].checks[0].seen == ("no answer: 3 (it had arrived for 3, unread); RST: 3")


def test_programs_that_lose_data_are_named_before_those_that_reset_on_purpose() -> None:
    seen = watched(resets(9, port=80, reason="linger 0"), resets(1))
    step = steps_of(compare(run_of([watched_host("a", seen)])))["Who resets"]
    assert text_of(step.sentence) == (
        "haproxy:8443, haproxy:80 reset 10 connections in 60 s, 1 of them with unread data."
    )


def test_networks_of_peers_are_added_over_the_hosts_if_the_play_asked_for_them() -> None:
    one = replace(resets(5), peers={"192.0.2.0/24": 4, "198.51.100.0/24": 1})
    two = replace(resets(2), peers={"198.51.100.0/24": 2})
    view = view_of(watched(one), watched(two))
    assert view.lines[0].peers == ("192.0.2.0/24 (4)", "198.51.100.0/24 (3)")
    page = page_of(run_of([watched_host("a", watched(one))]))
    assert "Networks of peers" in page
    assert "Networks of peers" not in page_of(culprit_run())


def test_hosts_without_resets_and_hosts_that_nobody_knows_are_two_numbers() -> None:
    fleet = Fleet()
    hosts = [watched_host(f"web{n}", watched(), fleet) for n in range(2)]
    comparison = compare(run_of([*hosts, watched_host("down", NOT_ROOT, fleet)]))
    assert text_of(steps_of(comparison)["Who resets"].sentence) == (
        "0 resets on 0 of 2 watched hosts in 60 s; 1 host could not be watched."
    )


def test_services_that_have_no_card_are_counted_among_those_that_lose_answers() -> None:
    many = tuple(service(early(status=0), name=f"s{n:02}") for n in range(MOST_CARDS + 4))
    comparison = compare(run_of([replace(Fleet().host("a", K612), services=many)]))
    text = text_of(steps_of(comparison)["Services"].sentence)
    assert text == "s00, s01, s02 and 31 more lose answers: 136 of 136 clients got none."
