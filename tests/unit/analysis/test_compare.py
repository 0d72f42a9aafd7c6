"""A run compared: counts add up, builds are in numeric order, and differences are found."""

from __future__ import annotations

import html
import random

import msgspec
import pytest

from fleetaudit.analysis.compare import Comparison, compare
from fleetaudit.analysis.compare.view_model import Column
from fleetaudit.model import (
    Audited,
    AuditRun,
    Evidence,
    Finding,
    Kernel,
    Sysctl,
)
from fleetaudit.report.html import render
from tests.support.runs import (
    K510,
    K612,
    K618,
    Fleet,
    by_name,
    missing,
    observe,
    run_of,
    small_fleet,
)


@pytest.fixture(scope="module")
def fleet() -> Comparison:
    return compare(small_fleet())


def column(comparison: Comparison, scenario: str, families: str) -> Column:
    (found,) = (c for c in comparison.columns if (c.scenario, c.families) == (scenario, families))
    return found


# ---- adding up


def test_every_selected_host_is_counted_exactly_once(fleet: Comparison) -> None:
    c = fleet.coverage
    assert (c.selected, c.audited, c.not_audited, c.void, c.on_host) == (27, 18, 9, 1, 1)
    assert c.audited + c.not_audited == c.selected
    assert sum(b.hosts.count for b in fleet.builds) == c.audited
    assert sum(p.hosts.count for p in fleet.profiles) == c.audited
    assert sum(m.hosts.count for p in fleet.profiles for m in p.members) == c.audited
    assert [h.name for h in fleet.hosts] == [h.name for h in small_fleet().hosts]
    assert sum(cause.hosts.count for cause in fleet.causes) == c.not_audited


def test_a_cell_counts_every_host_of_its_build_that_ran_the_scenario(fleet: Comparison) -> None:
    for c in fleet.columns:
        for build, cell in zip(fleet.builds, c.cells, strict=True):
            assert cell.hosts + cell.void == build.hosts.count
            assert sum(n for _, n in cell.counts) == cell.hosts


def test_hosts_with_the_same_endings_share_a_profile_whatever_their_order_and_evidence() -> None:
    fleet = Fleet()
    reset = fleet.scenarios[0]
    one, other, third = (
        observe(reset, "ipv4", "inconclusive", seen=seen)
        for seen in ({"FIN": 1, "RST": 2}, {"RST": 2, "FIN": 1}, {"RST": 1, "FIN": 2})
    )
    silent = msgspec.structs.replace(other, evidence=Evidence())
    hosts = [
        fleet.host(name, K612, instead=[o]) for name, o in (("a", one), ("b", third), ("c", silent))
    ]
    assert [p.hosts.ranges for p in compare(run_of(hosts)).profiles] == [("a", "c"), ("b",)]


def test_a_run_without_hosts_or_without_audited_hosts_can_be_compared() -> None:
    assert compare(run_of([])).coverage.selected == 0
    alone = compare(run_of([missing("a", "connect", "refused", "nc -vz a 22")]))
    assert (alone.coverage.not_audited, alone.builds, alone.columns) == (1, (), ())


# ---- kernels by scenarios


def test_builds_are_in_the_order_of_their_numbers() -> None:
    releases = [
        "6.12.1",
        "6.12.0-rc3",
        "5.10.0-10-amd64",
        "5.10.0-9-amd64",
        "6.1.0",
        "7.3-rc7",
        "7.2.13",
        "7.3.0",
    ]
    hosts = [
        Fleet().host(f"h{i}", Kernel(release=r, version="#1", machine="x86_64"))
        for i, r in enumerate(releases)
    ]
    found = [b.kernel.release for b in compare(run_of(hosts)).builds]
    assert found == [
        "5.10.0-9-amd64",
        "5.10.0-10-amd64",
        "6.1.0",
        "6.12.0-rc3",
        "6.12.1",
        "7.2.13",
        "7.3-rc7",
        "7.3.0",
    ]


def test_one_release_built_twice_is_two_builds() -> None:
    again = msgspec.structs.replace(K612, version="#1 SMP built elsewhere")
    found = compare(run_of([Fleet().host("a", K612), Fleet().host("b", again)])).builds
    assert [b.hosts.ranges for b in found] == [("a",), ("b",)]
    assert {b.series for b in found} == {"6.12"}


