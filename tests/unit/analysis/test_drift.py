"""Drift: what is a regression, how hosts are paired, first dates, and rates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis import drift
from fleetaudit.analysis.compare import compare, summarize_changes
from fleetaudit.model import (
    Audited,
    AuditRun,
    Change,
    Ending,
    Exposure,
    Finding,
    HostResult,
    Kernel,
    NotAudited,
    Observation,
    Scenario,
    Sysctl,
    SysctlExpectation,
)
from fleetaudit.report.changes import changes_text
from fleetaudit.report.html import render
from tests import SCHEMAS
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

SCHEMA = SCHEMAS / "drift.schema.json"
FLEET = Fleet()
UNREAD = by_name("unread-close")
FIN_TIMEOUT = "net.ipv4.tcp_fin_timeout"

CHANGED_KEY = Finding(
    id="host-key:changed", severity="error", expected="SHA256:old", observed="SHA256:new"
)


def run_on(
    day: str, *hosts: HostResult, scenarios: Iterable[Scenario] = SCENARIOS, **about: Any
) -> AuditRun:
    """A run of that day, from two o'clock to four minutes past."""
    run = run_of(hosts, scenarios)
    times = {"id": f"{day}T020000Z", "started": f"{day}T02:00:00Z", "finished": f"{day}T02:04:00Z"}
    return msgspec.structs.replace(run, run=msgspec.structs.replace(run.run, **(times | about)))


def web(*instead: Observation, **more: Any) -> Audited:
    return FLEET.host("web1", more.pop("kernel", K612), instead=instead, **more)


def ends(ending: Ending, **more: Any) -> tuple[Observation, ...]:
    """The host's unread close over IPv4 ends so."""
    return (observe(UNREAD, "ipv4", ending, **more),)


def changed(before: HostResult, after: HostResult) -> list[tuple[str, str, str, str, str]]:
    found = drift.compute_drift(run_on("2026-01-01", before), run_on("2026-01-02", after))
    assert not found.refused
    return [(c.effect, c.kind, c.what, c.before, c.after) for c in found.changes]


# ---- endings -------------------------------------------------------------------------------------

MIXED = {"RST": 2, "FIN": 1}


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (ends("RST"), ends("FIN"), "regression"),
        (ends("RST"), ends("nothing"), "regression"),
        (ends("RST"), ends("sent, not delivered"), "regression"),
        (ends("FIN"), ends("RST"), "fix"),
        (ends("RST"), ends("RST"), None),
        (ends("FIN"), ends("nothing"), "changed"),
        (ends("RST"), ends("inconclusive"), "no longer told"),
        (ends("RST"), ends("not run"), "no longer told"),
        (ends("FIN"), ends("inconclusive"), "no longer told"),
        (ends("RST"), ends("RST", seen=MIXED), "no longer told"),
        (ends("inconclusive"), ends("RST"), "told again"),
        (ends("inconclusive"), ends("FIN"), "told again"),
        (ends("not run"), ends("inconclusive"), "changed"),
        (ends("inconclusive"), ends("inconclusive"), None),
        (ends("RST", seen=MIXED), ends("RST", seen={"RST": 1, "FIN": 2}), None),
        (ends("FIN"), ends("FIN", seen={"FIN": 2, "nothing": 1}), "changed"),
    ],
    ids=lambda value: (
        value[0].ending + "+" * (len(value[0].endings) > 1)
        if isinstance(value, tuple)
        else str(value)
    ),
)
def test_the_effect_of_another_ending(
    before: tuple[Observation, ...], after: tuple[Observation, ...], effect: str | None
) -> None:
    found = changed(web(*before), web(*after))
    assert [(c[0], c[1], c[2]) for c in found] == (
        [(effect, "scenario", "scenario:unread-close/ipv4")] if effect else []
    )


def test_a_change_has_both_observations_and_why_the_present_one_is_unknown() -> None:
    (change,) = changed(web(), web(*ends("inconclusive", seen=MIXED, reason="the trials disagree")))
    assert change[3:] == ("RST", "FIN (1 of 3 trials), RST (2 of 3 trials): the trials disagree")


