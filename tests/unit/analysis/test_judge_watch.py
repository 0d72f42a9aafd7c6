"""A watched host compared with expectations, and the programs that it names."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import Audited, ExposureExpectation, Finding, Watch, Watched
from tests.support.runs import Fleet
from tests.support.watches import NGINX, NOT_ROOT, owner, resets, watched, watched_host

NONE_EXPECTED = ExposureExpectation(at_most=0, severity="error", because="Clients lose answers.")


def judged(watch: Watched, **expect: ExposureExpectation) -> Audited:
    """Returns the host web1 with the findings of its watch; it has no others."""
    numbers: Mapping[str, tuple[ExposureExpectation, ...]] = {
        name: (each,) for name, each in expect.items()
    }
    plan = replace(Fleet().plan("web1"), watch=Watch(seconds=60.0), watch_expect=numbers)
    return judge_host(watched_host("web1", watch), plan)


def findings(watch: Watched, **expect: ExposureExpectation) -> dict[str, Finding]:
    return {finding.id: finding for finding in judged(watch, **expect).findings}


def test_a_host_that_resets_nobody_has_no_finding() -> None:
    host = judged(watched(), resets=NONE_EXPECTED)
    assert host.findings == ()
    assert {"not-watched:host", "watch:resets"} <= {*host.expectations}


def test_a_program_that_resets_because_of_unread_data_is_named_for_information() -> None:
    found = findings(watched(resets(17), resets(2, 80, "linger 0", owner(NGINX))))
    assert list(found) == ["resets:haproxy:8443"]
    finding = found["resets:haproxy:8443"]
    assert finding.severity == "info"
    assert finding.expected == "no reset because of unread data"
    assert finding.observed == "resets by /usr/sbin/haproxy"
    assert "lingering_close" in finding.fix


def test_a_number_that_is_not_met_names_the_programs() -> None:
    watch = watched(resets(17), resets(2, 80, "linger 0", owner(NGINX)))
    found = findings(watch, resets=NONE_EXPECTED, unread_data_resets=NONE_EXPECTED)
    assert found["watch:resets"].observed == "19 (haproxy:8443 17, nginx:80 2)"
    assert found["watch:unread_data_resets"].observed == "17 (haproxy:8443 17)"
    assert found["watch:resets"].severity == "error"
    assert found["watch:resets"].because == "Clients lose answers."


def test_a_rate_is_counted_by_the_minute() -> None:
    watch = watched(resets(30), seconds=20.0)
    found = findings(watch, resets_per_minute=ExposureExpectation(at_most=89.5))
    assert found["watch:resets_per_minute"].observed == "90.00 (haproxy:8443 30)"
    assert "watch:resets_per_minute" not in findings(
        watch, resets_per_minute=ExposureExpectation(at_most=90)
    )


def test_too_few_known_resets_do_not_prove_that_there_are_no_more() -> None:
    watch = replace(watched(resets(3)), lost=1)
    at_most = findings(watch, resets=ExposureExpectation(at_most=5, severity="error"))
    finding = at_most["watch:resets"]
    assert (finding.severity, finding.observed) == (
        "warning",
        "unknown: 3 or more (haproxy:8443 3)",
    )
    certain = findings(watch, resets=ExposureExpectation(at_most=2, severity="error"))
    assert certain["watch:resets"].severity == "error"


def test_a_host_that_could_not_be_watched_has_a_warning_with_the_next_command() -> None:
    found = findings(NOT_ROOT, resets=NONE_EXPECTED)
    for id_, expected in (
        ("not-watched:host", "watched for 60 s"),
        ("watch:resets", "at most 0"),
    ):
        finding = found[id_]
        assert (finding.severity, finding.expected) == ("warning", expected)
        assert finding.observed == "unknown: watching needs root"
        assert finding.fix == "set become: true"


def test_a_watch_without_a_length_has_no_rate() -> None:
    watch = watched(resets(3), seconds=0.0)
    found = findings(watch, resets_per_minute=ExposureExpectation(at_most=1))
    assert found["watch:resets_per_minute"].observed.startswith("unknown: the host does not say")


def test_a_host_that_was_not_to_be_watched_has_no_finding_of_it() -> None:
    host = judge_host(watched_host("web1", watched(resets(5))), Fleet().plan("web1"))
    assert host.findings == ()
    assert "not-watched:host" not in host.expectations


def test_names_of_programs_are_made_printable_and_bounded() -> None:
    evil = "/bin/\x1b[31m\u202e<script>" + "x" * 200
    found = findings(watched(resets(2, of=owner(evil, command="x"))))
    (finding,) = found.values()
    for text in (finding.id, finding.observed):
        assert text.isprintable()
        assert "\x1b" not in text
    assert len(finding.id) < 100


def test_a_host_with_many_programs_names_those_with_most_resets() -> None:
    many = [resets(n + 1, 1000 + n) for n in range(30)]
    found = findings(watched(*many))
    assert sorted(found) == [f"resets:haproxy:{1000 + n}" for n in range(10, 30)]
