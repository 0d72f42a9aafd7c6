"""Programs that reset now and did not before: new, gone, and at another rate."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from msgspec.structs import replace

from fleetaudit.analysis.compare import compare, summarize_changes
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import Audited, AuditRun, Drift, Watched
from fleetaudit.report.changes import changes_text
from fleetaudit.report.terminal import status_lines
from tests.support.runs import K612, Fleet, run_of
from tests.support.watches import (
    NGINX,
    NOT_ROOT,
    judged_host,
    owner,
    resets,
    unread,
    watched,
    watched_host,
)

FLEET = Fleet()
NEW = ("no reset", "resets because of unread data")


def judged(name: str, watch: Watched) -> Audited:
    return judged_host(name, watch, FLEET)


def run_on(day: str, *hosts: Audited) -> AuditRun:
    run = run_of(hosts)
    times = {"id": f"{day}T020000Z", "started": f"{day}T02:00:00Z", "finished": f"{day}T02:04:00Z"}
    return replace(run, run=replace(run.run, **times))


def drift_of(before: Watched, after: Watched) -> Drift:
    one, other = judged("web1", before), judged("web1", after)
    return compute_drift(run_on("2026-01-01", one), run_on("2026-01-02", other))


def changed(before: Watched, after: Watched) -> list[tuple[str, str, str]]:
    return [(c.what, c.before, c.after) for c in drift_of(before, after).changes]


def test_a_program_that_did_not_reset_before_is_new() -> None:
    found = drift_of(watched(), watched(resets(17)))
    (change,) = found.changes
    assert (change.effect, change.kind, change.what) == (
        "changed",
        "resets",
        "resets:haproxy:8443",
    )
    assert (change.before, change.after) == NEW
    assert (change.severity, change.since, change.host) == ("info", "2026-01-02", "web1")


def test_a_program_that_resets_no_more_is_gone() -> None:
    assert changed(watched(resets(17)), watched()) == [("resets:haproxy:8443", *reversed(NEW))]


def test_another_reason_is_another_change() -> None:
    linger = resets(17, reason="linger 0")
    assert changed(watched(resets(17)), watched(resets(17), linger)) == [
        ("resets:haproxy:8443", "no reset", "resets because of linger 0")
    ]


@pytest.mark.parametrize(
    ("before", "after", "seconds", "is_change"),
    [
        (10, 29, 60.0, False),
        (10, 30, 60.0, True),
        (30, 10, 60.0, True),
        (3, 9, 60.0, False),
        (1, 10, 60.0, True),
        (10, 30, 180.0, False),
        (10, 10, 20.0, True),
        (10, 10, 0.0, False),
    ],
)
def test_a_rate_is_a_change_if_it_is_much_higher_or_lower(
    before: int, after: int, seconds: float, is_change: bool
) -> None:
    now = watched(resets(after), seconds=seconds)
    texts = changed(watched(resets(before)), now)
    assert bool(texts) == is_change
    if (before, after) == (10, 30) and is_change:
        rates = "10.0/min because of unread data", "30.0/min because of unread data"
        assert texts == [("resets:haproxy:8443", *rates)]


@pytest.mark.parametrize("pair", [(NOT_ROOT, watched(resets(5))), (watched(resets(5)), NOT_ROOT)])
def test_a_host_that_could_not_be_watched_in_one_run_has_no_new_and_no_gone_program(
    pair: tuple[Watched, Watched],
) -> None:
    found = drift_of(*pair)
    assert {change.kind for change in found.changes} == {"finding"}
    (change,) = found.changes
    assert change.what == "not-watched:host"
    assert change.effect == ("told again" if pair[0] is NOT_ROOT else "no longer told")


def test_a_host_that_was_not_to_be_watched_in_one_run_has_no_change() -> None:
    host = FLEET.host("web1", K612)
    with_watch = watched_host("web1", watched(resets(5)), FLEET)
    for pair in itertools.permutations((host, with_watch)):
        runs = run_on("2026-01-01", pair[0]), run_on("2026-01-02", pair[1])
        assert compute_drift(*runs).is_unchanged


def test_runs_that_only_watch_are_compared() -> None:
    bare = replace(watched_host("web1", watched(), FLEET), observations=(), sysctls={})
    now = replace(bare, watch=watched(resets(5)))
    runs = [replace(run_on("2026-01-01", host), scenarios=()) for host in (bare, now)]
    found = compute_drift(*runs)
    assert not found.refused
    assert len(found.changes) == 1


def test_hosts_with_the_same_new_program_share_a_row() -> None:
    names = [f"web{n}" for n in range(1, 5)]
    before = run_on("2026-01-01", *(judged(name, watched()) for name in names))
    counts = [resets(n + 3) for n in range(4)]
    after = run_on("2026-01-02", *map(judged, names, map(watched, counts)))
    text = changes_text(summarize_changes(compute_drift(before, after)), width=200)
    assert (
        "  changed (info)  haproxy:8443: no reset → resets because of unread data, first seen"
        " 2026-01-02: web[1-4]\n" in text
    )


def test_a_new_program_is_no_regression() -> None:
    after = run_on("2026-01-02", judged("web1", watched(resets(5))))
    drifted = replace(after, drift=drift_of(watched(), watched(resets(5))))
    assert status_lines(compare(drifted), 100)[0].startswith("All as expected")


def test_the_order_of_the_rows_of_a_host_does_not_matter() -> None:
    rows = (resets(5), resets(5, 80, of=owner(NGINX)), resets(5, reason="memory"))
    first, *others = (changed(watched(), watched(*some)) for some in itertools.permutations(rows))
    assert len(first) == 3
    assert all(other == first for other in others)


def test_what_differs_at_every_run_is_no_change() -> None:
    before = replace(watched(resets(5)), unread=(unread(3),), cpu_s=0.1, aborts_on_close=5)
    after = msgspec.structs.replace(watched(resets(7)), notes=("a note",), cpu_s=0.2)
    assert changed(before, after) == []