def test_a_planned_scenario_without_a_report_is_unknown_and_an_unplanned_one_is_not_a_change() -> (
    None
):
    whole = web()
    silent = msgspec.structs.replace(whole, observations=whole.observations[:2])
    assert changed(whole, silent) == []
    judged = msgspec.structs.replace(
        silent,
        findings=(
            Finding(
                id="scenario:unread-close/ipv6", severity="warning", expected="RST", observed="none"
            ),
        ),
    )
    assert [c[:3] for c in changed(whole, judged)] == [
        ("no longer told", "scenario", "scenario:unread-close/ipv6")
    ]


def test_a_void_host_is_one_change_and_its_endings_are_not_compared() -> None:
    void = web(*ends("FIN"), void="the control drained-close ended in RST")
    (change,) = changed(web(), void)
    assert change[:2] == ("no longer told", "controls")
    assert "drained-close ended in RST" in change[4]
    assert [c[:2] for c in changed(void, web())] == [("told again", "controls")]
    assert changed(void, void) == []


def test_both_runs_are_measured_by_the_present_expectation_and_the_edit_is_noted() -> None:
    other = [
        msgspec.structs.replace(s, expect=("FIN",)) if s.name == UNREAD.name else s
        for s in SCENARIOS
    ]
    edited = Fleet(scenarios=tuple(other))
    before = run_on("2026-01-01", web())
    after = run_on("2026-01-02", edited.host("web1", K612), scenarios=other)
    after = msgspec.structs.replace(after, hosts=(edited.host("web1", K612, instead=ends("RST")),))
    found = drift.compute_drift(before, after)
    # IPv4 resets as ever, which is now wrong and was not; IPv6 went from RST to FIN, which is now
    # right.
    assert [(c.effect, c.what) for c in found.changes] == [("fix", "scenario:unread-close/ipv6")]
    assert any(
        "“unread-close” is expected to end in FIN now, and was in RST" in note
        for note in found.notes
    )


def test_another_ending_without_an_applying_expectation_is_a_change_and_not_a_regression() -> None:
    unwanted = web(*ends("FIN"))
    unwanted = msgspec.structs.replace(
        unwanted, findings=()
    )  # the expectation does not apply to this host
    assert [c[0] for c in changed(web(), unwanted)] == ["changed"]
    assert [c[0] for c in changed(unwanted, web())] == ["changed"]


# ---- sysctls and what the host is ----------------------------------------------------------------


def read(
    value: str | None, *, key: str = FIN_TIMEOUT, default: str | None = "60", state: str = ""
) -> Audited:
    return web(sysctls={key: Sysctl(value=value, default=default, state=state)})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (read("60"), read("120"), [("regression", "sysctl")]),
        (read("120"), read("60"), [("fix", "sysctl")]),
        (read("120"), read("180"), [("changed", "sysctl")]),
        (read("60"), read("30"), [("changed", "sysctl")]),
        (read("60"), read(" 60\n"), []),
        (read("60"), read(None, state="unreadable: EACCES"), [("no longer told", "sysctl")]),
        (read(None, state="unreadable: EACCES"), read("60"), [("told again", "sysctl")]),
        (read("60"), read(None, state="absent"), [("regression", "sysctl")]),
        (
            read("1", key="net.ipv4.tcp_sack"),
            read("0", key="net.ipv4.tcp_sack"),
            [("changed", "sysctl")],
        ),
        (web(), read("0", key="net.ipv4.tcp_sack"), []),  # only collected since
    ],
)
def test_the_effect_of_another_sysctl(
    before: Audited, after: Audited, expected: list[tuple[str, str]]
) -> None:
    assert [c[:2] for c in changed(before, after)] == expected


