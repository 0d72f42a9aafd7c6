"""The history of a job: what adds up, what opens and closes, and what stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetaudit.analysis.history import encode, history_of
from fleetaudit.analysis.history.model import FindingHistory, JobHistory, LeftOutRun
from fleetaudit.analysis.history.open_findings import open_since, worst_open
from fleetaudit.analysis.history.outline import main_scenario, outline_of
from fleetaudit.model import (
    Audited,
    AuditRun,
    Drift,
    Finding,
    HostResult,
    Kernel,
    NotAudited,
    NotSelected,
    ResetRate,
)
from tests.support.runs import K510, K612, K618, Fleet, by_name, missing, observe, run_of

FLEET = Fleet()
UNREAD = "scenario:unread-close/ipv4"
FIN = [observe(by_name("unread-close"), "ipv4", "FIN")]


def night(number: int, hosts: Iterable[HostResult]) -> AuditRun:
    """Returns the run of one night."""
    run = run_of(hosts)
    info = replace(
        run.run,
        id=f"2026-01-{number:02}T020000Z",
        started=f"2026-01-{number:02}T02:00:00Z",
        finished=f"2026-01-{number:02}T02:05:00Z",
        sequence=number,
        status=0,
    )
    return replace(run, run=info)


def history(*nights: Sequence[HostResult]) -> JobHistory:
    """Returns the history of nights with these hosts."""
    return history_of([outline_of(night(n, hosts)) for n, hosts in enumerate(nights, 1)])


def good(name: str, kernel: Kernel = K612) -> Audited:
    return FLEET.host(name, kernel)


def bad(name: str, kernel: Kernel = K612) -> Audited:
    """Returns a host that sends FIN over IPv4 although data is unread."""
    return FLEET.host(name, kernel, instead=FIN)


def away(name: str) -> NotAudited:
    return missing(name, "connect", "timed out", "ssh web1 true")


def only(found: JobHistory) -> FindingHistory:
    """Returns the finding about the main scenario."""
    (finding,) = [f for f in found.findings if f.id == UNREAD]
    return finding


def test_a_finding_opens_and_closes_and_its_hosts_are_counted_in_each_run() -> None:
    found = history(
        [good("web1"), good("web2")],
        [bad("web1"), good("web2")],
        [bad("web1"), bad("web2")],
        [good("web1"), good("web2")],
    )
    assert [run.opened for run in found.runs] == [(), (UNREAD,), (), ()]
    assert [run.closed for run in found.runs] == [(), (), (), (UNREAD,)]
    assert [run.hosts_unmet for run in found.runs] == [0, 1, 2, 0]
    finding = only(found)
    assert finding.hosts == (0, 1, 2, 0)
    assert (finding.first_seen.run, finding.last_seen.run) == (
        "2026-01-02T020000Z",
        "2026-01-03T020000Z",
    )
    assert finding.subject == "unread-close (IPv4)"
    assert not finding.open
    assert finding.severity == "error"


def test_the_findings_of_the_first_run_are_not_opened_in_it() -> None:
    found = history([bad("web1")], [bad("web1")])
    assert [run.opened for run in found.runs] == [(), ()]
    assert [run.added for run in found.runs] == [(), ()]
    assert only(found).open


def test_a_host_that_is_not_audited_does_not_close_its_finding() -> None:
    found = history([bad("web1"), good("web2")], [away("web1"), good("web2")])
    assert found.runs[1].closed == found.runs[1].gone == ()
    assert only(found).hosts == (1, None)
    assert only(found).open
    assert found.runs[1].hosts_unmet == 0


def test_a_finding_that_was_unknown_is_closed_by_the_run_that_shows_it() -> None:
    found = history([bad("web1")], [away("web1")], [good("web1")])
    assert [run.closed for run in found.runs] == [(), (), (UNREAD,)]
    assert only(found).hosts == (1, None, 0)
    assert not only(found).open


def test_it_is_not_opened_again_if_it_was_only_unknown_in_between() -> None:
    found = history([bad("web1")], [away("web1")], [bad("web1")])
    assert [run.opened for run in found.runs] == [(), (), ()]
    assert only(found).hosts == (1, None, 1)


def test_the_finding_of_a_host_that_vanished_is_gone_and_not_closed() -> None:
    found = history([bad("web1"), good("web2")], [good("web2")])
    assert found.runs[1].gone == (UNREAD,)
    assert found.runs[1].closed == ()
    assert found.runs[1].removed == ("web1",)
    assert not only(found).open


def test_so_is_that_of_a_host_that_no_play_selects() -> None:
    found = history([bad("web1")], [NotSelected(name="web1")])
    assert found.runs[1].gone == (UNREAD,)
    assert only(found).hosts == (1, None)


def test_a_renamed_host_is_shown_as_one_that_vanished_and_one_that_came() -> None:
    found = history([bad("web1"), good("db")], [bad("edge1"), good("db")])
    assert found.runs[1].removed == ("web1",)
    assert found.runs[1].added == ("edge1",)
    assert (found.runs[1].hosts_removed, found.runs[1].hosts_added) == (1, 1)
    assert found.runs[1].opened == found.runs[1].closed == found.runs[1].gone == ()


def test_a_void_host_closes_nothing_of_its_endings() -> None:
    void = replace(FLEET.host("web1", K612, void="the positive control failed"))
    found = history([bad("web1")], [void], [good("web1")])
    assert [run.closed for run in found.runs] == [(), (), ("control:run", UNREAD)]
    assert only(found).hosts == (1, None, 0)
    assert found.runs[1].void == 1
    assert found.runs[1].endings == (("void", 1),)
    assert found.runs[1].opened == ("control:run",)


def test_a_scenario_that_did_not_run_closes_nothing() -> None:
    not_run = [observe(by_name("unread-close"), "ipv4", "not run", reason="no capture")]
    found = history([bad("web1")], [FLEET.host("web1", K612, instead=not_run)])
    assert found.runs[1].closed == found.runs[1].gone == ()
    assert only(found).hosts == (1, None)


def test_a_finding_that_nothing_checks_for_any_more_is_gone() -> None:
    smaller = Fleet(scenarios=FLEET.scenarios[:2])
    found = history([bad("web1")], [smaller.host("web1", K612)])
    assert found.runs[1].gone == (UNREAD,)
    assert only(found).hosts == (1, None)


def test_a_changed_host_key_is_closed_by_an_audit() -> None:
    key = Finding(id="host-key:changed", severity="error", expected="the same", observed="other")
    changed = replace(away("web1"), findings=(key,))
    found = history([changed], [away("web1")], [good("web1")])
    assert [run.closed for run in found.runs] == [(), (), ("host-key:changed",)]
    assert found.findings[0].hosts == (1, None, 0)


def test_a_waived_finding_is_counted_apart_and_not_open() -> None:
    host = bad("web1")
    waived = replace(
        host, findings=tuple(replace(f, waived="ops until 2027-01-01") for f in host.findings)
    )
    found = history([bad("web1")], [waived])
    assert only(found).hosts == (1, 1)
    assert only(found).waived == (0, 1)
    assert not only(found).open
    assert found.runs[1].closed == ()
    assert found.runs[1].hosts_unmet == 0
    assert found.runs[1].findings.waived == len(host.findings)


def test_the_date_of_a_run_that_was_removed_is_kept() -> None:
    host = bad("web1")
    old = replace(host, findings=tuple(replace(f, since="2025-12-01") for f in host.findings))
    found = history([old], [host])
    assert only(found).since == "2025-12-01"
    assert open_since(only(found), found) == "2025-12-01"
    assert open_since(only(history([host])), history([host])) == "2026-01-01 or earlier"
    late = history([good("web1")], [host])
    assert open_since(only(late), late) == "2026-01-02"


def test_kernels_are_counted_by_release_and_by_series_in_numeric_order() -> None:
    found = history(
        [good("web1", K510), good("web2", K612), good("web3", K612)],
        [good("web1", K618), good("web2", K612), away("web3")],
    )
    assert found.runs[0].series == (("5.10", 1), ("6.12", 2))
    assert found.runs[1].series == (("6.12", 1), ("6.18", 1))
    assert [(b.release, b.hosts) for b in found.builds] == [
        (K510.release, (1, 0)),
        (K612.release, (2, 1)),
        (K618.release, (0, 1)),
    ]
    assert found.builds[0].last_seen.run == "2026-01-01T020000Z"


def test_endings_that_differ_by_family_are_named_together() -> None:
    assert history([bad("web1"), good("web2")]).runs[0].endings == (("RST", 1), ("FIN and RST", 1))


def test_resets_are_the_growth_over_all_hosts_whose_rate_is_known() -> None:
    rates = (
        ResetRate(host="web1", seconds=1.0, connections=1000, aborts=1, per_thousand=1.0),
        ResetRate(host="web2", seconds=1.0, connections=3000, aborts=7, per_thousand=7 / 3),
        ResetRate(host="web3", seconds=1.0, reason="rebooted"),
    )
    drift = Drift(before="2026-01-01T020000Z", after="x", since="", until="", rates=rates)
    run = replace(night(2, [good("web1")]), drift=drift)
    (found,) = history_of([outline_of(run)]).runs
    assert found.resets_per_thousand == 2.0
    assert found.hosts_measured == 2
    assert found.resets_since == "2026-01-01T020000Z"
    refused = replace(run, drift=replace(drift, refused="other steps"))
    assert history_of([outline_of(refused)]).runs[0].resets_per_thousand is None
    assert history([good("web1")]).runs[0].resets_per_thousand is None


def test_the_worst_finding_comes_first_and_info_is_not_among_the_worst() -> None:
    found = history([bad("web1", K510), good("web2", K510)])
    assert found.findings[0].id == UNREAD
    assert found.findings[-1].severity == "info"
    assert {f.severity for f in worst_open(found)} == {"error"}


def test_the_main_scenario_is_that_of_the_tool_or_one_that_must_reset() -> None:
    rows = run_of([]).scenarios
    assert main_scenario(rows) == "unread-close"
    others = [row for row in rows if row.name != "unread-close"]
    assert main_scenario(others) == "partly-read-close"
    assert main_scenario(rows[:1]) == "drained-close"
    assert main_scenario(()) == ""


def test_a_run_without_hosts_has_a_history_too() -> None:
    found = history([], [good("web1")], [])
    assert [run.endings for run in found.runs] == [(), (("RST", 1),), ()]
    assert found.runs[2].removed == ("web1",)


def test_json_is_the_history_itself() -> None:
    left_out = LeftOutRun(id="2026-01-09T020000Z", reason="not a run\u202e")
    found = history_of([outline_of(night(1, [bad("web1")]))], [left_out])
    data = encode(found)
    assert "\u202e".encode() not in data
    assert msgspec.json.decode(data, type=JobHistory) == found


# ---- whatever the hosts do -----------------------------------------------------------------------

HOSTS = ("web1", "web2", "web3")
MAKERS: dict[str, Callable[[str], HostResult]] = {
    "good": good,
    "bad": bad,
    "away": away,
    "void": lambda name: FLEET.host(name, K612, void="the control failed"),
    "not selected": lambda name: NotSelected(name=name),
    "old": lambda name: good(name, K510),
}
MADE = {(kind, name): make(name) for kind, make in MAKERS.items() for name in HOSTS}
NIGHT = st.dictionaries(st.sampled_from(HOSTS), st.sampled_from([*MAKERS]))
NIGHTS = st.lists(NIGHT, min_size=1, max_size=6)


def made(night_: dict[str, str]) -> list[HostResult]:
    return [MADE[kind, name] for name, kind in sorted(night_.items())]


@given(NIGHTS)
def test_counts_add_up(nights: list[dict[str, str]]) -> None:
    found = history(*map(made, nights))
    for run, night_ in zip(found.runs, nights, strict=True):
        hosts = run.hosts
        assert hosts.selected == len(night_)
        assert hosts.selected == hosts.audited + hosts.not_audited + hosts.not_selected
        assert sum(n for _, n in run.endings) == sum(n for _, n in run.series) == hosts.audited
        assert dict(run.endings).get("void", 0) == run.void
        assert run.hosts_unmet is not None
        assert run.hosts_unmet <= hosts.selected
    for build in found.builds:
        assert len(build.hosts) == len(nights)
    by_run = zip(*(build.hosts for build in found.builds), strict=True)
    for run, counts in zip(found.runs, by_run, strict=False):
        assert sum(counts) == run.hosts.audited
    assert {f.id for f in found.findings} >= {i for run in found.runs for i in run.opened}


@given(NIGHTS)
def test_what_is_closed_or_gone_was_open_and_can_be_opened_again(
    nights: list[dict[str, str]],
) -> None:
    found = history(*map(made, nights))
    alive = {f.id for f in found.findings if f.hosts[0]}
    for place, run in enumerate(found.runs):
        assert not {*run.closed} & {*run.gone}
        assert {*run.opened}.isdisjoint(alive)
        assert {*run.closed, *run.gone} <= alive
        alive = (alive | {*run.opened}) - {*run.closed, *run.gone}
        assert alive >= {f.id for f in found.findings if f.hosts[place]}
        assert {f.id for f in found.findings if f.hosts[place] is None}.isdisjoint(
            {*run.opened, *run.closed}
        )
    open_now = {f.id for f in found.findings if f.open}
    assert open_now <= alive


@given(NIGHTS, st.integers(min_value=0, max_value=5))
def test_a_removed_run_is_just_not_there(nights: list[dict[str, str]], place: int) -> None:
    outlines = [outline_of(night(n, made(night_))) for n, night_ in enumerate(nights, 1)]
    kept = [o for n, o in enumerate(outlines) if n != place] or outlines
    found = history_of(kept)
    assert [run.id for run in found.runs] == [o.run.id for o in kept]
    assert all(len(f.hosts) == len(kept) for f in found.findings)