def test_kernels_that_differ_are_found_and_a_build_with_several_endings_is_mixed(
    fleet: Comparison,
) -> None:
    c = column(fleet, "reread-fin-close", "IPv4 and IPv6")
    assert [cell.label for cell in c.cells] == ["RST", "mixed", "FIN"]
    assert c.cells[1].counts == (("FIN", 6), ("RST", 1), ("not run", 1))
    assert [(word, [b.kernel for b in builds]) for word, _, builds in c.groups] == [
        ("RST", [K510]), ("mixed", [K612]), ("FIN", [K618])
    ]  # fmt: skip
    assert c.differs
    assert {k.name: [b.kernel for b, _ in k.builds] for k in fleet.kernels} == {
        "resets": [K510],
        "mixed": [K612, K618],
    }


def test_a_scenario_with_one_ending_on_all_kernels_neither_differs_nor_deviates(
    fleet: Comparison,
) -> None:
    c = column(fleet, "zero-linger-close", "IPv4 and IPv6")
    assert (c.differs, c.deviates) == (False, False)


def test_families_have_separate_columns_only_if_a_host_ends_them_differently(
    fleet: Comparison,
) -> None:
    apart = {c.scenario for c in fleet.columns if c.families in ("IPv4", "IPv6")}
    assert apart == {"unread-close", "urgent-read-close"}
    assert column(fleet, "unread-unix-close", "AF_UNIX").cells[0].label == "RST"


def test_a_void_host_takes_no_part_in_the_comparison_and_is_counted_apart(
    fleet: Comparison,
) -> None:
    c = column(fleet, "drained-close", "IPv4 and IPv6")
    assert (c.differs, c.deviates) == (False, False)
    assert [(cell.label, cell.hosts, cell.void) for cell in c.cells] == [
        ("FIN", 6, 0),
        ("FIN", 8, 0),
        ("FIN", 3, 1),
    ]


def test_a_build_with_void_hosts_only_is_not_as_expected() -> None:
    comparison = compare(run_of([Fleet().host("a", K612, void="a control failed")]))
    assert [k.name for k in comparison.kernels] == ["void"]
    assert {cell.label for c in comparison.columns for cell in c.cells} == {"void"}


def test_one_host_whose_trials_disagree_makes_its_build_mixed(fleet: Comparison) -> None:
    cell = column(fleet, "urgent-read-close", "IPv6").cells[1]
    assert (cell.label, cell.verdict, cell.counts) == (
        "mixed",
        "unknown",
        (("RST", 7), ("mixed", 1)),
    )


def test_hosts_measured_in_the_hosts_namespace_are_counted_in_their_cells(
    fleet: Comparison,
) -> None:
    assert [cell.on_host for cell in column(fleet, "drained-close", "IPv4 and IPv6").cells] == [
        0,
        1,
        0,
    ]


def test_a_scenario_that_ran_nowhere_is_not_as_expected() -> None:
    seen = [observe(s, f, "not run") for s in Fleet().scenarios for f in s.families]
    assert [k.name for k in compare(run_of([Fleet().host("a", K612, instead=seen)])).kernels] == [
        "unknown"
    ]


# ---- findings, sysctls, causes


def test_findings_are_grouped_most_severe_first_and_families_that_agree_share_a_group(
    fleet: Comparison,
) -> None:
    assert [(f.severity, f.subject, f.detail, f.hosts) for f in fleet.findings] == [
        ("error", "zero-linger-close", "IPv4", 1),
        ("error", "unread-close", "IPv4", 1),
        ("error", "net.ipv4.tcp_abort_on_overflow", "", 1),
        ("warning", "urgent-read-close", "IPv6", 1),
        ("warning", "net.ipv4.tcp_fin_timeout", "", 1),
        ("warning", "net.ipv4.tcp_rfc1337", "", 1),
        ("info", "reread-fin-close", "IPv4 and IPv6", 7),
    ]
    assert fleet.findings[-1].rows[0].hosts.ranges == ("web[001-006]", "app06")
    assert fleet.unmet_hosts == (("error", 2), ("warning", 2), ("info", 6))