def test_a_new_expectation_in_the_playbook_is_not_a_regression_of_the_host() -> None:
    strict = Fleet(rules={FIN_TIMEOUT: SysctlExpectation(at_most=10)})
    lax = Fleet(rules={"net.ipv4.tcp_rfc1337": SysctlExpectation(equals="1")})
    found = changed(lax.host("web1", K612), strict.host("web1", K612))
    assert [c[:3] for c in found] == [("changed", "expectation", f"sysctl:{FIN_TIMEOUT}")]
    assert found[0][3:] == ("no finding", "expected at most 10")
    lower = {FIN_TIMEOUT: Sysctl(value="30", default="60")}
    found = changed(lax.host("web1", K612), strict.host("web1", K612, sysctls=lower))
    assert [c[:2] for c in found] == [("changed", "sysctl"), ("changed", "expectation")]


def test_another_default_under_the_same_value_is_a_change_of_the_host() -> None:
    fleet = Fleet(rules={FIN_TIMEOUT: SysctlExpectation(is_default=True)})
    before, after = (
        fleet.host("web1", K612, sysctls={FIN_TIMEOUT: Sysctl(value="60", default=default)})
        for default in ("60", "30")
    )
    (change,) = changed(before, after)
    assert change[:2] == ("regression", "sysctl")
    assert change[3:] == ("60 (this kernel's default: 60)", "60 (this kernel's default: 30)")


def test_another_kernel_has_its_own_changes_and_new_sysctls() -> None:
    newer = web(sysctls={"net.ipv4.tcp_rto_max_ms": Sysctl(value="120000", default="120000")})
    found = {(c[0], c[2]): c[3:] for c in changed(web(kernel=K510), newer)}
    assert found[("changed", "kernel")] == (K510.release, K612.release)
    assert found[("changed", "sysctl:net.ipv4.tcp_rto_max_ms")] == ("absent", "120000")
    assert found[("fix", "scenario:reread-fin-close/ipv4")] == ("RST", "FIN")
    assert ("changed", "operating system") in found


def test_a_rebuild_of_the_same_release_is_another_kernel_too() -> None:
    again = Kernel(release=K612.release, version="#2 SMP", machine="x86_64")
    old = web()
    (change,) = changed(old, msgspec.structs.replace(old, kernel=again))
    assert change[:3] == ("changed", "kernel", "kernel")
    assert "#2 SMP" in change[4]


def test_a_new_or_removed_waiver_is_a_change() -> None:
    broken = read("120")
    waived = msgspec.structs.replace(
        broken,
        findings=tuple(
            msgspec.structs.replace(f, waived="ann until 2026-12-31: x") for f in broken.findings
        ),
    )
    (change,) = changed(waived, broken)
    assert change == (
        "changed",
        "waiver",
        f"sysctl:{FIN_TIMEOUT}",
        "ann until 2026-12-31: x",
        "not waived",
    )
    assert changed(waived, waived) == []
    found = drift.compute_drift(run_on("2026-01-01", web()), run_on("2026-01-02", waived))
    assert [(c.effect, c.waived) for c in found.changes] == [
        ("regression", "ann until 2026-12-31: x")
    ]
    # What is accepted is what is so now: neither the word of a waiver that came or went, nor what
    # is met again.
    assert [row.waived for row in summarize_changes(found).rows] == ["ann until 2026-12-31: x"]
    for before, after in ((waived, broken), (broken, waived), (waived, web())):
        days = run_on("2026-01-01", before), run_on("2026-01-02", after)
        run = msgspec.structs.replace(days[1], drift=drift.compute_drift(*days))
        assert run.drift is not None
        (row,) = summarize_changes(run.drift).rows
        assert row.waived is None
        section = (
            render(compare(run), generated="")
            .partition('<section id="changes"')[2]
            .partition("</section>")[0]
        )
        assert "<s>" not in section
        assert "; waived: " not in changes_text(summarize_changes(run.drift))


@pytest.mark.parametrize(
    ("observed", "after", "effects"),
    [
        ("7 (7 of 1000)", None, ["fix"]),
        (None, "7 (7 of 1000)", ["regression"]),
        ("8", "9", []),
        ("8", "unknown: no counter", ["no longer told"]),
        ("unknown: none", None, ["told again"]),
        # in runs of earlier versions
        ("could not be told: none", None, ["told again"]),
    ],
)
def test_other_findings_are_compared_by_their_ids(
    observed: str | None, after: str | None, effects: list[str]
) -> None:
    def host(text: str | None) -> Audited:
        found = (
            []
            if text is None
            else [Finding(id="exposure:x", severity="error", expected="at most 5", observed=text)]
        )
        return msgspec.structs.replace(web(), findings=tuple(found), expectations=("exposure:x",))

    assert [c[0] for c in changed(host(observed), host(after))] == effects


