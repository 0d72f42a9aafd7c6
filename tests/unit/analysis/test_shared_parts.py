"""Hosts that share their parts as the same objects and hosts with equal parts of their own give the
same results.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType

import msgspec
from msgspec.structs import replace

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.drift import compute_drift, encode, set_first_seen
from fleetaudit.analysis.judge import judge_fleet
from fleetaudit.analysis.judge.fleet import SAME_ENDING
from fleetaudit.caching.shared_parts import MAX_KEPT, distinct_objects, once_per_object
from fleetaudit.model import Audited, AuditRun, Expectation, Finding, HostResult, Plan, Sysctl
from fleetaudit.report import registry
from tests.support.runs import K510, K618, Fleet, by_name, missing, observe, run_of

FLEET = Fleet()
ODD = observe(by_name("unread-close"), "ipv4", "FIN")
RESET = observe(by_name("reread-fin-close"), "ipv6", "RST")
TIMEOUT = {"net.ipv4.tcp_fin_timeout": Sysctl(value="120", default="60")}


def a_run(id_: str, started: str, odd: int) -> AuditRun:
    """Returns a run in which four kinds of hosts take turns; `odd` shifts the kinds by one."""
    models = (
        FLEET.host("one", K510),
        FLEET.host("two", K510, instead=[ODD, RESET]),
        FLEET.host("three", K618, sysctls=TIMEOUT),
        FLEET.host("four", K618, void="zero-linger-close failed", isolation="host"),
    )
    hosts: list[HostResult] = [missing("db1", "connect", "connection refused", "nc -vz db1 22")]
    for n in range(24):
        model = models[(n + n // 9 + odd * (n > 17)) % len(models)]
        hosts.append(replace(model, name=f"web{n}", groups=("web",) if n % 3 else ("app",)))
    run = run_of(hosts, FLEET.scenarios)
    return replace(run, run=replace(run.run, id=id_, started=started))


BEFORE = a_run("2026-11-21T020000Z", "2026-11-21T02:00:00Z", 1)
AFTER = a_run("2026-11-22T020000Z", "2026-11-22T02:00:00Z", 0)


def unshared(run: AuditRun) -> AuditRun:
    """Returns an equal run in which no two hosts share an object."""
    again = [msgspec.json.decode(msgspec.json.encode(h), type=HostResult) for h in run.hosts]
    audited = [host for host in again if isinstance(host, Audited)]
    assert len({id(host.observations) for host in audited}) == len(audited)
    return replace(run, hosts=tuple(again))


def test_the_runs_share_parts_and_differ_from_each_other() -> None:
    audited = AFTER.audited
    assert len({id(host.observations) for host in audited}) == 4 < len(audited)
    assert compute_drift(BEFORE, AFTER).changes


def test_the_comparison_is_the_same() -> None:
    assert compare(unshared(AFTER)) == compare(AFTER)


def test_every_output_has_the_same_bytes() -> None:
    drifted = replace(AFTER, drift=compute_drift(BEFORE, AFTER))
    for format_ in registry.SINGLE_FILE_NAMES:
        assert registry.render(unshared(drifted), format_) == registry.render(drifted, format_)


def test_the_drift_is_the_same() -> None:
    shared = encode(compute_drift(BEFORE, AFTER))
    assert encode(compute_drift(unshared(BEFORE), unshared(AFTER))) == shared
    assert encode(compute_drift(BEFORE, unshared(AFTER))) == shared


def test_changes_of_hosts_that_share_everything_are_those_of_each_host() -> None:
    before = run_of([replace(FLEET.host("a", K510), name=name) for name in ("web1", "web2")])
    after = run_of([replace(FLEET.host("b", K618), name=name) for name in ("web1", "web2")])
    changes = compute_drift(before, after).changes
    assert {change.host for change in changes if change.kind == "kernel"} == {"web1", "web2"}


def test_the_dates_are_the_same_and_equal_findings_become_one_object() -> None:
    dated = set_first_seen(AFTER.hosts, [BEFORE], "2026-11-22")
    again = set_first_seen(unshared(AFTER).hosts, [unshared(BEFORE)], "2026-11-22")
    assert again == dated
    findings = [host.findings for host in again if host.findings]
    assert len({id(each) for each in findings}) == len(set(findings)) < len(findings)


def test_the_fleet_is_judged_in_the_same_way() -> None:
    expect = {SAME_ENDING: (Expectation(severity="warning"),)}
    planned = [replace(FLEET.plan(h.name), kernels_expect=expect) for h in AFTER.hosts]
    plan = Plan(playbooks=(), hosts=tuple(planned))
    judged = judge_fleet(AFTER.hosts, plan)
    assert judge_fleet(unshared(AFTER).hosts, plan) == judged
    assert any(finding.id.startswith("kernel:") for h in judged for finding in h.findings)


def test_a_result_is_computed_once_for_each_object() -> None:
    calls: list[str] = []

    def shout(finding: Finding) -> str:
        calls.append(finding.id)
        return finding.id.upper()

    once = once_per_object(shout)
    one = Finding(id="a", severity="info", expected="", observed="")
    assert [once(one), once(one), once(replace(one))] == ["A"] * 3
    assert calls == ["a", "a"]


def test_an_object_that_is_gone_is_not_taken_for_a_new_one() -> None:
    once = once_per_object(len)
    for n in range(2000):
        assert once([None] * (n % 7)) == n % 7
        gc.collect(0)


def total(numbers: list[int]) -> int:
    return sum(numbers)


def test_results_are_bounded() -> None:
    kept = [[n] for n in range(MAX_KEPT + 5)]
    once = once_per_object(total)
    assert [once(each) for each in kept] == list(range(MAX_KEPT + 5))
    assert once(kept[0]) == 0


def test_distinct_objects_are_in_order_of_appearance() -> None:
    one, two = [1], [1]
    assert list(map(id, distinct_objects([two, one, two]))) == [id(two), id(one)]


def calls_of(work: Callable[[], object]) -> int:
    """Returns how many functions of Python are called, which no load of the machine changes."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    earlier = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(earlier)
    return calls


def fleet_of(count: int) -> AuditRun:
    """Returns a run of as many hosts, of the four kinds of `AFTER`."""
    models = AFTER.hosts[1:5]
    hosts = (replace(models[n % 4], name=f"web{n}") for n in range(count))
    return replace(AFTER, hosts=tuple(hosts))


def everything(run: AuditRun, before: AuditRun) -> None:
    """Does all that is done with the results of a run."""
    dated = set_first_seen(run.hosts, [before], "2026-11-22")
    run = replace(run, hosts=dated, drift=compute_drift(before, run))
    comparison = compare(run)
    for format_ in ("html", "text", "csv", "prometheus"):
        registry.render(run, format_, comparison=comparison)


def test_one_more_host_that_shares_its_parts_costs_little() -> None:
    everything(fleet_of(8), fleet_of(8))  # imports, and compiles the templates
    few = calls_of(lambda: everything(fleet_of(40), fleet_of(40)))
    many = calls_of(lambda: everything(fleet_of(240), fleet_of(240)))
    each = (many - few) / 200
    assert each < 200, "what every host costs, in calls of functions"