def test_findings_about_kernels_and_production_have_their_order_and_subject() -> None:
    def found(id_: str) -> Finding:
        return Finding(id=id_, severity="warning", expected="this", observed="that")

    ids = (
        "exposure:aborts_on_close_per_thousand",
        "sysctl:net.ipv4.tcp_rfc1337",
        "kernel:same-ending:unread-close/ipv6",
        "kernel:same-ending:drained-close/ipv4",
        "scenario:reread-fin-close/ipv4",
    )
    host = msgspec.structs.replace(Fleet().host("a", K612), findings=tuple(map(found, ids)))
    groups = compare(run_of([host])).findings
    assert [(g.kind, g.subject, g.detail) for g in groups] == [
        ("scenario", "reread-fin-close", "IPv4"),
        ("kernel", "drained-close", "IPv4"),
        ("kernel", "unread-close", "IPv6"),
        ("sysctl", "net.ipv4.tcp_rfc1337", ""),
        ("exposure", "aborts_on_close_per_thousand", ""),
    ]
    assert [bool(g.link) for g in groups[:3]] == [True, True, True]


def test_a_waived_finding_is_shown_with_its_reason_and_not_counted() -> None:
    host = Fleet().host("a", K510)
    waived = tuple(
        msgspec.structs.replace(f, waived="until the upgrade (ops)") for f in host.findings
    )
    comparison = compare(run_of([msgspec.structs.replace(host, findings=waived)]))
    (group,) = comparison.findings
    assert (group.hosts, group.waived, group.rows[0].waived) == (0, 1, "until the upgrade (ops)")
    assert comparison.unmet_hosts == ()


def test_only_sysctls_that_vary_break_an_expectation_or_differ_from_the_default_are_shown(
    fleet: Comparison,
) -> None:
    assert {s.key: s.why for s in fleet.sysctls} == {
        "net.ipv4.tcp_abort_on_overflow": "not as expected, varies",
        "net.ipv4.tcp_fin_timeout": "not as expected, varies, changed from the default",
        "net.ipv4.tcp_limit_output_bytes": "varies",
        "net.ipv4.tcp_rfc1337": "not as expected, varies, changed from the default",
    }
    assert fleet.sysctls_read == 6


def test_a_sysctl_that_differs_only_in_white_space_does_not_vary() -> None:
    hosts = [Fleet().host(n, K612, sysctls={"net.x": Sysctl(value=v, default="1 2")}) for n, v in
             (("a", "1 2"), ("b", "1\t2\n"))]  # fmt: skip
    assert "net.x" not in {s.key for s in compare(run_of(hosts)).sysctls}


def test_a_value_that_breaks_an_expectation_is_always_listed() -> None:
    key = "net.ipv4.tcp_fin_timeout"
    hosts = [
        Fleet().host(f"h{i}", K612, sysctls={key: Sysctl(value=str(i), default="60")})
        for i in range(1, 61)
    ]
    hosts.append(Fleet().host("late", K612, sysctls={key: Sysctl(value="999", default="60")}))
    (view,) = (s for s in compare(run_of(hosts)).sysctls if s.key == key)
    assert view.values[0].hosts.ranges == ("late",)
    assert sum(v.hosts.count for v in view.values) + view.omitted_hosts == 61
    assert len(view.values) + view.omitted == 61


def test_hosts_with_the_same_failure_share_a_cause_and_keep_their_own_next_commands(
    fleet: Comparison,
) -> None:
    (cause,) = (c for c in fleet.causes if c.stage == "connect")
    assert (cause.hosts.ranges, cause.title) == (
        ("cache[1-4]",),
        "connect: no answer from ‹host›:22 within 10 s",
    )
    assert cause.hints[2] == ("cache3", "nc -vz cache3 22")
    stages = [c.stage for c in fleet.causes]
    assert stages == ["inventory", "resolve", "connect", "host key", "authenticate", "execute"]


# ---- host by host


def test_hosts_with_the_same_behaviour_share_a_profile_and_traces() -> None:
    hosts = [Fleet().host(f"web{i:05}", K510, exposure=None) for i in range(1, 2001)]
    comparison = compare(run_of(hosts))
    (profile,) = comparison.profiles
    assert profile.hosts.ranges == ("web[00001-02000]",)
    assert [t.title for t in profile.traces] == ["reread-fin-close over IPv4"]