# ---- which host is which -------------------------------------------------------------------------


def machine(name: str, id_: str, *instead: Observation) -> Audited:
    return msgspec.structs.replace(FLEET.host(name, K612, instead=instead), machine_id=id_)


def drift_of(before: Iterable[HostResult], after: Iterable[HostResult]) -> list[tuple[str, str]]:
    found = drift.compute_drift(run_on("2026-01-01", *before), run_on("2026-01-02", *after))
    return [(c.effect, c.host) for c in found.changes]


FIN = ends("FIN")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(
            [machine("a", "1")],
            [machine("a", "1", *FIN)],
            [("regression", "a")],
            id="same name, same id",
        ),
        pytest.param(
            [machine("a", "")],
            [machine("a", "1", *FIN)],
            [("regression", "a")],
            id="no id to speak of",
        ),
        pytest.param(
            [machine("a", "1")], [machine("a", "2", *FIN)], [("rebuilt", "a")], id="rebuilt"
        ),
        pytest.param(
            [machine("a", "1")],
            [machine("b", "1", *FIN)],
            [("regression", "b"), ("renamed", "b")],
            id="renamed, and compared all the same",
        ),
        pytest.param(
            [machine("a", "1"), machine("b", "2")],
            [machine("a", "2"), machine("b", "1")],
            [("rebuilt", "a"), ("rebuilt", "b")],
            id="two names that swapped machines are not renamed",
        ),
        pytest.param(
            [machine("a", "1"), machine("b", "1")],
            [machine("a", "1"), machine("b", "1", *FIN)],
            [("regression", "b")],
            id="clones go by name",
        ),
        pytest.param(
            [machine("a", "1"), machine("b", "1")],
            [machine("a", "2", *FIN), machine("b", "3")],
            [("regression", "a")],
            id="clones that got ids of their own were not rebuilt",
        ),
        pytest.param(
            [machine("a", "1"), machine("b", "1"), machine("c", "9")],
            [machine("d", "1"), machine("c", "9")],
            [("gone", "a"), ("gone", "b"), ("new host", "d")],
            id="which clone was renamed nobody knows",
        ),
        pytest.param(
            [machine("a", "1"), machine("c", "9")],
            [machine("c", "9"), machine("b", "2")],
            [("gone", "a"), ("new host", "b")],
            id="gone and new",
        ),
        pytest.param(
            [machine("a", "1")],
            [missing("a", "connect", "no answer", "ping")],
            [("newly not audited", "a")],
            id="newly not audited",
        ),
        pytest.param(
            [missing("a", "connect", "no answer", "ping")],
            [machine("a", "1")],
            [("audited again", "a")],
            id="again",
        ),
        pytest.param(
            [missing("a", "connect", "no answer", "")],
            [missing("a", "host key", "it changed", "")],
            [("changed", "a")],
            id="not audited for another reason",
        ),
        pytest.param(
            [missing("a", "host key", "unknown host key", "")],
            [
                msgspec.structs.replace(
                    missing("a", "host key", "changed host key", ""), findings=(CHANGED_KEY,)
                )
            ],
            [("changed", "a")],
            id="the host key that was unknown has changed",
        ),
        pytest.param(
            [missing("a", "connect", "no answer", "")],
            [missing("a", "connect", "refused", "")],
            [],
            id="still not",
        ),
    ],
)
def test_hosts_are_paired_by_name_and_machine_id(
    before: list[HostResult], after: list[HostResult], expected: list[tuple[str, str]]
) -> None:
    assert drift_of(before, after) == expected


NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)
IDS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["", "1", "2", "3", "4"]))


