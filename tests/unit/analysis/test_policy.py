"""A playbook made from a run: it parses, its host meets it, and text of a host is harmless."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetaudit.analysis.judge import judge_host
from fleetaudit.analysis.policy import (
    LEFT_OUT,
    behaviour_of_host,
    behaviour_of_majority,
    render_playbook,
)
from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import (
    Audited,
    AuditRun,
    Ending,
    Finding,
    Host,
    HostPlan,
    Inventory,
    LocalTarget,
    Sysctl,
)
from fleetaudit.playbook import parse_playbook
from fleetaudit.playbook.plan import make_plan
from tests.support.runs import (
    K510,
    K612,
    SCENARIOS,
    Fleet,
    by_name,
    missing,
    observe,
    run_of,
    small_fleet,
)

RMEM = "net.ipv4.tcp_rmem"


def plan_of(text: str, name: str) -> HostPlan:
    inventory = Inventory(sources=("i",), hosts=(Host(name=name),), groups={"all": (name,)})
    books = [parse_playbook(text, source="policy.yml")]
    return make_plan(
        inventory,
        books,
        targets={name: LocalTarget()},
        selected=[name],
        select=lambda pattern: [name],
    ).hosts[0]


def by(text: str, host: Audited) -> list[Finding]:
    """Returns the findings of a host that is judged by a policy."""
    return list(judge_host(host, plan_of(text, host.name)).findings)


def audited(run: AuditRun, name: str) -> Audited:
    host = next(host for host in run.hosts if host.name == name)
    assert isinstance(host, Audited)
    return host


def policy(run: AuditRun, name: str) -> str:
    return render_playbook(run, behaviour_of_host(run, name))


# ---- one golden host -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app01", "web001", "db1.example.net", "app07", "app08"])
def test_the_golden_host_meets_the_policy_that_was_made_of_it(name: str) -> None:
    run = small_fleet()
    text = policy(run, name)
    assert by(text, audited(run, name)) == []
    plan = plan_of(text, name)
    assert len(plan.scenarios) >= 7
    assert len(plan.sysctls_expect) >= 5


def test_another_host_has_findings_where_it_differs() -> None:
    run = small_fleet()
    text = policy(run, "app01")
    found = {f.id: (f.expected, f.observed) for f in by(text, audited(run, "web006"))}
    assert found == {
        "scenario:reread-fin-close/ipv4": ("FIN", "RST"),
        "scenario:reread-fin-close/ipv6": ("FIN", "RST"),
        "sysctl:net.ipv4.tcp_fin_timeout": ("60", "120"),
        "sysctl:net.ipv4.tcp_limit_output_bytes": ("4194304", "1048576"),
    }


def test_a_golden_host_that_resets_expects_the_reset_with_a_control() -> None:
    plan = plan_of(policy(small_fleet(), "web001"), "x")
    found = {s.name: s for s in plan.scenarios}
    assert (found["reread-fin-close"].expect, found["reread-fin-close"].control) == (
        ("RST",),
        "drained-close",
    )
    assert found["zero-linger-close"].is_positive_control


def test_a_difference_is_a_warning_at_least() -> None:
    plan = plan_of(policy(small_fleet(), "app01"), "x")
    assert {s.severity for s in plan.scenarios} == {"warning", "error"}


def test_a_policy_has_the_trials_and_families_of_the_run() -> None:
    plan = plan_of(policy(small_fleet(), "app01"), "x")
    was = {s.name: s for s in SCENARIOS if s.name != "unread-unix-close"}
    for scenario in plan.scenarios:
        assert scenario.steps == was[scenario.name].steps
        assert scenario.families == was[scenario.name].families
    assert plan.trials == 3


def test_an_unknown_ending_is_omitted_with_its_reason() -> None:
    run = small_fleet()
    text = policy(run, "app08")
    assert "# Left out: urgent-read-close over ipv6: inconclusive: the trials disagree" in text
    (urgent,) = [s for s in plan_of(text, "x").scenarios if s.name == "urgent-read-close"]
    assert urgent.families == ("ipv4",)
    assert "reread-fin-close" not in {s.name for s in plan_of(policy(run, "app07"), "x").scenarios}


def test_a_scenario_that_ends_differently_by_family_is_omitted_with_both_endings() -> None:
    run = run_of(
        [Fleet().host("a", K612, instead=[observe(by_name("partly-read-close"), "ipv6", "FIN")])]
    )
    text = policy(run, "a")
    assert (
        "# Left out: partly-read-close: it ends differently (RST over ipv4, FIN over ipv6)" in text
    )
    assert "partly-read-close" not in {s.name for s in plan_of(text, "x").scenarios}


def test_a_reset_without_a_scenario_that_ends_in_fin_is_omitted() -> None:
    only = tuple(by_name(name) for name in ("zero-linger-close", "unread-close"))
    run = run_of([Fleet(scenarios=only, rules={}).host("a", K612)], only)
    text = policy(run, "a")
    assert [s.name for s in plan_of(text, "x").scenarios] == ["zero-linger-close"]
    assert "# Left out: unread-close: it ends in RST, and no other scenario ends in FIN" in text


def test_a_reset_without_the_positive_control_is_omitted() -> None:
    only = tuple(by_name(name) for name in ("drained-close", "unread-close"))
    run = run_of([Fleet(scenarios=only, rules={}).host("a", K612)], only)
    assert "and the run has no positive control for it" in policy(run, "a")


# ---- sysctls -------------------------------------------------------------------------------------


def with_sysctls(**values: Sysctl) -> AuditRun:
    return run_of(
        [
            Fleet().host(
                "a", K612, sysctls={f"net.ipv4.{key}": value for key, value in values.items()}
            )
        ]
    )


def test_a_sysctl_that_depends_on_memory_or_modules_is_omitted_with_the_reason() -> None:
    run = run_of([Fleet().host("a", K612, sysctls={key: Sysctl(value="1") for key in LEFT_OUT})])
    text = policy(run, "a")
    assert not set(LEFT_OUT) & set(plan_of(text, "x").sysctls_expect)
    assert all(f"# Left out: {key}: {reason}" in text for key, reason in LEFT_OUT.items())


def test_the_maximum_of_the_buffers_is_omitted_and_the_rest_expected() -> None:
    run = run_of([Fleet().host("a", K612)])
    text = policy(run, "a")
    rules = plan_of(text, "x").sysctls_expect[RMEM]
    assert [(rule.position, rule.equals) for rule in rules] == [(1, "4096"), (2, "131072")]
    smaller = Fleet().host("b", K612, sysctls={RMEM: Sysctl(value="4096 131072 999999")})
    assert by(text, smaller) == []
    other = Fleet().host("b", K612, sysctls={RMEM: Sysctl(value="8192 131072 6291456")})
    assert [f.id for f in by(text, other)] == [f"sysctl:{RMEM}"]


def test_an_absent_sysctl_must_be_absent_and_an_unreadable_one_is_omitted() -> None:
    run = with_sysctls(
        tcp_absent=Sysctl(state="absent"), tcp_secret=Sysctl(state="unreadable: EACCES")
    )
    text = policy(run, "a")
    rules = plan_of(text, "x").sysctls_expect
    assert rules["net.ipv4.tcp_absent"][0].present is False
    assert "net.ipv4.tcp_secret" not in rules
    assert "# Left out: net.ipv4.tcp_secret: unreadable: EACCES" in text


# ---- most of a fleet -----------------------------------------------------------------------------


def test_the_behaviour_of_most_hosts_is_expected_and_a_tie_is_omitted() -> None:
    fin_timeout, rfc1337 = "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_rfc1337"
    hosts = [
        Fleet().host(
            name, kernel, sysctls={fin_timeout: Sysctl(value=seconds), rfc1337: Sysctl(value=flag)}
        )
        for name, kernel, seconds, flag in [
            ("a", K612, "60", "0"),
            ("b", K612, "60", "0"),
            ("c", K510, "60", "1"),
            ("d", K510, "9", "1"),
        ]
    ]
    text = render_playbook(run_of(hosts), behaviour_of_majority(run_of(hosts)))
    plan = plan_of(text, "x")
    assert [rule.equals for rule in plan.sysctls_expect[fin_timeout]] == ["60"]
    assert rfc1337 not in plan.sysctls_expect
    assert f"# Left out: {rfc1337}: the hosts do not agree: “0” on 2, “1” on 2" in text
    assert (
        "# Left out: reread-fin-close over ipv4: the hosts do not agree: “FIN” on 2, “RST” on 2"
        in text
    )
    assert {s.name: s.expect for s in plan.scenarios}["unread-close"] == ("RST",)


def test_void_and_silent_hosts_do_not_count() -> None:
    gone = missing("c", "connect", "no answer", "")
    odd = [
        observe(by_name("reread-fin-close"), family, "RST")
        for family in by_name("reread-fin-close").families
    ]
    void = [Fleet().host(name, K612, void="a control failed", instead=odd) for name in ("d", "e")]
    run = run_of([Fleet().host("a", K612), gone, *void])
    plan = plan_of(render_playbook(run, behaviour_of_majority(run)), "x")
    assert {s.name: s.expect for s in plan.scenarios}["reread-fin-close"] == ("FIN",)


def test_hosts_that_prove_nothing_make_no_policy() -> None:
    run = run_of(
        [Fleet().host("a", K612, void="a control failed"), missing("b", "connect", "no answer", "")]
    )
    for name, message in (
        ("a", "proves nothing in the run .*: a control failed"),
        ("b", "not audited"),
        ("c", "no host “c”"),
    ):
        with pytest.raises(NothingToDoError, match=message):
            behaviour_of_host(run, name)
    with pytest.raises(NothingToDoError, match="no host of the run"):
        behaviour_of_majority(run)


def test_a_run_with_unknown_steps_makes_no_policy() -> None:
    run = small_fleet()
    odd = msgspec.structs.replace(run.scenarios[0], steps=("closer waves goodbye",))
    with pytest.raises(InputError, match="make no playbook"):
        policy(msgspec.structs.replace(run, scenarios=(odd, *run.scenarios[1:])), "app01")


# ---- hostile hosts -------------------------------------------------------------------------------

HOSTILE = [
    "x\n- name: injected\n  hosts: all",
    "x # {} [] & * ! | > ' \" % @ `",
    "\x85- name: injected",
    "\u2028- name: injected\u2029\ufeff",
    "\x1b[2J\x00\x07",
    '"}}\n      net.ipv4.tcp_sack: {equals: "0"}',
    "{{ lookup('pipe', 'id') }}",
    "!!python/object/apply:os.system [id]",
    "\U0001f4a5\U0010ffff é",
    "yes",
    "0x1f",
    "null",
]


def hostile_run(text: str) -> AuditRun:
    host = Fleet().host(
        "a",
        msgspec.structs.replace(K612, release=text),
        sysctls={
            "net.ipv4.tcp_odd": Sysctl(value=text),
            f"net.{text}": Sysctl(value="1"),
            RMEM: Sysctl(value=text),
        },
        instead=[observe(by_name("urgent-read-close"), "ipv4", "inconclusive", reason=text)],
    )
    return run_of([msgspec.structs.replace(host, name=text)])


def keys_of(plays: Iterable[dict[str, object]]) -> list[set[str]]:
    return [set(play) for play in plays]


def check_inert(text: str) -> None:
    run = hostile_run(text)
    made = policy(run, text)
    assert keys_of(yaml.safe_load(made)) == [
        {"name", "hosts", "trials", "families", "scenarios", "sysctls"}
    ], "one play, and no key that was not ours"
    rules = plan_of(made, "x").sysctls_expect
    assert rules["net.ipv4.tcp_odd"][0].equals == " ".join(text.split())
    assert set(rules) <= {*audited(run, text).sysctls}
    assert "net.ipv4.tcp_sack" not in rules
    assert all(c == "\n" or c.isprintable() for c in made), "nothing in it moves a cursor"
    assert by(made, audited(run, text)) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_host_is_one_value(text: str) -> None:
    check_inert(text)


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=60))
def test_no_text_of_a_host_becomes_structure(text: str) -> None:
    check_inert(text)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([(s.name, family) for s in SCENARIOS for family in s.families]),
        st.sampled_from(
            [
                "FIN",
                "RST",
                "FIN, then RST",
                "nothing",
                "inconclusive",
                "not run",
                "sent, not delivered",
            ]
        ),
    )
)
def test_any_mixture_of_endings_makes_a_policy_that_its_host_meets(
    endings: dict[tuple[str, str], Ending],
) -> None:
    instead = [
        observe(s, family, endings[(s.name, family)])
        for s in SCENARIOS
        for family in s.families
        if (s.name, family) in endings
    ]
    run = run_of([Fleet().host("a", K612, instead=instead)])
    assert by(policy(run, "a"), audited(run, "a")) == []


# ---- the command ---------------------------------------------------------------------------------
