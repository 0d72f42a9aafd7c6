"""Observations compared with expectations: every difference is a finding, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis.judge import expectation_status, judge_fleet, judge_host
from fleetaudit.analysis.judge.exposure import EXPOSURE_NUMBERS
from fleetaudit.analysis.judge.fleet import SAME_ENDING
from fleetaudit.model import (
    EXPECTABLE_ENDINGS,
    Audited,
    Condition,
    Ending,
    Expectation,
    Exposure,
    ExposureExpectation,
    Finding,
    HostResult,
    Kernel,
    Observation,
    Plan,
    Sysctl,
    SysctlExpectation,
    UnreadSockets,
)
from tests.support.runs import (
    K510,
    K612,
    Fleet,
    by_name,
    exposure_of,
    missing,
    observe,
)

ENDINGS: tuple[Ending, ...] = (
    *EXPECTABLE_ENDINGS,
    "sent, not delivered",
    "inconclusive",
    "not run",
)


def ids(audited: Audited) -> list[str]:
    return [f.id for f in audited.findings]


def test_a_host_that_meets_every_expectation_has_no_finding() -> None:
    assert Fleet().host("a", K612).findings == ()


def test_an_unexpected_ending_is_a_finding_with_the_severity_of_the_scenario() -> None:
    old = Fleet().host("a", K510)
    assert ids(old) == ["scenario:reread-fin-close/ipv4", "scenario:reread-fin-close/ipv6"]
    assert {(f.severity, f.expected, f.observed) for f in old.findings} == {("info", "FIN", "RST")}
    assert "5f9238530970" in old.findings[0].because


def test_sent_but_not_delivered_is_a_finding_if_a_reset_was_expected() -> None:
    host = Fleet().host(
        "a", K612, instead=[observe(by_name("unread-close"), "ipv4", "sent, not delivered")]
    )
    (finding,) = host.findings
    assert (finding.severity, finding.observed) == ("error", "sent, not delivered")


@pytest.mark.parametrize("name", ["unread-close", "partly-read-close", "reread-fin-close"])
def test_an_unknown_ending_is_a_warning_at_most_and_never_met(name: str) -> None:
    scenario = by_name(name)
    (finding,) = (
        Fleet()
        .host(
            "a", K612, instead=[observe(scenario, "ipv4", "inconclusive", reason="two witnesses")]
        )
        .findings
    )
    assert finding.severity == {"error": "warning"}.get(scenario.severity, scenario.severity)
    assert finding.observed == "unknown: inconclusive; two witnesses"


def test_trials_that_disagree_are_a_finding_even_if_the_verdict_is_expected() -> None:
    seen = observe(by_name("unread-close"), "ipv6", "RST", seen={"RST": 2, "FIN": 1})
    (finding,) = Fleet().host("a", K612, instead=[seen]).findings
    assert finding.observed == "unknown: FIN (1 of 3 trials), RST (2 of 3 trials)"


def test_a_scenario_that_was_not_run_is_not_a_finding() -> None:
    assert (
        Fleet()
        .host("a", K612, instead=[observe(by_name("unread-close"), "ipv4", "not run")])
        .findings
        == ()
    )


def test_a_scenario_that_the_host_does_not_report_is_a_finding() -> None:
    fleet = Fleet()
    host = fleet.host("a", K612)
    silent = msgspec.structs.replace(host, observations=host.observations[2:])
    assert [(f.id, f.severity) for f in judge_host(silent, fleet.plan("a")).findings] == [
        ("scenario:drained-close/ipv4", "warning"),
        ("scenario:drained-close/ipv6", "warning"),
    ]


def test_a_void_host_has_one_finding_named_after_its_failed_control_and_keeps_its_sysctls() -> None:
    host = Fleet().host(
        "a",
        K612,
        void="a control failed",
        instead=[
            observe(by_name("zero-linger-close"), "ipv6", "FIN"),
            observe(by_name("unread-close"), "ipv4", "FIN"),
        ],
        sysctls={"net.ipv4.tcp_fin_timeout": Sysctl(value="99", default="60")},
    )
    assert ids(host) == ["control:zero-linger-close/ipv6", "sysctl:net.ipv4.tcp_fin_timeout"]
    assert host.findings[0].severity == "error"
    assert "a control failed" in host.findings[0].observed


def test_a_void_host_with_good_controls_still_has_the_reason() -> None:
    (finding,) = Fleet().host("a", K612, void="the capture lost packets").findings
    assert (finding.id, finding.observed) == ("control:run", "the capture lost packets")


@pytest.mark.parametrize(
    ("rule", "sysctl", "observed"),
    [
        (SysctlExpectation(equals="4096 1 2"), Sysctl(value="4096\t1  2\n"), None),
        (SysctlExpectation(equals="1"), Sysctl(value="01"), "01"),
        (SysctlExpectation(one_of=("0", "2")), Sysctl(value="2"), None),
        (SysctlExpectation(one_of=("0", "2")), Sysctl(value="1"), "1"),
        (SysctlExpectation(at_least=60), Sysctl(value="60"), None),
        (SysctlExpectation(at_least=60), Sysctl(value="59"), "59"),
        (SysctlExpectation(at_most=60), Sysctl(value="60"), None),
        (SysctlExpectation(at_most=60), Sysctl(value="61"), "61"),
        (SysctlExpectation(at_least=1, at_most=3), Sysctl(value="4"), "4"),
        (SysctlExpectation(at_most=60), Sysctl(value="4096 131072"), "4096 131072"),
        (SysctlExpectation(at_most=60), Sysctl(value=""), ""),
        (SysctlExpectation(equals="1"), Sysctl(state="absent"), "absent"),
        (SysctlExpectation(equals="1"), Sysctl(state="unreadable: EACCES"), "unreadable: EACCES"),
        (SysctlExpectation(equals="1"), None, "not read"),
    ],
)
def test_a_sysctl_is_compared_with_exactly_its_expectations(
    rule: SysctlExpectation, sysctl: Sysctl | None, observed: str | None
) -> None:
    fleet = Fleet(rules={"net.x": rule})
    host = fleet.host("a", K612, sysctls={"net.x": sysctl} if sysctl else {})
    assert [f.observed for f in host.findings] == ([] if observed is None else [observed])


def one(value: str) -> dict[str, Sysctl]:
    return {"net.x": Sysctl(value=value, default="5")}


def test_an_expectation_without_a_fix_gets_the_command_that_sets_the_value() -> None:
    (finding,) = Fleet(rules={"net.x": SysctlExpectation(equals="1  2")}).host("a", K612).findings
    assert finding.fix == ""  # it is not there, so it cannot be set
    (finding,) = (
        Fleet(rules={"net.x": SysctlExpectation(equals="1  2")})
        .host("a", K612, sysctls=one("0 2"))
        .findings
    )
    assert finding.fix.startswith("sysctl -w net.x='1 2' && printf '\\n%s\\n' 'net.x = 1 2' ")
    (finding,) = (
        Fleet(rules={"net.x": SysctlExpectation(equals="1", fix="ask the net team")})
        .host("a", K612)
        .findings
    )
    assert finding.fix == "ask the net team"


def test_judging_twice_gives_the_same_findings_and_changes_no_observation() -> None:
    fleet = Fleet()
    once = fleet.host("a", K510)
    twice = judge_host(once, fleet.plan("a"))
    assert twice == once


def test_findings_are_in_order_of_severity_and_then_of_id() -> None:
    host = Fleet().host(
        "a",
        K510,
        sysctls={
            "net.ipv4.tcp_abort_on_overflow": Sysctl(value="1", default="0"),
            "net.ipv4.tcp_fin_timeout": Sysctl(value="99", default="60"),
        },
    )
    assert [f.severity for f in host.findings] == ["error", "warning", "info", "info"]


@given(
    ending=st.sampled_from(ENDINGS),
    trials=st.dictionaries(st.sampled_from(ENDINGS), st.integers(1, 9), max_size=3),
    expect=st.sets(st.sampled_from(EXPECTABLE_ENDINGS), min_size=1),
)
def test_an_expectation_is_met_only_by_an_ending_known_in_every_trial(
    ending: Ending, trials: dict[str, int], expect: set[Ending]
) -> None:
    seen = Observation(
        scenario="s", family="ipv4", ending=ending, trials=sum(trials.values()), endings={**trials}
    )
    if expectation_status(seen, expect) == "met":
        assert ending in expect
        assert set(trials) <= expect


# ---- sysctls: what else a rule can ask -----------------------------------------------------------


def judged(
    *rules: SysctlExpectation,
    sysctl: Sysctl | None = None,
    kernel: Kernel = K612,
    groups: tuple[str, ...] = (),
) -> Audited:
    fleet = Fleet(rules={})
    plan = msgspec.structs.replace(fleet.plan("a", groups), sysctls_expect={"net.x": rules})
    return judge_host(
        fleet.host("a", kernel, groups=groups, sysctls={"net.x": sysctl} if sysctl else {}), plan
    )


@pytest.mark.parametrize(
    ("rule", "sysctl", "observed"),
    [
        (SysctlExpectation(is_default=True), Sysctl(value="1", default="1"), None),
        (SysctlExpectation(is_default=True), Sysctl(value="1\t2", default="1 2"), None),
        (SysctlExpectation(is_default=True), Sysctl(value="2", default="1"), "2"),
        (SysctlExpectation(is_default=True), Sysctl(value="2"), "unknown: 2"),
        (SysctlExpectation(is_default=True), Sysctl(state="absent"), "absent"),
        (SysctlExpectation(present=True), Sysctl(value="1"), None),
        (SysctlExpectation(present=True), Sysctl(state="unreadable: EACCES"), None),
        (SysctlExpectation(present=True), Sysctl(state="absent"), "absent"),
        (SysctlExpectation(present=True), None, "not read"),
        (SysctlExpectation(present=True, at_most=1), Sysctl(value="2"), "2"),
        (SysctlExpectation(present=False), Sysctl(state="absent"), None),
        (SysctlExpectation(present=False), Sysctl(value="1"), "1"),
        (
            SysctlExpectation(present=False),
            Sysctl(state="unreadable: EACCES"),
            "unreadable: EACCES",
        ),
        (SysctlExpectation(present=False), None, "not read"),
        (SysctlExpectation(position=2, at_least=5), Sysctl(value="9 4 9"), "9 4 9"),
        (SysctlExpectation(matches="cubic|bbr"), Sysctl(value="reno"), "reno"),
    ],
)
def test_an_expectation_of_a_default_a_presence_or_a_position(
    rule: SysctlExpectation, sysctl: Sysctl | None, observed: str | None
) -> None:
    assert [f.observed for f in judged(rule, sysctl=sysctl).findings] == (
        [] if observed is None else [observed]
    )


def test_an_unknown_default_is_a_warning_at_most() -> None:
    (finding,) = judged(
        SysctlExpectation(is_default=True, severity="error"), sysctl=Sysctl(value="2")
    ).findings
    assert finding.severity == "warning"


def test_the_line_that_sets_a_sysctl_at_boot_is_shown_with_its_value() -> None:
    fleet = Fleet(rules={"net.x": SysctlExpectation(equals="1")})
    host = fleet.host("a", K612, sysctls=one("0"))
    for places, words in (
        (("/etc/sysctl.conf:68",), "0 (set at boot by /etc/sysctl.conf:68)"),
        (("/etc/sysctl.conf:68", "/etc/sysctl.d/zz.conf:1"), "or /etc/sysctl.d/zz.conf:1)"),
    ):
        (finding,) = judge_host(
            msgspec.structs.replace(host, sysctl_places={"net.x": places}), fleet.plan("a")
        ).findings
        assert finding.observed.endswith(words)


def test_several_unmet_expectations_are_one_finding_with_the_greatest_severity() -> None:
    host = judged(
        SysctlExpectation(position=1, at_least=4096, because="One."),
        SysctlExpectation(position=2, at_least=1, because="Met."),
        SysctlExpectation(position=3, at_least=6291456, severity="error", because="Three."),
        sysctl=Sysctl(value="1024 131072 131072"),
    )
    (finding,) = host.findings
    assert (finding.id, finding.severity, finding.because) == (
        "sysctl:net.x",
        "error",
        "One. Three.",
    )
    assert finding.expected == "first number at least 4096 and third number at least 6291456"
    assert finding.fix.startswith("sysctl -w net.x='4096 131072 6291456' && ")
    assert host.expectations == ("sysctl:net.x",)


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        (Condition(groups=("web",)), True),
        (Condition(groups=("db",)), False),
        (Condition(kernel=">=6.12"), True),
        (Condition(kernel="<6.12"), False),
        (Condition(groups=("web",), kernel="<6.12"), False),
    ],
)
def test_an_expectation_counts_only_where_it_applies(when: Condition, counts: bool) -> None:
    host = judged(
        SysctlExpectation(equals="1", when=when), sysctl=Sysctl(value="0"), groups=("web",)
    )
    assert (len(host.findings), len(host.expectations)) == (counts, counts)


@pytest.mark.parametrize(("kernel", "found"), [(K510, 0), (K612, 2)])
def test_a_scenario_is_judged_only_on_its_kernels(kernel: Kernel, found: int) -> None:
    reread = msgspec.structs.replace(
        by_name("reread-fin-close"), when=Condition(kernel=">=6.1"), severity="error"
    )
    fleet = Fleet(scenarios=(by_name("drained-close"), reread), rules={})
    seen = [observe(reread, family, "RST") for family in reread.families]
    assert len(fleet.host("a", kernel, instead=seen).findings) == found


# ---- production ----------------------------------------------------------------------------------


def shown(exposure: Exposure | None, **rules: ExposureExpectation) -> Audited:
    fleet = Fleet(rules={})
    plan = msgspec.structs.replace(
        fleet.plan("a"), exposure_expect={name: (rule,) for name, rule in rules.items()}
    )
    return judge_host(fleet.host("a", K612, exposure=exposure), plan)


def test_aborts_per_thousand_connections_are_compared_with_their_bound() -> None:
    host = shown(
        exposure_of(6, 1000),
        aborts_on_close_per_thousand=ExposureExpectation(at_most=5.0, severity="error"),
    )
    (finding,) = host.findings
    assert (finding.id, finding.severity) == ("exposure:aborts_on_close_per_thousand", "error")
    assert (finding.expected, finding.observed) == ("at most 5", "6.00 (6 of 1000 connections)")
    assert "shutdown(SHUT_WR)" in finding.fix
    assert host.expectations == ("exposure:aborts_on_close_per_thousand",)
    assert (
        shown(
            exposure_of(5, 1000), aborts_on_close_per_thousand=ExposureExpectation(at_most=5.0)
        ).findings
        == ()
    )
    assert (
        shown(
            exposure_of(0, 0), aborts_on_close_per_thousand=ExposureExpectation(at_most=0.0)
        ).findings
        == ()
    )


@pytest.mark.parametrize("name", EXPOSURE_NUMBERS)
def test_a_number_that_the_host_does_not_report_is_a_warning_and_never_met(name: str) -> None:
    for exposure in (None, Exposure(), Exposure(counters={"TCPAbortOnClose": 7})):
        (finding,) = shown(
            exposure, **{name: ExposureExpectation(at_most=0.0, severity="error")}
        ).findings
        assert finding.severity == "warning"
        assert finding.observed.startswith("unknown: ")


def test_a_partial_scan_can_show_too_many_and_never_few_enough() -> None:
    def scan(sockets: int) -> Exposure:
        return Exposure(
            unread_sockets=UnreadSockets(sockets=sockets, bytes=0, scanned=9, partial=True)
        )

    rule = ExposureExpectation(at_most=3.0, severity="error")
    (many,) = shown(scan(4), unread_sockets=rule).findings
    (few,) = shown(scan(2), unread_sockets=rule).findings
    assert (many.severity, many.observed) == ("error", "4 or more")
    assert (few.severity, few.observed) == ("warning", "unknown: 2 or more")
    assert shown(scan(4), unread_sockets=ExposureExpectation(at_least=3.0)).findings == ()
    (unknown,) = shown(scan(2), unread_sockets=ExposureExpectation(at_least=3.0)).findings
    assert unknown.observed == "unknown: 2 or more"


def test_a_counter_is_compared_with_its_bound() -> None:
    exposure = Exposure(counters={"TCPAbortFailed": 2})
    (finding,) = shown(exposure, aborts_failed=ExposureExpectation(at_most=0.0)).findings
    assert (finding.id, finding.observed) == ("exposure:aborts_failed", "2")


# ---- the whole fleet -----------------------------------------------------------------------------

SAME = {SAME_ENDING: (Expectation(severity="error", because="One code."),)}


def whole(
    hosts: Sequence[HostResult], kernels: Mapping[str, tuple[Expectation, ...]] = SAME
) -> dict[str, HostResult]:
    plans = tuple(
        msgspec.structs.replace(Fleet().plan(host.name, host.groups), kernels_expect=dict(kernels))
        for host in hosts
    )
    judged_ = judge_fleet(hosts, Plan(playbooks=("mine.yml",), hosts=plans))
    assert [host.name for host in judged_] == [host.name for host in hosts]
    return {host.name: host for host in judged_}


def odd(name: str, kernel: Kernel = K612, void: str = "") -> Audited:
    return Fleet().host(
        name, kernel, instead=[observe(by_name("reread-fin-close"), "ipv4", "RST")], void=void
    )


def of_fleet(host: HostResult) -> list[Finding]:
    return [finding for finding in host.findings if finding.id.startswith("kernel:")]


def test_a_host_with_another_ending_than_most_of_its_build_has_a_finding() -> None:
    hosts = whole(
        [Fleet().host("a", K612), odd("b"), Fleet().host("c", K612), Fleet().host("d", K510)]
    )
    (finding,) = of_fleet(hosts["b"])
    assert finding.id == "kernel:same-ending:reread-fin-close/ipv4"
    assert (finding.severity, finding.because) == ("error", "One code.")
    assert finding.observed == "RST; of 3 hosts of this build: FIN on 2, RST on 1"
    assert hosts["b"].findings[0] == finding, "the most severe comes first"
    usual = hosts["a"]
    assert isinstance(usual, Audited)
    assert finding.id in usual.expectations
    assert not any(of_fleet(hosts[name]) for name in "acd")


def test_without_a_most_frequent_ending_all_hosts_of_a_build_have_the_finding() -> None:
    hosts = whole([Fleet().host("a", K612), odd("b")])
    assert [len(of_fleet(host)) for host in hosts.values()] == [1, 1]


def test_only_hosts_of_one_release_version_and_machine_are_compared() -> None:
    rebuilt = msgspec.structs.replace(K612, version="#2 SMP")
    hosts = whole([Fleet().host("a", K612), odd("b", rebuilt)])
    assert not any(of_fleet(host) for host in hosts.values())


def test_void_hosts_unknown_endings_and_silent_hosts_are_not_compared() -> None:
    gone = missing("c", "connect", "no answer", "nc -vz c 22")
    unknown = Fleet().host(
        "d", K612, instead=[observe(by_name("unread-close"), "ipv4", "sent, not delivered")]
    )
    hosts = whole([Fleet().host("a", K612), odd("b", void="a control failed"), gone, unknown])
    assert not any(of_fleet(host) for host in hosts.values())
    assert hosts["c"] is gone


def test_without_such_an_expectation_the_fleet_is_unchanged() -> None:
    hosts = [Fleet().host("a", K612), odd("b")]
    assert list(whole(hosts, {}).values()) == hosts


def test_an_expectation_of_the_fleet_applies_only_to_its_groups() -> None:
    expectations = {SAME_ENDING: (Expectation(when=Condition(groups=("web",))),)}
    hosts = whole(
        [Fleet().host("a", K612, groups=("web",)), odd("b"), Fleet().host("c", K612)], expectations
    )
    assert not any(of_fleet(host) for host in hosts.values())


def test_judging_the_fleet_again_replaces_its_findings_and_judging_a_host_keeps_them() -> None:
    once = whole([Fleet().host("a", K612), odd("b"), Fleet().host("c", K612)])
    again = whole(list(once.values()))
    assert again == once
    b = once["b"]
    assert isinstance(b, Audited)
    assert set(judge_host(b, Fleet().plan("b")).findings) == set(b.findings)
    assert not any(of_fleet(host) for host in whole(list(once.values()), {}).values())


# ---- cures ---------------------------------------------------------------------------------------


def test_a_finding_has_the_remedy_unless_the_playbook_has_a_fix() -> None:
    old = Fleet(rules={}).host("a", K510)
    assert "5.10.246" in old.findings[0].fix
    mine = msgspec.structs.replace(by_name("reread-fin-close"), fix="Ask the kernel team.")
    judged_host = Fleet(scenarios=(by_name("drained-close"), mine), rules={}).host("a", K510)
    assert [f.fix for f in judged_host.findings] == ["Ask the kernel team."] * 2