def bare(name: str, id_: str | None) -> HostResult:
    if id_ is None:
        return NotAudited(name=name, stage="connect", reason="r")
    return Audited(name=name, kernel=K612, isolation="namespace", machine_id=id_)


@given(NAMES, IDS, NAMES, IDS)
def test_every_host_of_either_run_is_counted_exactly_once(
    names_before: list[str],
    ids_before: dict[str, str],
    names_after: list[str],
    ids_after: dict[str, str],
) -> None:
    before = [bare(name, ids_before.get(name)) for name in names_before]
    after = [bare(name, ids_after.get(name)) for name in names_after]
    found = drift.compute_drift(
        run_on("2026-01-01", *before, scenarios=()), run_on("2026-01-02", *after, scenarios=())
    )
    if found.refused:
        assert "no host in common" in found.refused
        return
    count = {
        effect: sum(1 for c in found.changes if c.effect == effect)
        for effect in ("rebuilt", "gone", "new host")
    }
    assert found.hosts + count["rebuilt"] + count["gone"] == len(before)
    assert found.hosts + count["rebuilt"] + count["new host"] == len(after)
    common = set(names_before) & set(names_after)
    reported = {c.host for c in found.changes if c.effect in ("gone", "new host", "renamed")}
    assert not reported & common  # a name that is in both runs is never gone, new or renamed


# ---- whether they can be compared ----------------------------------------------------------------


def test_a_scenario_of_the_same_name_with_other_steps_refuses_the_comparison() -> None:
    other = [
        msgspec.structs.replace(s, steps=(*s.steps, s.steps[-1])) if s.name == UNREAD.name else s
        for s in SCENARIOS
    ]
    found = drift.compute_drift(
        run_on("2026-01-01", web()), run_on("2026-01-02", web(*FIN), scenarios=other)
    )
    assert found.refused == "the steps of “unread-close” differ between the two runs"
    assert (found.changes, found.is_unchanged) == ((), False)


def test_other_playbooks_and_other_hosts_refuse_the_comparison() -> None:
    bare_host = Audited(name="web1", kernel=K612, isolation="namespace")
    found = drift.compute_drift(
        run_on("2026-01-01", bare_host, scenarios=SCENARIOS[:2]),
        run_on("2026-01-02", bare_host, scenarios=SCENARIOS[2:]),
    )
    assert "no scenario and no sysctl in common" in found.refused
    found = drift.compute_drift(
        run_on("2026-01-01", web()), run_on("2026-01-02", FLEET.host("db1", K612))
    )
    assert "no host in common" in found.refused


def test_scenarios_of_one_run_only_are_noted_and_not_a_change() -> None:
    found = drift.compute_drift(
        run_on("2026-01-01", web(), scenarios=SCENARIOS[1:]),
        run_on("2026-01-02", web(), scenarios=SCENARIOS[:-1]),
    )
    assert found.is_unchanged
    assert found.notes == (
        f"“{SCENARIOS[0].name}” was not in the earlier run.",
        f"“{SCENARIOS[-1].name}” was not in the later run.",
    )


@pytest.mark.parametrize("about", [{"limit": "web*"}, {"shard": "1/2"}])
def test_hosts_outside_of_another_limit_are_noted_and_not_gone(about: dict[str, Any]) -> None:
    db = FLEET.host("db1", K612)
    found = drift.compute_drift(
        run_on("2026-01-01", web(), db), run_on("2026-01-02", web(), **about)
    )
    assert found.is_unchanged
    assert "1 host that was in one run only is left out" in found.notes[0]


def test_a_run_is_the_same_as_itself() -> None:
    assert drift.compute_drift(small_fleet(), small_fleet()).is_unchanged


# ---- order, dates and rates ----------------------------------------------------------------------


