"""A scenario without an expectation is run and reported by every output, and is never a finding."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from fleetaudit.analysis import drift, policy
from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.judge import expectation_status, judge_host
from fleetaudit.errors import InputError
from fleetaudit.model import (
    Audited,
    AuditRun,
    Ending,
    Observation,
)
from fleetaudit.playbook import parse_playbook
from fleetaudit.probe.controls import has_failed
from fleetaudit.report import csv as table
from fleetaudit.report import (
    explain,
    html,
    junit,
    prometheus,
    sarif,
)
from fleetaudit.report.terminal import summary
from tests.support.runs import (
    K612,
    SCENARIOS,
    Fleet,
    observe,
    run_of,
    scenario,
)

ENDINGS: tuple[Ending, ...] = (
    "FIN",
    "RST",
    "FIN, then RST",
    "nothing",
    "sent, not delivered",
    "inconclusive",
    "not run",
)
WATCHED = msgspec.structs.replace(
    scenario(
        "watched-close",
        "Close, and see what comes",
        "peer sends 5 bytes;closer closes",
        control=None,
    ),
    expect=(),
)
FLEET = Fleet(scenarios=(*SCENARIOS, WATCHED))


def host(name: str, ending: Ending, release: str = "6.12.117", reason: str = "") -> Audited:
    """Returns a host that meets every expectation, and in which WATCHED ended so."""
    seen = [observe(WATCHED, family, ending, reason=reason) for family in WATCHED.families]
    return FLEET.host(name, msgspec.structs.replace(K612, release=release), instead=seen)


def run_with(*hosts: Audited) -> AuditRun:
    return run_of(hosts, FLEET.scenarios)


def observation_of(found: Audited) -> Observation:
    return next(o for o in found.observations if o.scenario == WATCHED.name)


# ---- the judge -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_ending_is_a_finding(ending: Ending) -> None:
    assert host("web1", ending, reason="why").findings == ()


def test_neither_trials_that_disagree_nor_silence_are_a_finding() -> None:
    both = [
        observe(WATCHED, f, "inconclusive", seen={"FIN": 1, "RST": 2}) for f in WATCHED.families
    ]
    assert FLEET.host("web1", K612, instead=both).findings == ()
    found = host("web1", "RST")
    silent = tuple(o for o in found.observations if o.scenario != WATCHED.name)
    assert (
        judge_host(msgspec.structs.replace(found, observations=silent), FLEET.plan("web1")).findings
        == ()
    )


def test_an_observed_scenario_meets_no_expectation() -> None:
    words = {ending: expectation_status(observe(WATCHED, "ipv4", ending), ()) for ending in ENDINGS}
    others = {"inconclusive": "untold", "not run": "not run"}
    assert words == {ending: others.get(ending, "no expectation") for ending in ENDINGS}


def test_an_observed_scenario_is_not_a_positive_control() -> None:
    assert not WATCHED.is_positive_control
    assert not any(s.is_positive_control for s in FLEET.scenarios if s.name == WATCHED.name)


# ---- the outputs ---------------------------------------------------------------------------------


DIFFER = run_with(host("web1", "RST", "5.10.218"), host("web2", "FIN"))
SAME = run_with(host("web1", "RST"), host("web2", "RST"))


def test_the_closing_text_says_how_it_ended_and_does_not_count_it() -> None:
    text = summary(compare(DIFFER), width=200)
    assert (
        "Close, and see what comes (watched-close, IPv4 and IPv6): RST on 5.10.218; FIN on"
        " 6.12.117." in text
    )
    own = [s for s in SCENARIOS if s.name not in ("drained-close", "zero-linger-close")]
    _, verdict, _ = text.split("\n\n")
    assert verdict.startswith(f"{len(own)} of {len(own)} scenarios as expected on 2 hosts")
    assert "Findings" not in text


def test_a_run_of_observed_scenarios_alone_claims_nothing_as_expected() -> None:
    only = Fleet(scenarios=(WATCHED,), rules={})
    seen = [observe(WATCHED, family, "RST") for family in WATCHED.families]
    run = run_of([only.host("web1", K612, instead=seen)], [WATCHED])
    text = summary(compare(run), width=200)
    assert "Close, and see what comes (watched-close, IPv4 and IPv6): RST on" in text
    assert "as expected" not in text
    [kernels] = compare(run).kernels
    assert kernels.name == "no expectation"
    page = html.render(compare(run), generated="2026-11-22T03:00:00Z")
    assert "1 of 1 build</a> was observed without an expectation." in page


@pytest.mark.parametrize("run", [DIFFER, SAME], ids=["differ", "same"])
def test_the_page_shows_it_without_a_verdict(run: AuditRun) -> None:
    comparison = compare(run)
    assert comparison.findings == ()
    for column in comparison.columns:
        if column.scenario == WATCHED.name:
            assert {cell.verdict for cell in column.cells} == {"no expectation"}
            assert not column.deviates
            assert column.differs == (run is DIFFER)
    verdicts = [v for p in comparison.profiles for v in p.verdicts if v.scenario == WATCHED.name]
    assert {v.verdict for v in verdicts} == {"no expectation"}
    assert all(v.trace for v in verdicts)
    assert {k.name for k in comparison.kernels} == {"met"}
    page = html.render(comparison, generated="2026-11-22T03:00:00Z")
    assert "<span>no expectation</span>" in page
    assert "nothing in particular" not in page


def test_an_observed_scenario_with_an_unknown_ending_is_not_a_finding() -> None:
    comparison = compare(run_with(host("web1", "inconclusive", reason="the witnesses disagree")))
    assert comparison.findings == ()
    (column,) = [c for c in comparison.columns if c.scenario == WATCHED.name]
    assert column.cells[0].verdict == "unknown"
    assert comparison.met.scenarios == comparison.met.scenarios_total == 7


def test_csv_has_its_ending_and_no_expectation() -> None:
    rows = [
        r
        for r in csv.DictReader(io.StringIO(table.render(DIFFER)))
        if r["scenario"] == WATCHED.name
    ]
    assert {(r["host"], r["ending"], r["expected"], r["verdict"], r["severity"]) for r in rows} == {
        ("web1", "RST", "", "no expectation", ""),
        ("web2", "FIN", "", "no expectation", ""),
    }


def test_junit_skips_it_and_says_what_was_seen() -> None:
    text = junit.render(DIFFER)
    assert 'message="no expectation; observed: RST"' in text
    assert "<failure" not in text
    assert "<error" not in text


def test_sarif_has_a_rule_and_no_result() -> None:
    (run,) = json.loads(sarif.render(DIFFER))["runs"]
    assert run["results"] == []
    (rule,) = [r for r in run["tool"]["driver"]["rules"] if r["id"] == f"scenario:{WATCHED.name}"]
    assert (
        rule["fullDescription"]["text"]
        == "Close, and see what comes: no expectation, it is only observed."
    )
    assert rule["defaultConfiguration"] == {"level": "none"}


def test_metrics_count_its_endings_and_no_finding() -> None:
    lines = prometheus.render(DIFFER).splitlines()
    assert sum('scenario="watched-close"' in line and line.endswith(" 1") for line in lines) == 4
    assert all(line.endswith(" 0") for line in lines if line.startswith("fleetaudit_findings{"))


def test_explain_says_that_nothing_is_expected() -> None:
    found = next(h for h in DIFFER.hosts if isinstance(h, Audited))
    assert "RST in 3 trials; no expectation\n" in explain.verdict_text(
        DIFFER, found, observation_of(found), width=100
    )
    (line,) = [
        x
        for x in explain.host_text(DIFFER, found, width=200).splitlines()
        if "watched-close" in x and "ipv4" in x
    ]
    assert line.endswith("no expectation")


def test_another_ending_is_a_change_and_no_regression() -> None:
    later = msgspec.structs.replace(
        DIFFER.run, id="2026-11-23T020000Z", started="2026-11-23T02:00:00Z"
    )
    after = msgspec.structs.replace(
        run_with(host("web1", "FIN", "5.10.218"), host("web2", "FIN")), run=later
    )
    assert {(c.effect, c.before, c.after) for c in drift.compute_drift(DIFFER, after).changes} == {
        ("changed", "RST", "FIN")
    }


def test_a_new_or_removed_expectation_is_noted() -> None:
    expecting = [
        msgspec.structs.replace(s, expect=("RST",)) if s is WATCHED else s for s in FLEET.scenarios
    ]
    with_ = msgspec.structs.replace(DIFFER, scenarios=run_of([], expecting).scenarios)
    came, went = drift.compute_drift(DIFFER, with_).notes, drift.compute_drift(with_, DIFFER).notes
    assert any(
        "“watched-close” is expected to end in RST now, and had no expectation;" in note
        for note in came
    )
    assert any(
        "“watched-close” has no expectation now, and was expected to end in RST;" in note
        for note in went
    )


def test_a_policy_expects_the_behaviour_of_the_golden_host() -> None:
    text = policy.render_playbook(DIFFER, policy.behaviour_of_host(DIFFER, "web2"))
    (play,) = parse_playbook(text, source="made.yml").plays
    assert next(s.expect for s in play.scenarios if s.name == WATCHED.name) == ("FIN",)


# ---- the playbook --------------------------------------------------------------------------------


PLAY = """
- name: Observed
  hosts: all
  scenarios:
    - unread-close/unread-close
    - name: watched-close
      title: Close, and see what comes
      steps: [peer sends 5 bytes, closer closes]
"""


def test_expect_may_be_left_out_and_a_control_be_named() -> None:
    for more, control in (("", None), ("      control: drained-close\n", "drained-close")):
        (play,) = parse_playbook(PLAY + more, source="own.yml").plays
        found = next(s for s in play.scenarios if s.name == "watched-close")
        assert (found.expect, found.control) == ((), control)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("      control: positive\n", "a positive control expects RST, and nothing else"),
        ("      expect:\n", "own.yml:9:14: nothing where text or a list belongs"),  # no decision
        ("      expect: []\n", "expect"),
        (
            (
                "    - {name: own-close, title: t, steps: [peer sends 5 bytes, closer closes],"
                " expect: RST, control: watched-close}\n"
            ),
            "the control “watched-close” has no expectation, so it cannot fail",
        ),
    ],
)
def test_keys_that_need_an_expectation_are_refused_without_one(more: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_playbook(PLAY + more, source="own.yml")


def test_a_control_without_an_expectation_voids_nothing() -> None:
    assert not has_failed(observe(WATCHED, "ipv4", "RST"), WATCHED)
