"""Prepares two runs for a page: what changed, the matrix of both, and packets before and after.
Pure.

Rules:
- What changed, and whether two runs can be compared, was decided by `analysis.drift`. Nothing is
  compared here that it refuses, and no change is left out or added.
- Hosts are paired as there: by name, unless a machine-id contradicts.
- The same two runs give the same `RunDiff`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from fleetaudit.analysis.compare import (
    history_entry,
    summarize_changes,
    undeclared_scenario,
)
from fleetaudit.analysis.compare.common import BuildKey, build_key, fold_names, group_by
from fleetaudit.analysis.compare.kernels import make_builds
from fleetaudit.analysis.compare.view_model import Build
from fleetaudit.analysis.drift.host_pairs import Pairs, pair_hosts
from fleetaudit.model import AuditRun, Drift, NotAudited, ScenarioRow

from .before_and_after import pair_before_and_after
from .endings import count_endings
from .headline import make_headline
from .matrix import make_matrix
from .sections import sort_changes
from .view_model import BuildRow, DiffMatrix, DiffPair, RunDiff, RunSide

__all__ = ["RunDiff", "lay_out"]


def lay_out(before: AuditRun, after: AuditRun, drift: Drift) -> RunDiff:
    """Returns everything that a page shows of two runs; `drift` is what changed between them.

    If the two cannot be compared, it is the reason alone.
    """
    sides = _side(before), _side(after)
    pairs = pair_hosts(before.hosts, after.hosts)
    headline = make_headline(drift, fold_names(_never_audited(pairs)))
    if drift.refused:
        changes = summarize_changes(drift)
        return RunDiff(before=sides[0], after=sides[1], headline=headline, changes=changes)
    rows = _Scenarios.of(before, after)
    builds = make_builds((*before.audited, *after.audited))
    counts = count_endings(pairs, drift.changes, rows)
    matrix = make_matrix(counts, builds, rows)
    shown, more_pairs = pair_before_and_after(matrix, counts, builds, rows)
    anchors = _anchors(shown)
    changes = summarize_changes(drift, anchors)
    return RunDiff(
        before=sides[0],
        after=sides[1],
        headline=headline,
        changes=changes,
        sections=sort_changes(changes.rows),
        builds=_build_rows(builds, before, after),
        matrix=_with_links(matrix, anchors),
        pairs=shown,
        more_pairs=more_pairs,
    )


def _side(run: AuditRun) -> RunSide:
    """Returns a run as one side."""
    return RunSide(info=run.run, counts=history_entry(run))


def _never_audited(pairs: Pairs) -> Iterable[NotAudited]:
    """Yields the hosts of both runs that none of them audited."""
    for pair in pairs.both:
        if isinstance(pair.before, NotAudited) and isinstance(pair.after, NotAudited):
            yield pair.after


class _Scenarios(dict[str, ScenarioRow]):
    """The scenarios by name: those of the later run, then those that only the earlier run had.

    Both runs are judged by the later one. A scenario that no run declares has its name only.
    """

    @classmethod
    def of(cls, before: AuditRun, after: AuditRun) -> _Scenarios:
        """Returns the scenarios that the runs declare."""
        later = after.scenarios_by_name()
        return cls({**later, **before.scenarios_by_name(), **later})

    def __missing__(self, name: str) -> ScenarioRow:
        """Returns and keeps the row of a scenario of which only the name is known."""
        row = self[name] = undeclared_scenario(name)
        return row


def _build_rows(
    builds: Mapping[BuildKey, Build], before: AuditRun, after: AuditRun
) -> tuple[BuildRow, ...]:
    """Returns each build with its hosts in either run."""
    earlier, later = group_by(before.audited, build_key), group_by(after.audited, build_key)
    return tuple(
        BuildRow(
            build=build,
            before=fold_names(earlier.get(key, ())),
            after=fold_names(later.get(key, ())),
        )
        for key, build in builds.items()
    )


def _anchors(pairs: Iterable[DiffPair]) -> dict[str, str]:
    """Returns the anchor of the first pair of each scenario."""
    anchors = dict[str, str]()
    for pair in pairs:
        anchors.setdefault(pair.scenario.row.name, pair.anchor)
    return anchors


def _with_links(matrix: DiffMatrix, anchors: Mapping[str, str]) -> DiffMatrix:
    """Returns the matrix with a link from each changed scenario to its packets."""
    changed = (replace(column, link=anchors.get(column.scenario, "")) for column in matrix.changed)
    return replace(matrix, changed=tuple(changed))