def test_regressions_come_first_by_severity_then_fixes_then_the_rest() -> None:
    before: list[HostResult] = [
        read("60"),
        FLEET.host("web2", K510, sysctls={FIN_TIMEOUT: Sysctl(value="120", default="60")}),
        missing("web3", "connect", "no answer", ""),
        FLEET.host("old1", K612),
    ]
    after: list[HostResult] = [
        msgspec.structs.replace(
            read("120"),
            observations=web(*FIN).observations,
            findings=(*web(*FIN).findings, *read("120").findings),
        ),
        FLEET.host("web2", K612),
        FLEET.host("web3", K612),
    ]
    found = drift.compute_drift(run_on("2026-01-01", *before), run_on("2026-01-02", *after))
    effects = [c.effect for c in found.changes]
    assert effects == sorted(
        effects, key=["regression", "fix", "told again", "changed", "audited again", "gone"].index
    )
    assert [(c.effect, c.severity) for c in found.changes[:2]] == [
        ("regression", "error"),
        ("regression", "warning"),
    ]
    kinds = [c.kind for c in found.changes if c.effect == "changed"]
    assert kinds == sorted(kinds, key=["scenario", "sysctl", "kernel", "system"].index)


def test_a_finding_keeps_the_date_of_its_first_run() -> None:
    first = run_on("2026-01-01", *drift.set_first_seen([read("120")], [], "2026-01-01"))
    assert [f.since for f in first.hosts[0].findings] == ["2026-01-01"]
    second = run_on(
        "2026-01-02",
        *drift.set_first_seen(
            [web(*FIN, sysctls=dict(read("120").sysctls))], [first], "2026-01-02"
        ),
    )
    assert {f.id: f.since for f in second.hosts[0].findings} == {
        f"sysctl:{FIN_TIMEOUT}": "2026-01-01",
        "scenario:unread-close/ipv4": "2026-01-02",
    }
    gone = run_on("2026-01-03", *drift.set_first_seen([web()], [second, first], "2026-01-03"))
    back = drift.set_first_seen([read("120")], [gone, second, first], "2026-01-04")
    assert [f.since for f in back[0].findings] == ["2026-01-04"]  # it was gone in between
    away = run_on("2026-01-03", missing("web1", "connect", "no answer", ""))
    back = drift.set_first_seen([read("120")], [away, second, first], "2026-01-04")
    assert [f.since for f in back[0].findings] == [
        "2026-01-01"
    ]  # the newest run that audited it decides


def test_dates_belong_to_the_machine_and_not_to_a_reused_name() -> None:
    first = run_on("2026-01-01", msgspec.structs.replace(read("120"), machine_id="1"))
    other = msgspec.structs.replace(read("120"), machine_id="2")
    moved = msgspec.structs.replace(read("120"), machine_id="1", name="web9")
    dates = [
        h.findings[0].since for h in drift.set_first_seen([other, moved], [first], "2026-01-02")
    ]
    assert dates == [
        "2026-01-02",
        "2026-01-02",
    ]  # “web1” is in both runs, so “web9” is no renamed one
    dates = [h.findings[0].since for h in drift.set_first_seen([moved], [first], "2026-01-02")]
    assert dates == ["2026-01-01"]


def test_a_regression_has_the_date_of_the_later_run_and_a_fix_that_of_its_finding() -> None:
    old = run_on("2026-01-01", *drift.set_first_seen([read("120")], [], "2025-11-30"))
    (fix,) = drift.compute_drift(old, run_on("2026-01-05", read("60"))).changes
    assert (fix.effect, fix.since) == ("fix", "2025-11-30")
    (regression,) = drift.compute_drift(
        run_on("2026-01-01", read("60")), run_on("2026-01-05", read("120"))
    ).changes
    assert (regression.effect, regression.since) == ("regression", "2026-01-05")


DAY_S = 86400.0


def with_counters(
    uptime_s: float | None, aborts: int, opened: int, accepted: int, **more: int
) -> Audited:
    counters = {"TCPAbortOnClose": aborts, "ActiveOpens": opened, "PassiveOpens": accepted, **more}
    return web(exposure=Exposure(uptime_s=uptime_s, counters=counters))


