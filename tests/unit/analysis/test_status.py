"""The status of a run: one sentence that is true, whatever the fleet is."""

from __future__ import annotations

import html
import re
from typing import get_args

import msgspec
import pytest

from fleetaudit.analysis.compare import Comparison, compare
from fleetaudit.analysis.compare.highlight import MOST_ROWS
from fleetaudit.analysis.compare.status import ENDING_VERBS, MEANING
from fleetaudit.analysis.compare.view_model import StatusLevel
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import (
    Audited,
    AuditRun,
    Ending,
    Finding,
    HostResult,
    NotSelected,
    Observation,
    ScenarioRow,
    Severity,
    Sysctl,
)
from fleetaudit.report.html import render
from fleetaudit.report.terminal import summary
from tests.support.runs import (
    K510,
    K612,
    K618,
    SCENARIOS,
    Fleet,
    by_name,
    missing,
    observe,
    run_of,
    small_fleet,
)

FLEET = Fleet()
UNREAD = next(s for s in SCENARIOS if s.name == "unread-close")
READ_LATE = next(s for s in SCENARIOS if s.name == "partly-read-close")
LOST = missing("lost", "connect", "refused", "nc -vz lost 22")


def fine(count: int = 1) -> list[HostResult]:
    """Returns hosts that meet every expectation."""
    model = FLEET.host("web1", K618)
    return [msgspec.structs.replace(model, name=f"web{n}") for n in range(1, count + 1)]


def ends(name: str, of: str, ending: Ending, kernel: object = K618) -> Audited:
    """Returns a host that ends one scenario otherwise over IPv4."""
    scenario = next(s for s in SCENARIOS if s.name == of)
    return FLEET.host(name, K618, instead=[observe(scenario, "ipv4", ending)])


def void(name: str) -> Audited:
    return FLEET.host(name, K618, void="the control failed, so no ending proves anything")


def waived(host: Audited) -> Audited:
    findings = tuple(
        msgspec.structs.replace(finding, waived="ops until 2027-01-31: known")
        for finding in host.findings
    )
    return msgspec.structs.replace(host, findings=findings)


def observed_only() -> AuditRun:
    """Returns a run whose playbook expects nothing."""
    run = run_of(fine(2))
    rows = tuple(msgspec.structs.replace(row, expect=(), control=None) for row in run.scenarios)
    hosts = tuple(
        msgspec.structs.replace(host, expectations=(), findings=())
        for host in run.hosts
        if isinstance(host, Audited)
    )
    return msgspec.structs.replace(run, scenarios=rows, hosts=hosts)


def said(comparison: Comparison) -> str:
    """Returns the sentence of the status."""
    return "".join(part.text for part in comparison.status.sentence)


def not_run(name: str) -> Audited:
    """Returns a host on which no scenario ran besides controls."""
    host = FLEET.host(name, K618)
    observations = tuple(
        o if o.scenario in ("drained-close", "zero-linger-close") else lacking(o)
        for o in host.observations
    )
    return msgspec.structs.replace(host, observations=observations, findings=())


def undecided(name: str) -> Audited:
    """Returns a host on which unread-close is inconclusive over every family."""
    of = by_name("unread-close")
    instead = [observe(of, family, "inconclusive", reason="no witness") for family in of.families]
    return FLEET.host(name, K618, instead=instead)


def lacks_main(name: str, *families: str) -> Audited:
    """Returns a host on which unread-close was not run, over some families or over all."""
    host = FLEET.host(name, K618)
    observations = tuple(
        lacking(o) if o.scenario == "unread-close" and (not families or o.family in families) else o
        for o in host.observations
    )
    return msgspec.structs.replace(host, observations=observations)


def lacking(o: Observation) -> Observation:
    return msgspec.structs.replace(o, ending="not run", trials=0, endings={}, reason="no right")


