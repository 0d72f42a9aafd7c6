"""Two runs for a page: every host in one row, every change as drift has it, packets before and
after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.drift import compute_drift
from fleetaudit.analysis.run_diff import RunDiff, lay_out
from fleetaudit.analysis.run_diff.before_and_after import MOST_PAIRS
from fleetaudit.analysis.run_diff.matrix import MOST_MOVES
from fleetaudit.analysis.run_diff.view_model import DiffColumn, KernelMove
from fleetaudit.model import Audited, AuditRun, Ending, Evidence, HostResult, Kernel
from tests.support.runs import (
    K510,
    K612,
    K618,
    Fleet,
    by_name,
    observe,
    run_of,
    upgraded_fleet,
)

FLEET = Fleet()


def diff_of(before: AuditRun, after: AuditRun) -> RunDiff:
    return lay_out(before, after, compute_drift(before, after))


def of_hosts(before: Sequence[HostResult], after: Sequence[HostResult]) -> RunDiff:
    return diff_of(run_of(before), run_of(after))


def sentences(diff: RunDiff) -> list[str]:
    """Returns the sentences at the head, the one that decides first."""
    head = diff.headline
    return ["".join(part.text for part in of) for of in (head.sentence, *head.more)]


def releases(move: KernelMove) -> tuple[str, str]:
    return tuple(build.kernel.release if build else "" for build in (move.before, move.after))  # type: ignore[return-value]


def cells(diff: RunDiff, scenario: str) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """Returns (before, after, effect, hosts) of a scenario, by the kernels before and after."""
    columns = (*diff.matrix.changed, *diff.matrix.unchanged)
    (column,) = (column for column in columns if column.scenario == scenario)
    return {
        releases(move): [(e.before, e.after, e.effect, hosts) for e, hosts in cell.endings]
        for move, cell in zip(diff.matrix.moves, column.cells, strict=True)
    }


def expand(moves: Sequence[KernelMove]) -> Counter[tuple[str, str]]:
    return Counter({releases(move): move.hosts.count for move in moves})


# ---- the matrix


def test_every_host_that_a_run_audited_is_in_the_row_of_its_kernels() -> None:
    diff = diff_of(*upgraded_fleet())
    assert expand(diff.matrix.moves) == {
        (K510.release, K612.release): 3,
        (K612.release, K618.release): 4,
        (K612.release, ""): 3,  # db1 is not audited, old1 is gone, db3 is another machine
        ("", K618.release): 2,  # new1, and the other db3
    }
    assert [releases(move) for move in diff.matrix.moves][-2:] == [
        ("", K618.release),
        (K612.release, ""),
    ]


def test_a_cell_has_both_endings_and_what_the_change_means() -> None:
    diff = diff_of(*upgraded_fleet())
    assert cells(diff, "unread-close") == {
        (K510.release, K612.release): [("RST", "RST", None, 3)],
        (K612.release, K618.release): [
            ("RST", "FIN", "regression", 1),  # app1
            ("RST", "FIN", "regression", 1),  # app2, which is waived
            ("RST", "RST", None, 1),  # app3
            ("RST", "void", None, 1),  # db2
        ],
        (K612.release, ""): [("RST", "", None, 3)],
        ("", K618.release): [("", "RST", None, 2)],
    }
    assert cells(diff, "reread-fin-close")[K510.release, K612.release] == [("RST", "FIN", "fix", 3)]


def test_regressions_stand_first_and_one_that_is_waived_is_marked() -> None:
    changed = diff_of(*upgraded_fleet()).matrix.changed
    assert changed[0].scenario == "unread-close"
    assert changed[0].families == "IPv4 and IPv6"
    (cell,) = (cell for cell in changed[0].cells if cell.has_changed)
    assert sorted(e.is_waived for e, _ in cell.endings if e.effect) == [False, True]


def test_families_that_changed_differently_have_columns_of_their_own() -> None:
    half = observe(by_name("unread-close"), "ipv6", "FIN")
    diff = of_hosts([FLEET.host("a", K612)], [FLEET.host("a", K612, instead=[half])])
    assert [(c.scenario, c.families) for c in diff.matrix.changed] == [("unread-close", "IPv6")]
    kept = [c.families for c in diff.matrix.unchanged if c.scenario == "unread-close"]
    assert kept == ["IPv4"]


def test_the_matrix_has_every_scenario_change_of_the_drift_and_no_other() -> None:
    before, after = upgraded_fleet()
    drift = compute_drift(before, after)
    counted = Counter[tuple[str, object]]()
    for column in lay_out(before, after, drift).matrix.changed:
        families = column.families.count(" and ") + 1
        for ending, hosts in column.totals:
            if ending.effect:
                counted[column.scenario, ending.effect] += hosts * families
    assert counted == Counter(
        (change.what.removeprefix("scenario:").partition("/")[0], change.effect)
        for change in drift.changes
        if change.kind == "scenario"
    )


def test_a_scenario_of_one_run_only_is_no_change() -> None:
    before, after = run_of([FLEET.host("a", K612)]), run_of([FLEET.host("a", K612)])
    name = after.scenarios[-1].name
    host = after.audited[0]
    kept = tuple(o for o in host.observations if o.scenario != name)
    after = replace(
        after, scenarios=after.scenarios[:-1], hosts=(replace(host, observations=kept),)
    )
    diff = diff_of(before, after)
    assert not diff.matrix.changed
    ((ending, _),) = column_of(diff, name).totals
    assert (ending.after, ending.effect) == ("not in playbook", None)


def column_of(diff: RunDiff, scenario: str) -> DiffColumn:
    return next(column for column in diff.matrix.unchanged if column.scenario == scenario)


def test_rows_without_a_change_are_left_out_first_and_their_hosts_are_counted() -> None:
    kernels = [
        Kernel(release=f"6.{minor}.1", version="#1", machine="x86_64")
        for minor in range(MOST_MOVES + 5)
    ]
    before = [FLEET.host(f"h{i}", kernel) for i, kernel in enumerate(kernels)]
    half = observe(by_name("unread-close"), "ipv4", "FIN")
    after = [*before[:-1], FLEET.host(before[-1].name, kernels[-1], instead=[half])]
    matrix = of_hosts(before, after).matrix
    assert len(matrix.moves) == MOST_MOVES
    assert matrix.omitted.count == 5
    assert releases(matrix.moves[-1]) == (kernels[-1].release, kernels[-1].release)
    assert any(column.has_changed for column in matrix.changed)


# ---- packets


def test_each_ending_that_changed_has_its_packets_before_and_after() -> None:
    diff = diff_of(*upgraded_fleet())
    found = {(p.scenario.row.name, p.host, p.before.ending, p.after.ending) for p in diff.pairs}
    assert found >= {
        ("unread-close", "app1", "RST", "FIN"),
        ("unread-close", "app2", "RST", "FIN"),
        ("reread-fin-close", "web001", "RST", "FIN"),
    }
    pair = diff.pairs[0]
    for side, kernel in ((pair.before, K612), (pair.after, K618)):
        assert side.trace is not None
        assert side.trace.build.kernel == kernel
        assert side.missing == ""
        assert side.differs_at is not None
        assert side.trace.rows[side.differs_at].who == "closer"
        assert [build.kernel for build in side.builds] == [kernel]
    assert not pair.same_wire
    changed = next(c for c in diff.matrix.changed if c.scenario == pair.scenario.row.name)
    assert changed.link == pair.anchor


def test_a_side_without_packets_gives_the_reason_and_the_other_side_is_shown() -> None:
    diff = of_hosts([FLEET.host("a", K510)], [FLEET.host("a", K612)])
    (pair,) = (p for p in diff.pairs if p.scenario.row.name == "unread-mptcp-close")
    assert pair.before.missing == "this kernel has no MPTCP (EPROTONOSUPPORT)"
    assert pair.before.differs_at is pair.after.differs_at is None
    assert pair.after.missing == ""
    assert pair.after.trace is not None
    assert pair.after.trace.rows


def test_the_packets_are_those_of_a_host_that_has_some_in_both_runs() -> None:
    def without_packets(host: Audited) -> Audited:
        bare = (replace(o, evidence=Evidence()) for o in host.observations)
        return replace(host, observations=tuple(bare))

    before = [without_packets(FLEET.host("a", K510)), FLEET.host("b", K510)]
    after = [FLEET.host("a", K612), FLEET.host("b", K612)]
    (pair,) = (
        p for p in of_hosts(before, after).pairs if p.scenario.row.name == "reread-fin-close"
    )
    assert (pair.host, pair.before.hosts) == ("b", 2)


def test_there_are_at_most_so_many_pairs_and_the_rest_is_counted() -> None:
    before = [FLEET.host(f"h{i}", K612) for i in range(30)]
    endings: tuple[Ending, ...] = (
        "FIN",
        "FIN, then RST",
        "nothing",
        "inconclusive",
        "sent, not delivered",
    )
    after = [
        FLEET.host(
            f"h{i}",
            K612,
            instead=[observe(s, "ipv4", endings[i % 5]) for s in FLEET.scenarios[i % 4 :]],
        )
        for i in range(30)
    ]
    diff = of_hosts(before, after)
    assert len(diff.pairs) == MOST_PAIRS
    assert diff.more_pairs > 0


# ---- the sentences


def test_the_first_sentence_names_the_regressions_and_the_others_what_is_not_known() -> None:
    diff = diff_of(*upgraded_fleet())
    assert diff.headline.verdict == "error"
    assert diff.headline.status == 8
    assert sentences(diff) == [
        "Regressions: unread-close on 1 host.",
        "Waived regressions: unread-close on 1 host.",
        "Fixed: reread-fin-close on 3 hosts.",
        "An ending or a value is no longer known: 1 host (db2).",
        "Not audited in the later run: 1 host (db1).",
        "Another machine under the same name, so not compared: 1 host (db3).",
        "Only in the earlier run: 1 host (old1).",
        "Only in the later run: 1 host (new1).",
        "Audited in neither run: 1 host (lost1).",
    ]


@pytest.mark.parametrize(
    ("names", "verdict", "first", "status"),
    [
        (("web001", "web002"), "met", "Nothing got worse.", 8),
        (("db2",), "unknown", "Nothing got worse, as far as both runs know it.", 8),
        (("web001", "db1"), "unknown", "Nothing got worse, as far as both runs know it.", 8),
        (("app2",), "info", "Every regression is waived: unread-close on 1 host.", 8),
        (("app1",), "error", "Regressions: unread-close on 1 host.", 8),
        (("web001", "db3"), "unknown", "Nothing got worse, as far as both runs know it.", 8),
        (("web001", "lost1"), "unknown", "Nothing got worse, as far as both runs know it.", 8),
        (("lost1",), "unknown", "Nothing changed, as far as both runs know it.", 0),
        (("old1", "new1"), "unknown", "The two runs cannot be compared: the two runs have no host"
         " in common.", 65),
    ],
)  # fmt: skip
def test_the_sentence_that_decides(
    names: tuple[str, ...], verdict: str, first: str, status: int
) -> None:
    before, after = (
        replace(run, hosts=tuple(host for host in run.hosts if host.name in names))
        for run in upgraded_fleet()
    )
    diff = diff_of(before, after)
    assert (diff.headline.verdict, sentences(diff)[0]) == (verdict, first)
    assert diff.headline.status == status


def test_without_a_change_the_compared_hosts_are_counted() -> None:
    same = run_of([FLEET.host("a", K612), FLEET.host("b", K612)])
    diff = diff_of(same, same)
    assert (diff.headline.verdict, diff.headline.status) == ("met", 0)
    assert sentences(diff) == ["Nothing changed on 2 hosts."]


# ---- the rest


def test_every_change_is_in_one_section_and_regressions_are_the_first() -> None:
    diff = diff_of(*upgraded_fleet())
    rows = [row for section in diff.sections for row in section.rows]
    assert Counter(rows) == Counter(diff.changes.rows)
    assert diff.sections[0].key == "regressions"
    assert {row.effect for row in diff.sections[0].rows} == {"regression"}
    keys = {section.key: section for section in diff.sections}
    assert {row.kind for row in keys["systems"].rows} == {"kernel", "system"}
    assert {row.effect for row in keys["one-run"].rows} == {"gone", "new host", "rebuilt"}


def test_without_a_regression_that_is_stated() -> None:
    same = run_of([FLEET.host("a", K612)])
    (section,) = diff_of(same, same).sections
    assert (section.key, section.rows) == ("regressions", ())
    assert section.none


def test_builds_have_their_hosts_in_each_run() -> None:
    builds = diff_of(*upgraded_fleet()).builds
    counts = {r.build.kernel.release: (r.before.count, r.after.count) for r in builds}
    assert counts == {K510.release: (3, 0), K612.release: (7, 3), K618.release: (0, 6)}


def test_runs_that_cannot_be_compared_have_the_reason_and_nothing_else() -> None:
    diff = of_hosts([FLEET.host("a", K612)], [FLEET.host("b", K612)])
    assert diff.changes.refused == "the two runs have no host in common"
    assert (diff.sections, diff.pairs, diff.matrix.moves) == ((), (), ())


def test_a_renamed_host_has_its_later_name() -> None:
    before = replace(FLEET.host("old", K510), machine_id="one")
    after = replace(FLEET.host("new", K612), machine_id="one")
    (move,) = of_hosts([before], [after]).matrix.moves
    assert move.hosts.ranges == ("new",)
    assert releases(move) == (K510.release, K612.release)