@pytest.mark.parametrize(
    ("before", "after", "per_thousand", "reason"),
    [
        (
            with_counters(9 * DAY_S, 100, 5_000, 5_000),
            with_counters(10 * DAY_S, 130, 6_000, 6_000),
            15.0,
            "",
        ),
        (with_counters(None, 100, 5_000, 5_000), with_counters(None, 100, 6_000, 6_000), 0.0, ""),
        (
            with_counters(9 * DAY_S, 100, 5_000, 5_000),
            with_counters(0.5 * DAY_S, 130, 6_000, 6_000),
            None,
            "rebooted",
        ),
        # Booted soon after the first run, so its uptime is larger than before, but not by a day.
        (
            with_counters(0.1 * DAY_S, 1, 50, 50),
            with_counters(0.9 * DAY_S, 130, 6_000, 6_000),
            None,
            "rebooted",
        ),
        (
            with_counters(9 * DAY_S, 100, 5_000, 5_000),
            with_counters(10 * DAY_S, 99, 6_000, 6_000),
            None,
            "smaller than before",
        ),
        (
            with_counters(None, 100, 5_000, 5_000),
            with_counters(None, 130, 10, 10),
            None,
            "smaller than before",
        ),
        (
            with_counters(9 * DAY_S, 100, 5_000, 5_000),
            with_counters(10 * DAY_S, 100, 5_000, 5_000),
            None,
            "no connection",
        ),
        (web(exposure=Exposure(counters={})), with_counters(None, 1, 1, 1), None, "are unknown"),
        (with_counters(None, 1, 1, 1), web(exposure=Exposure(counters={})), None, "are unknown"),
        # Fewer connections are open now, and another counter could not be read: neither began anew.
        (
            with_counters(None, 100, 50, 50, CurrEstab=9, OutRsts=7),
            with_counters(None, 130, 1_050, 1_050, CurrEstab=2),
            15.0,
            "",
        ),
    ],
)
def test_counters_become_rates_over_the_time_between_unless_they_were_reset(
    before: Audited, after: Audited, per_thousand: float | None, reason: str
) -> None:
    found = drift.compute_drift(run_on("2026-01-01", before), run_on("2026-01-02", after))
    (rate,) = found.rates
    assert (rate.host, rate.seconds, rate.per_thousand) == ("web1", DAY_S, per_thousand)
    assert reason in rate.reason
    assert bool(rate.reason) == (per_thousand is None)
    assert found.is_unchanged  # production is never still, and that is no drift