NO_PLAY = NotSelected(name="printer")
CASES: dict[str, tuple[list[HostResult], StatusLevel, str, str]] = {
    "all met": (
        fine(5), "as expected", "all 5 audited hosts meet every expectation.", "",
    ),
    "one host": (
        fine(), "as expected", "the one audited host meets every expectation.", "",
    ),
    "info only": (
        [*fine(2), ends("old", "reread-fin-close", "RST")],
        "as expected",
        "all 3 audited hosts meet every expectation, except for info on 1 of 3 hosts.",
        "",
    ),
    "warning": (
        [*fine(2), ends("odd", "partly-read-close", "FIN")],
        "watch",
        "1 of 3 audited hosts sends FIN in partly-read-close, where the playbook expects RST"
        " (warning).",
        "fleetaudit explain 2026-11-22T020000Z odd partly-read-close",
    ),
    "error": (
        [*fine(1), ends("a", "unread-close", "FIN"), ends("b", "unread-close", "FIN")],
        "act",
        "2 of 3 audited hosts send FIN in unread-close, where the playbook expects RST (error).",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "error before warning, with the most hosts first": (
        [
            ends("a", "unread-close", "FIN"),
            ends("b", "partly-read-close", "FIN"),
            ends("c", "partly-read-close", "FIN"),
        ],
        "act",
        "1 of 3 audited hosts sends FIN in unread-close, where the playbook expects RST (error);"
        " 1 more expectation is not met.",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "several endings": (
        [ends("a", "unread-close", "FIN"), ends("b", "unread-close", "nothing")],
        "act",
        "all 2 audited hosts end otherwise in unread-close, where the playbook expects RST"
        " (error).",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "unknown": (
        [*fine(1), ends("a", "unread-close", "inconclusive")],
        "watch",
        "1 of 2 audited hosts has no certain ending in unread-close, where the playbook expects RST"
        " (warning).",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "waived": (
        [*fine(1), waived(ends("a", "unread-close", "FIN"))],
        "as expected",
        "all 2 audited hosts meet every expectation, except for 1 waived finding.",
        "",
    ),
    "not audited": (
        [*fine(3), LOST],
        "watch",
        "all 3 audited hosts meet every expectation; 1 of 4 hosts was not audited.",
        "nc -vz lost 22",
    ),
    "an error and a host not audited": (
        [LOST, ends("a", "unread-close", "FIN")],
        "act",
        "the one audited host sends FIN in unread-close, where the playbook expects RST (error);"
        " 1 of 2 hosts was not audited.",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "most not audited": (
        [*fine(1), LOST, *(missing(f"m{n}", "resolve", "no name", "getent hosts m") for n in "12")],
        "unknown",
        "only 1 of 4 hosts has verdicts that count; 3 of 4 hosts were not audited.",
        "getent hosts m",
    ),
    "none audited": (
        [LOST], "unknown", "the one host was not audited.", "nc -vz lost 22",
    ),
    "all void": (
        [void("a"), void("b")],
        "unknown",
        "none of 2 hosts has a verdict that counts; all 2 hosts are void because the positive"
        " control failed.",
        "fleetaudit explain 2026-11-22T020000Z a",
    ),
    "one void": (
        [*fine(3), void("a")],
        "act",
        "1 of 4 audited hosts is void: the positive control failed, so its verdicts do not count"
        " (error).",
        "fleetaudit explain 2026-11-22T020000Z a",
    ),
    "two void, one lost": (
        [*fine(3), void("a"), void("b"), LOST],
        "act",
        "2 of 5 audited hosts are void: the positive control failed, so their verdicts do not count"
        " (error); 1 of 6 hosts was not audited.",
        "fleetaudit explain 2026-11-22T020000Z a",
    ),
    "nothing ran": (
        [not_run("a")],
        "unknown",
        "the one host has no verdict that counts; the one host ran no scenario.",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "main scenario not run": (
        [lacks_main(name) for name in "abc"],
        "unknown",
        "none of 3 hosts has a verdict that counts; all 3 hosts have no certain ending in"
        " unread-close.",
        "fleetaudit explain 2026-11-22T020000Z a unread-close",
    ),
    "main scenario mostly inconclusive": (
        [*fine(1), *(undecided(name) for name in "xyz")],
        "unknown",
        "only 1 of 4 hosts has verdicts that count; 3 of 4 hosts have no certain ending in"
        " unread-close.",
        "fleetaudit explain 2026-11-22T020000Z x unread-close",
    ),
    "main scenario not run on a few": (
        [*fine(2), lacks_main("x")],
        "as expected",
        "all 2 hosts with verdicts that count meet every expectation; 1 of 3 hosts has no certain"
        " ending in unread-close; 2 of 51 verdicts were not run.",
        "",
    ),
    "main scenario over one family": (
        [lacks_main("x", "ipv6")],
        "as expected",
        "the one audited host meets every expectation; 1 of 17 verdicts was not run.",
        "",
    ),
    "no play": (
        [*fine(1), NO_PLAY],
        "as expected",
        "the one audited host meets every expectation; 1 of 2 hosts is not selected by any play.",
        "",
    ),
    "no play at all": (
        [NO_PLAY],
        "unknown",
        "no play matches the one selected host.",
        "fleetaudit inventory inventory.yml --list-hosts",
    ),
    "empty": (
        [], "unknown", "no host was selected.", "fleetaudit inventory inventory.yml --list-hosts",
    ),
    "sysctl": (
        [FLEET.host("a", K618, sysctls={"net.ipv4.tcp_fin_timeout": Sysctl(value="120")})],
        "watch",
        "the one audited host has an unexpected value in net.ipv4.tcp_fin_timeout, where the"
        " playbook expects at most 60 (warning).",
        "sysctl -w net.ipv4.tcp_fin_timeout=60",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_status_says_in_one_sentence_whether_to_act(case: str) -> None:
    hosts, level, sentence, first = CASES[case]
    found = compare(run_of(hosts))
    assert (said(found), found.status.level) == (sentence, level)
    assert found.first_step.startswith(first)
    assert bool(found.first_step) is bool(first)
    assert found.status.meaning == MEANING


@pytest.mark.parametrize("case", CASES)
def test_hosts_without_a_result_are_never_passed_over(case: str) -> None:
    found = compare(run_of(CASES[case][0]))
    if found.coverage.not_audited:
        assert found.status.level != "as expected"
        assert "not audited" in said(found)
    if found.coverage.void:
        assert found.status.level != "as expected"
        assert "void" in said(found)


@pytest.mark.parametrize("case", CASES)
def test_page_and_terminal_say_the_same_words(case: str) -> None:
    comparison = compare(run_of(CASES[case][0]))
    page = render(comparison, generated="2026-11-22T02:03:41Z")
    section = page[page.index('<section id="status"') : page.index('<div class="about">')]
    words = text_of(section)
    for width in (80, 100):
        block, *_ = summary(comparison, width=width).split("\n\n")
        assert max(map(len, wrapped(block))) <= width
        heading, step = text_of(block).removesuffix(f" {MEANING}"), comparison.first_step
        label, _, rest = heading.partition(": ")
        assert f"Status: {label} " in re.sub(r"[✓✗!?] ", "", words)
        sentence, _, first = rest.partition(" First")
        assert sentence in words
        assert bool(first) is bool(step)
        assert not step or f"First{first}" in words
    assert MEANING in words


def wrapped(block: str) -> list[str]:
    """Returns the lines that are no commands: these are never wrapped."""
    return [line for line in block.splitlines() if not line.startswith("First")]


def text_of(markup: str) -> str:
    """Returns the words of a part of the page, or of a text, with one blank in between."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def test_ten_thousand_hosts_are_counted_with_commas() -> None:
    many = [*fine(9_999), ends("odd", "unread-close", "FIN"), LOST]
    found = compare(run_of(many))
    assert said(found) == (
        "1 of 10,000 audited hosts sends FIN in unread-close, where the playbook expects RST"
        " (error); 1 of 10,001 hosts was not audited."
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["web1"], "web1"),
        ([f"web{n}" for n in range(1, 13)], "web[1-12]"),
        ([f"web{n}" for n in range(1, 99, 3)], "33 hosts"),
        (["a", "b"], "2 hosts"),
        (["x" * 253], "x" * 253),
    ],
)
def test_the_first_step_names_or_counts_its_hosts(names: list[str], words: str) -> None:
    model = FLEET.host("a", K618, sysctls={"net.ipv4.tcp_fin_timeout": Sysctl(value="120")})
    hosts = [msgspec.structs.replace(model, name=name) for name in names]
    first = compare(run_of(hosts)).status.first
    assert first is not None
    assert first.hosts == words


def test_a_regression_without_a_finding_above_info_is_worth_watching() -> None:
    before = run_of(fine(2))
    after = run_of([*fine(1), ends("web2", "reread-fin-close", "RST")])
    found = compare(after, compute_drift(before, after))
    assert found.status.level == "watch"
    assert said(found).startswith("1 host regressed since 2026-11-22")
    assert found.first_step == "Read what changed, the regressions first"
    again = run_of([*fine(1), waived(ends("web2", "reread-fin-close", "RST"))])
    accepted = compare(again, compute_drift(before, again))
    assert accepted.status.level == "as expected"


def test_a_regression_is_named_after_the_finding_that_it_is() -> None:
    before, after = run_of(fine(1)), run_of([ends("web1", "unread-close", "FIN")])
    found = compare(after, compute_drift(before, after))
    assert found.status.level == "act"
    assert "(error); 1 host regressed since 2026-11-22" in said(found)


def test_a_playbook_without_expectations_has_no_status() -> None:
    found = compare(observed_only())
    assert found.status.level == "unknown"
    assert said(found) == "the playbook has no expectation of what ran on 2 hosts."


def test_a_changed_host_key_is_an_error_of_a_host_that_was_not_audited() -> None:
    key = Finding(
        id="host-key:ssh-ed25519", severity="error", expected="SHA256:a", observed="SHA256:b"
    )
    lost = msgspec.structs.replace(LOST, findings=(key,))
    found = compare(run_of([*fine(3), lost]))
    assert found.status.level == "act"
    assert said(found) == (
        "1 of 4 selected hosts has another host key than the known one (error); 1 of 4 hosts was"
        " not audited."
    )
    assert found.first_step == "nc -vz lost 22"


@pytest.mark.parametrize("severity", ["info", "warning", "error"])
def test_a_finding_of_an_unknown_kind_has_a_sentence(severity: Severity) -> None:
    odd = Finding(id="later:x", severity=severity, expected="y" * 500, observed="z")
    host = msgspec.structs.replace(FLEET.host("a", K618), findings=(odd,))
    found = compare(run_of([host]))
    assert len(said(found)) < 250
    assert (
        found.status.level == {"info": "as expected", "warning": "watch", "error": "act"}[severity]
    )


def test_a_finding_that_only_a_host_without_verdicts_has_needs_no_audited_host() -> None:
    """A run.json of another program may have it."""
    odd = Finding(id="scenario:x/ipv4", severity="error", expected="FIN", observed="RST")
    lost = msgspec.structs.replace(LOST, findings=(odd,))
    assert compare(run_of([*fine(1), lost])).first_step == "nc -vz lost 22"


def test_a_hostile_run_id_and_host_stay_one_argument_each() -> None:
    host = msgspec.structs.replace(ends("a", "unread-close", "FIN"), name="a; rm -rf /")
    assert compare(run_of([host])).first_step.endswith(" 'a; rm -rf /' unread-close")


def test_every_ending_with_a_verb_is_an_ending() -> None:
    assert ENDING_VERBS.keys() <= {*get_args(Ending)}


# ---- the traces of the first screen


def test_the_pair_that_differs_is_shown_first_and_both_sides_are_cut_at_one_row() -> None:
    found = compare(small_fleet()).highlight
    assert found is not None
    assert (found.scenario, found.anchor) == ("reread-fin-close", "duel-1")
    whole = compare(small_fleet()).trace_pairs[0]
    for side, of in zip(found.sides, whole.sides, strict=True):
        omitted = of.differs_at - side.differs_at
        assert omitted > 0
        assert side.trace.rows == of.trace.rows[omitted : omitted + MOST_ROWS]
        assert side.trace.rows[side.differs_at] == of.trace.rows[of.differs_at]


def test_the_pair_of_the_worst_finding_comes_before_others() -> None:
    hosts = [
        FLEET.host("old", K510),
        FLEET.host("new", K618),
        FLEET.host("odd", K612, instead=[observe(UNREAD, "ipv4", "FIN")]),
    ]
    found = compare(run_of(hosts))
    assert found.trace_pairs[0].scenario == "unread-close"
    others = [observe(READ_LATE, "ipv4", "FIN"), observe(READ_LATE, "ipv6", "FIN")]
    late = compare(run_of([*hosts[:2], FLEET.host("odd", K612, instead=others)]))
    assert late.highlight is not None
    assert late.highlight.scenario == "partly-read-close"


def test_without_a_pair_the_trace_of_the_worst_finding_is_shown() -> None:
    found = compare(run_of([ends("a", "unread-close", "FIN")])).highlight
    assert found is not None
    (side,) = found.sides
    assert (side.ending, side.trace.title) == ("FIN", "unread-close over IPv4")
    assert compare(run_of(fine(2))).highlight is None


def test_a_scenario_that_is_not_declared_has_a_status() -> None:
    rows: tuple[ScenarioRow, ...] = ()
    bare = msgspec.structs.replace(run_of([ends("a", "unread-close", "FIN")]), scenarios=rows)
    assert compare(bare).status.level == "act"
