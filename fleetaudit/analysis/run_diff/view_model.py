"""The view of two runs: everything that the page of a difference shows, with all words decided.

Rules: no logic here. Every list of hosts is folded and counted. Text that a host sent is only ever
text.
"""

from __future__ import annotations

import msgspec

from fleetaudit.analysis.compare.view_model import (
    Build,
    ChangeRow,
    Changes,
    ScenarioView,
    Sentence,
    Trace,
    Verdict,
)
from fleetaudit.model import Effect, PastRun, RunInfo, Severity
from fleetaudit.text.host_ranges import HostRanges


class EndingChange(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """How hosts ended one scenario in each of two runs.

    `before` and `after` are endings, or "void", "not in playbook" or "not reported"; "" stands for
    a run that did not audit these hosts. `effect` is None if nothing changed, and `effect_text` is
    then "". `is_waived`: the present finding is waived.
    """

    before: str
    after: str
    verdict_before: Verdict
    verdict_after: Verdict
    effect: Effect | None = None
    effect_text: str = ""
    severity: Severity | None = None
    is_waived: bool = False


class DiffCell(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario on the hosts of one kernel move: (endings, hosts), changes first.

    `omitted` counts the further endings, which are not listed.
    """

    endings: tuple[tuple[EndingChange, int], ...]
    omitted: int = 0

    @property
    def has_changed(self) -> bool:
        """Whether some host ends the scenario otherwise than before."""
        return bool(self.endings) and self.endings[0][0].effect is not None


class DiffColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario over the families that changed in the same way on every host.

    `cells` are in the order of the kernel moves. `totals` are (endings, hosts) of all moves,
    changes first. `link` is the anchor of the packets, "" without any.
    """

    scenario: str
    title: str
    families: str
    expect: str
    cells: tuple[DiffCell, ...]
    totals: tuple[tuple[EndingChange, int], ...]
    link: str = ""

    @property
    def has_changed(self) -> bool:
        """Whether some host ends the scenario otherwise than before."""
        return any(cell.has_changed for cell in self.cells)


class KernelMove(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts that had one kernel build in the first run and one in the second.

    None stands for a run that did not audit these hosts. Both may be the same build.
    """

    before: Build | None
    after: Build | None
    hosts: HostRanges


class DiffMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """Kernel moves by scenarios: those that changed, and those that did not.

    `omitted` are the hosts of the moves that are not shown, `more_columns` counts the changed
    columns that are not shown.
    """

    moves: tuple[KernelMove, ...] = ()
    changed: tuple[DiffColumn, ...] = ()
    unchanged: tuple[DiffColumn, ...] = ()
    omitted: HostRanges = HostRanges(count=0, ranges=())
    more_columns: int = 0


class DiffSide(msgspec.Struct, frozen=True, kw_only=True):
    """One run's side of an ending that changed: the builds and hosts, and the trace of one of them.

    `trace` is None if that run reported nothing; `missing` says why there are no packets to draw,
    "" if there are. `differs_at` is the first row that differs from the other side, None if only
    one side has packets.
    """

    ending: str
    verdict: Verdict
    builds: tuple[Build, ...]
    hosts: int
    trace: Trace | None
    missing: str
    differs_at: int | None


class DiffPair(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario before and after, packet by packet, on one of the hosts that changed."""

    anchor: str
    host: str
    change: EndingChange
    scenario: ScenarioView
    families: str
    before: DiffSide
    after: DiffSide

    @property
    def same_wire(self) -> bool:
        """Whether both sides have the same segments, so that another witness tells them apart."""
        return all(
            side.trace is not None and side.differs_at == len(side.trace.rows)
            for side in (self.before, self.after)
        )


class ChangeSection(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of one sort; `none` says that there is none, "" if the section is then left out."""

    key: str
    title: str
    none: str
    rows: tuple[ChangeRow, ...]


class BuildRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel build, and the hosts that had it in each run."""

    build: Build
    before: HostRanges
    after: HostRanges


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """What decides: a verdict with one sentence, and what a reader must know besides.

    `status` is the exit status of `fleetaudit diff`.
    """

    verdict: Verdict
    sentence: Sentence
    more: tuple[Sentence, ...]
    status: int


class RunSide(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs, with its counts of hosts."""

    info: RunInfo
    counts: PastRun


class RunDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a page shows of two runs.

    `pairs` are the endings that changed, packet by packet; `more_pairs` counts those that are not
    shown. If the two cannot be compared, `changes.refused` says why, and there is only `headline`.
    """

    before: RunSide
    after: RunSide
    headline: Headline
    changes: Changes
    sections: tuple[ChangeSection, ...] = ()
    builds: tuple[BuildRow, ...] = ()
    matrix: DiffMatrix = DiffMatrix()
    pairs: tuple[DiffPair, ...] = ()
    more_pairs: int = 0