@given(
    st.floats(0, 1e7),
    st.floats(0, 1e7),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_only_a_host_that_stayed_up_has_a_rate(
    up_before: float, up_after: float, aborts: int, connections: int, more: int
) -> None:
    before, after = (
        with_counters(up_before, aborts, connections, 0),
        with_counters(up_after, aborts + more, connections + more + 1, 0),
    )
    (rate,) = drift.compute_drift(run_on("2026-01-01", before), run_on("2026-01-02", after)).rates
    if rate.per_thousand is None:
        assert up_after < up_before + DAY_S
    else:
        assert (
            up_after >= up_before + DAY_S - 300
        )  # the runs took four minutes, and clocks may differ by one
        assert 0 <= rate.per_thousand <= 1000


def test_runs_with_unreadable_times_have_no_rates_and_are_compared() -> None:
    before = run_on("2026-01-01", with_counters(1.0, 1, 1, 1), started="yesterday")
    found = drift.compute_drift(before, run_on("2026-01-02", with_counters(1.0, 1, 1, 1)))
    assert (found.rates, found.changes) == ((), ())


# ---- for readers ---------------------------------------------------------------------------------


def mutated() -> tuple[AuditRun, AuditRun]:
    """Two runs of the small fleet, between which a good deal happened."""
    before = small_fleet()
    replaced: Mapping[str, HostResult] = {
        "web001": FLEET.host("web001", K612, groups=("web",)),
        "web002": FLEET.host(
            "web002", K510, instead=[observe(UNREAD, f, "FIN") for f in UNREAD.families]
        ),
        "web003": FLEET.host(
            "web003", K510, instead=[observe(UNREAD, f, "FIN") for f in UNREAD.families]
        ),
        "app01": missing("app01", "connect", "no answer from app01:22", "nc"),
        "app02": missing("app02", "connect", "no answer from app02:22", "nc"),
    }
    hosts = tuple(replaced.get(h.name, h) for h in before.hosts)[:-1]
    after = msgspec.structs.replace(before, hosts=hosts)
    about = msgspec.structs.replace(
        after.run, id="2026-11-23T020000Z", started="2026-11-23T02:00:00Z"
    )
    after = msgspec.structs.replace(after, run=about)
    return before, msgspec.structs.replace(after, drift=drift.compute_drift(before, after))


def test_the_published_schema_is_current_and_a_drift_satisfies_it() -> None:
    assert SCHEMA.read_bytes() == drift.json_schema()
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    found = mutated()[1].drift
    assert found is not None
    as_json = json.loads(drift.encode(found))
    validator.validate(as_json)
    as_json["changes"][0]["effect"] = "improved"
    assert not validator.is_valid(as_json)


def test_rows_have_every_change_of_every_host_exactly_once() -> None:
    found = mutated()[1].drift
    assert found is not None
    changes = summarize_changes(found)
    families = [max(1, len(row.detail.split(" and "))) for row in changes.rows]
    assert sum(n * row.hosts.count for n, row in zip(families, changes.rows, strict=True)) == len(
        found.changes
    )
    counts = {words: n for n, words in changes.counts}
    assert counts["regressed"] == len({c.host for c in found.changes if c.effect == "regression"})
    assert set(counts.values()) == {
        len({c.host for c in found.changes if c.effect == e})
        for e in {c.effect for c in found.changes}
    }
    assert changes.rows[0].hosts.ranges == ("web[002-003]",)
    assert changes.rows[0].detail == "IPv4 and IPv6"
    (lost,) = [row for row in changes.rows if row.effect == "newly not audited"]
    assert (lost.hosts.ranges, lost.after) == (
        ("app[01-02]",),
        "not audited: connect: no answer from ‹host›:22",
    )


def test_text_and_page_show_regressions_first_with_the_date_first_seen() -> None:
    run = mutated()[1]
    assert run.drift is not None
    lines = changes_text(summarize_changes(run.drift), width=200).splitlines()
    assert lines[0].startswith(
        "Changed since 2026-11-22T020000Z: 2 hosts regressed (unread-close on 2), 1 host fixed"
    )
    assert (
        lines[1]
        == "  regression (error)  unread-close (IPv4 and IPv6): RST → FIN, first seen 2026-11-23:"
        " web[002-003]"
    )
    page = render(compare(run), generated="2026-11-23T02:05:00Z")
    assert '<h2 id="changes-h">What changed since 2026-11-22T02:00:00Z</h2>' in page
    section = page[page.index('id="changes"') :]
    assert section.index("regression") < section.index("fix")
    assert "first seen <bdi>2026-11-23</bdi>" in page
    assert 'id="changes"' not in render(compare(small_fleet()), generated="2026-11-23T02:05:00Z")


def test_text_of_a_host_is_harmless_in_a_change() -> None:
    hostile = "<script>alert(1)</script>\x1b[2J\u202e"
    nasty = msgspec.structs.replace(
        web(), kernel=Kernel(release=hostile, version="#1", machine="x")
    )
    found = drift.compute_drift(run_on("2026-01-01", web()), run_on("2026-01-02", nasty))
    run = msgspec.structs.replace(run_on("2026-01-02", nasty), drift=found)
    text, page = (
        changes_text(summarize_changes(found)),
        render(compare(run), generated="2026-01-02T02:05:00Z"),
    )
    assert "alert(1)" in text
    assert "\x1b" not in text + page
    assert "\u202e" not in text + page
    assert "<script>alert" not in page


def test_a_change_names_its_finding_so_that_a_script_can_join_them() -> None:
    found = mutated()[1]
    assert found.drift is not None
    ids = {(h.name, f.id) for h in found.hosts for f in h.findings}

    def stands(change: Change) -> bool:
        return (change.host, change.what) in ids

    assert all(stands(c) for c in found.drift.changes if c.effect == "regression")
    assert not any(stands(c) for c in found.drift.changes if c.effect == "fix")
