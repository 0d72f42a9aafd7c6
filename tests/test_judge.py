"""What the playbook wants against what was seen: every way to differ is a finding, and nothing else is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.judge import judge, relation
from fleetaudit.model import EXPECTABLE, Audited, Ending, Observation, Sysctl, SysctlRule

from .runs import K510, K612, Fleet, by_name, observe

ENDINGS: tuple[Ending, ...] = (*EXPECTABLE, "sent, not delivered", "inconclusive", "not run")


def ids(audited: Audited) -> list[str]:
    return [f.id for f in audited.findings]


def test_a_host_that_does_what_the_playbook_wants_has_no_finding() -> None:
    assert Fleet().host("a", K612).findings == ()


def test_an_ending_that_is_none_of_the_expected_is_a_finding_of_the_scenarios_severity() -> None:
    old = Fleet().host("a", K510)
    assert ids(old) == ["scenario:reread-fin-close/ipv4", "scenario:reread-fin-close/ipv6"]
    assert {(f.severity, f.expected, f.observed) for f in old.findings} == {("info", "FIN", "RST")}
    assert "5f9238530970" in old.findings[0].because


def test_sent_but_not_delivered_is_a_finding_where_a_reset_was_expected() -> None:
    host = Fleet().host("a", K612, instead=[observe(by_name("unread-close"), "ipv4", "sent, not delivered")])
    (finding,) = host.findings
    assert (finding.severity, finding.observed) == ("error", "sent, not delivered")


@pytest.mark.parametrize("name", ["unread-close", "partly-read-close", "reread-fin-close"])
def test_what_could_not_be_told_is_a_warning_at_most_and_never_passes_as_met(name: str) -> None:
    scenario = by_name(name)
    (finding,) = (
        Fleet().host("a", K612, instead=[observe(scenario, "ipv4", "inconclusive", reason="two witnesses")]).findings
    )
    assert finding.severity == {"error": "warning"}.get(scenario.severity, scenario.severity)
    assert finding.observed == "could not be told: inconclusive; two witnesses"


def test_trials_that_disagree_are_a_finding_even_if_the_verdict_is_the_expected_one() -> None:
    seen = observe(by_name("unread-close"), "ipv6", "RST", seen={"RST": 2, "FIN": 1})
    (finding,) = Fleet().host("a", K612, instead=[seen]).findings
    assert finding.observed == "could not be told: FIN (1 of 3 trials), RST (2 of 3 trials)"


def test_a_scenario_that_was_not_run_is_no_finding() -> None:
    assert Fleet().host("a", K612, instead=[observe(by_name("unread-close"), "ipv4", "not run")]).findings == ()


def test_a_scenario_that_the_host_does_not_report_is_a_finding() -> None:
    fleet = Fleet()
    host = fleet.host("a", K612)
    silent = msgspec.structs.replace(host, observations=host.observations[2:])
    assert [(f.id, f.severity) for f in judge(silent, fleet.plan("a")).findings] == [
        ("scenario:drained-close/ipv4", "warning"),
        ("scenario:drained-close/ipv6", "warning"),
    ]


def test_a_void_host_has_one_finding_named_after_its_failed_control_and_keeps_its_sysctls() -> None:
    host = Fleet().host(
        "a",
        K612,
        void="a control failed",
        instead=[observe(by_name("drained-close"), "ipv6", "RST"), observe(by_name("unread-close"), "ipv4", "FIN")],
        sysctls={"net.ipv4.tcp_fin_timeout": Sysctl(value="99", default="60")},
    )
    assert ids(host) == ["control:drained-close/ipv6", "sysctl:net.ipv4.tcp_fin_timeout"]
    assert host.findings[0].severity == "error"
    assert "a control failed" in host.findings[0].observed


def test_a_void_host_whose_controls_look_well_still_says_why_it_is_void() -> None:
    (finding,) = Fleet().host("a", K612, void="the capture lost packets").findings
    assert (finding.id, finding.observed) == ("control:run", "the capture lost packets")


@pytest.mark.parametrize(
    ("rule", "sysctl", "observed"),
    [
        (SysctlRule(equals="4096 1 2"), Sysctl(value="4096\t1  2\n"), None),
        (SysctlRule(equals="1"), Sysctl(value="01"), "01"),
        (SysctlRule(one_of=("0", "2")), Sysctl(value="2"), None),
        (SysctlRule(one_of=("0", "2")), Sysctl(value="1"), "1"),
        (SysctlRule(at_least=60), Sysctl(value="60"), None),
        (SysctlRule(at_least=60), Sysctl(value="59"), "59"),
        (SysctlRule(at_most=60), Sysctl(value="60"), None),
        (SysctlRule(at_most=60), Sysctl(value="61"), "61"),
        (SysctlRule(at_least=1, at_most=3), Sysctl(value="4"), "4"),
        (SysctlRule(at_most=60), Sysctl(value="4096 131072"), "4096 131072"),
        (SysctlRule(at_most=60), Sysctl(value=""), ""),
        (SysctlRule(equals="1"), Sysctl(state="absent"), "absent"),
        (SysctlRule(equals="1"), Sysctl(state="unreadable: EACCES"), "unreadable: EACCES"),
        (SysctlRule(equals="1"), None, "not read"),
    ],
)
def test_a_sysctl_is_held_to_exactly_the_given_rules(
    rule: SysctlRule, sysctl: Sysctl | None, observed: str | None
) -> None:
    fleet = Fleet(rules={"net.x": rule})
    host = fleet.host("a", K612, sysctls={"net.x": sysctl} if sysctl else {})
    assert [f.observed for f in host.findings] == ([] if observed is None else [observed])


def test_a_rule_without_a_fix_of_its_own_gets_the_command_that_sets_the_value() -> None:
    (finding,) = Fleet(rules={"net.x": SysctlRule(equals="1  2")}).host("a", K612).findings
    assert finding.fix == "sysctl -w net.x='1 2'"
    (finding,) = Fleet(rules={"net.x": SysctlRule(equals="1", fix="ask the net team")}).host("a", K612).findings
    assert finding.fix == "ask the net team"


def test_judging_twice_gives_the_same_findings_and_changes_nothing_that_was_seen() -> None:
    fleet = Fleet()
    once = fleet.host("a", K510)
    twice = judge(once, fleet.plan("a"))
    assert twice == once


def test_findings_come_gravest_first_and_then_by_id() -> None:
    host = Fleet().host("a", K510, sysctls={"net.ipv4.tcp_abort_on_overflow": Sysctl(value="1", default="0"),
                                            "net.ipv4.tcp_fin_timeout": Sysctl(value="99", default="60")})  # fmt: skip
    assert [f.severity for f in host.findings] == ["error", "warning", "info", "info"]


@given(
    ending=st.sampled_from(ENDINGS),
    trials=st.dictionaries(st.sampled_from(ENDINGS), st.integers(1, 9), max_size=3),
    expect=st.sets(st.sampled_from(EXPECTABLE), min_size=1),
)
def test_an_expectation_is_met_only_by_an_ending_that_was_told_in_every_trial(
    ending: Ending, trials: dict[str, int], expect: set[Ending]
) -> None:
    seen = Observation(scenario="s", family="ipv4", ending=ending, trials=sum(trials.values()), endings={**trials})
    if relation(seen, expect) == "met":
        assert ending in expect
        assert set(trials) <= expect