def test_a_trace_is_shown_once_for_each_build_and_linked_from_every_host_with_it(
    fleet: Comparison,
) -> None:
    anchors = {t.anchor for p in fleet.profiles for t in p.traces}
    linked = [(v.trace, v.trace_host) for p in fleet.profiles for v in p.verdicts if v.trace]
    assert {anchor for anchor, _ in linked} == anchors
    assert len(linked) > len(anchors)
    assert "app01" in {host for _, host in linked}


def test_steps_are_among_the_packets_at_their_moments(fleet: Comparison) -> None:
    trace = fleet.profiles[0].traces[-1]
    assert trace.title == "reread-fin-close over IPv4"
    assert [row.at_us for row in trace.rows] == sorted(row.at_us for row in trace.rows)
    assert [row.text for row in trace.rows if row.who == "step"] == [
        s.text for s in by_name("reread-fin-close").steps
    ]
    assert (trace.rows[-1].who, trace.rows[-1].flags, trace.rows[-1].text) == (
        "closer",
        "R.",
        "RST ACK",
    )


def test_a_host_may_report_an_unknown_step_or_scenario() -> None:
    odd = observe(by_name("unread-close"), "ipv4", "FIN")
    steps = msgspec.structs.replace(odd.evidence, steps=((5, 99), (6, -1)))
    host = Fleet().host("a", K612, instead=[msgspec.structs.replace(odd, evidence=steps)])
    extra = msgspec.structs.replace(odd, scenario="made-up")
    comparison = compare(
        run_of([msgspec.structs.replace(host, observations=(*host.observations, extra))])
    )
    assert comparison.scenarios[-1].row.name == "made-up"
    rows = [r.text for t in comparison.profiles[0].traces for r in t.rows if r.who == "step"]
    assert "step 100" in rows


# ---- the same run, the same comparison


def test_the_same_run_read_again_compares_the_same(fleet: Comparison) -> None:
    again = msgspec.json.decode(msgspec.json.encode(small_fleet()), type=AuditRun)
    assert compare(again) == fleet


def test_the_order_of_hosts_changes_no_count() -> None:
    run = small_fleet()
    hosts = list(run.hosts)
    random.Random(7).shuffle(hosts)
    shuffled = compare(msgspec.structs.replace(run, hosts=tuple(hosts)))
    plain = compare(run)
    assert (
        [b.kernel for b in shuffled.builds]
        == [b.kernel for b in plain.builds]
        == [K510, K612, K618]
    )
    assert [(c.scenario, c.families, c.cells) for c in shuffled.columns] == [
        (c.scenario, c.families, c.cells) for c in plain.columns
    ]
    assert [(f.ids, f.hosts) for f in shuffled.findings] == [
        (f.ids, f.hosts) for f in plain.findings
    ]


# ---- folding


def test_every_host_is_linked_to_its_details(fleet: Comparison) -> None:
    anchors = {p.anchor for p in fleet.profiles} | {cause.anchor for cause in fleet.causes}
    assert {h.anchor for h in fleet.hosts} == anchors
    assert all((h.build is not None) == isinstance(r, Audited)
               for h, r in zip(fleet.hosts, small_fleet().hosts, strict=True))  # fmt: skip


def test_only_a_remedy_that_can_be_typed_is_a_command(fleet: Comparison) -> None:
    remedies = [remedy for f in fleet.findings for remedy in f.remedies]
    assert {r.text.split()[0] for r in remedies if r.is_command} == {"sysctl"}
    assert {r.text.split()[0] for r in remedies if not r.is_command} == {"Look", "A"}


def test_hosts_of_one_finding_that_need_different_remedies_each_have_their_own(
    fleet: Comparison,
) -> None:
    (group,) = [f for f in fleet.findings if f.subject == "reread-fin-close"]
    assert len(group.remedies) > 1
    assert (group.fix, group.fix_is_command) == ("", False)
    assert sum(remedy.hosts.count for remedy in group.remedies) == group.hosts + group.waived
    page = render(fleet, generated="")
    for remedy in group.remedies:
        assert remedy.text in html.unescape(page)
