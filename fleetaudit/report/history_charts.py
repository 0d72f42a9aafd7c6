"""The charts of the history page: which counts each one shows, and in which layers. Pure.

Rules: a chart has a table with the same numbers, in the same order of runs. A number that a run
does not have is unknown, not 0. Layers differ by colour, by texture and by word; their classes are
in templates/charts.css.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

import msgspec

from fleetaudit.analysis.history.model import HistoryRun
from fleetaudit.text.kernel_releases import release_key

from .charts import Line, Mark, Stack, line, marks, stack
from .history_trend import expected_hosts, is_complete
from .time_axis import Gap, TimeAxis, without_runs

HEIGHT = 208
"""The height of a chart, in pixels."""
MOST_SERIES = 8
"""Maximum number of kernel series with a layer of their own; the rest is "other"."""
OTHER, NO_SERIES = "other", "no series"
_SHADES = 7
"""The greatest number of a shade; shade 1 is the strongest."""
_ENDINGS = {
    "RST": "rst",
    "FIN, then RST": "fin-rst",
    "FIN": "fin",
    "nothing": "nothing",
    "sent, not delivered": "lost",
    "RST and FIN": "mixed",
    "inconclusive": "inconclusive",
    "not run": "not-run",
    "void": "void",
}
"""The classes of endings, in the order of their layers from the bottom."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One number of each run: its name, the class of its layer or mark, and the values.

    `values` are as long as the runs, None where unknown. `is_host_text`: the name comes from a
    host.
    """

    name: str
    kind: str
    values: tuple[float | None, ...]
    digits: int = 0
    is_host_text: bool = False


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A chart and its table.

    `columns` are in the order of the legend: of a stack the upper layer first, then what is only a
    mark or a number. `layers` are the columns that `stack` draws, the lower layer first. `holes`
    are the places of runs that are not drawn.
    """

    id: str
    title: str
    text: str
    unit: str
    height: int = HEIGHT
    columns: tuple[Column, ...]
    layers: tuple[Column, ...] = ()
    stack: Stack | None = None
    line: Line | None = None
    lanes: tuple[tuple[Column, tuple[Mark, ...]], ...] = ()
    holes: tuple[Gap, ...] = ()


def history_charts(axis: TimeAxis, runs: Sequence[HistoryRun], scenario: str) -> tuple[Chart, ...]:
    """Returns the charts of at least one run; `runs` are those of `axis`.

    `scenario` is the name of the main scenario.
    """
    return (
        _findings_chart(axis, runs),
        _series_chart(axis, runs),
        _endings_chart(axis, runs, scenario),
        _coverage_chart(axis, runs),
        _resets_chart(axis, runs),
    )


def _stacked(
    axis: TimeAxis, layers: Sequence[Column], others: Iterable[Column] = (), **chart: str
) -> Chart:
    """Returns a chart of layers, the lower one first."""
    layers = [layer for layer in layers if any(layer.values)] or list(layers[:1])
    named = [(layer.name, [value or 0 for value in layer.values]) for layer in layers]
    return Chart(
        columns=(*reversed(layers), *others),
        layers=tuple(layers),
        stack=stack(axis, named, HEIGHT),
        **chart,  # type: ignore[arg-type]
    )


def _findings_chart(axis: TimeAxis, runs: Sequence[HistoryRun]) -> Chart:
    """Returns open findings by severity, and when findings were opened and closed."""
    words = ("error", "warning", "info", "waived")
    layers = [Column(name=w, kind=w, values=_field(runs, f"findings.{w}")) for w in words]
    events = [
        Column(name="opened", kind="opened", values=tuple(len(run.opened) for run in runs)),
        Column(name="closed", kind="closed", values=tuple(len(run.closed) for run in runs)),
    ]
    partial = [n for n, run in enumerate(runs) if not is_complete(run)]
    chart = _stacked(
        without_runs(axis, partial),
        layers,
        events,
        id="findings",
        title="Findings",
        text="Findings on all audited hosts, by severity. A triangle marks a run in which a finding"
        " appeared on the first host (opened) or left the last one (closed). A run that audited"
        " less than 90% of the hosts is not drawn.",
        unit="findings",
    )
    lanes = tuple((event, marks(axis, _counts(event.values))) for event in events)
    holes = tuple(Gap(axis.positions[n] - axis.pad, 2 * axis.pad) for n in partial)
    return msgspec.structs.replace(chart, lanes=lanes, holes=holes)


def _series_chart(axis: TimeAxis, runs: Sequence[HistoryRun]) -> Chart:
    """Returns hosts by kernel series, the newest series at the bottom."""
    counted = [Counter(dict(run.series)) for run in runs]
    drawn, small = _largest(counted)
    layers = [
        Column(
            name=name or NO_SERIES, kind=kind, values=_named(counted, (name,)), is_host_text=True
        )
        for name, kind in zip(drawn, _shades(len(drawn)), strict=True)
    ]
    if small:
        layers.append(Column(name=OTHER, kind="other", values=_named(counted, small)))
    return _stacked(
        axis,
        [*layers, _unknown(runs, counted)],
        id="kernels",
        title="Kernel series",
        text="Hosts by the series of their kernel: a rollout is a layer that grows from below."
        " A host that was not audited has an unknown kernel.",
        unit="hosts",
    )


def _endings_chart(axis: TimeAxis, runs: Sequence[HistoryRun], scenario: str) -> Chart:
    """Returns hosts by the ending of the main scenario."""
    counted = [Counter(dict(run.endings)) for run in runs]
    layers = [
        Column(name=name, kind=f"ending-{kind}", values=_named(counted, (name,)))
        for name, kind in _ENDINGS.items()
    ]
    rest = sorted(set().union(*counted) - _ENDINGS.keys())
    layers.append(Column(name=OTHER, kind="other", values=_named(counted, rest)))
    return _stacked(
        axis,
        [*layers, _unknown(runs, counted)],
        id="endings",
        title="Endings",
        text=f"Hosts by what close() sends in the scenario {scenario}. A host that was not audited"
        " has an unknown ending.",
        unit="hosts",
    )


def _coverage_chart(axis: TimeAxis, runs: Sequence[HistoryRun]) -> Chart:
    """Returns hosts by whether they were audited."""
    audited, void = _field(runs, "hosts.audited"), _field(runs, "void")
    proven = tuple(map(_minus, audited, void))
    layers = [
        Column(name="audited", kind="audited", values=proven),
        Column(name="void", kind="void", values=void),
        Column(name="not audited", kind="unknown", values=_field(runs, "hosts.not_audited")),
        Column(name="not selected", kind="not-selected", values=_field(runs, "hosts.not_selected")),
    ]
    return _stacked(
        axis,
        layers,
        id="coverage",
        title="Coverage",
        text="Hosts of the job by whether they were audited. Void: audited, but the positive"
        " control failed, so the endings prove nothing.",
        unit="hosts",
    )


def _resets_chart(axis: TimeAxis, runs: Sequence[HistoryRun]) -> Chart:
    """Returns the rate of resets in production."""
    rates = tuple(run.resets_per_thousand for run in runs)
    columns = (
        Column(name="resets per 1,000 connections", kind="rate", values=rates, digits=2),
        Column(name="hosts measured", kind="", values=_field(runs, "hosts_measured")),
    )
    return Chart(
        id="resets",
        title="Resets in production",
        text="Connections closed with unread data, per 1,000 connections of the hosts whose"
        " counters are known. The line is interrupted where no host has a rate.",
        unit="resets per 1,000 connections",
        columns=columns,
        line=line(axis, rates, HEIGHT),
    )


def _field(runs: Iterable[HistoryRun], path: str) -> tuple[int, ...]:
    """Returns one number of each run, such as "hosts.audited"."""
    return tuple(map(attrgetter(path), runs))


def _minus(number: float, part: float) -> float:
    """Returns what is left of a number, at least 0."""
    return max(number - part, 0)


def _counts(values: Iterable[float | None]) -> list[int]:
    """Returns values as counts."""
    return [int(value or 0) for value in values]


def _named(counted: Iterable[Counter[str]], names: Sequence[str]) -> tuple[int, ...]:
    """Returns how many hosts each run has under these names together."""
    return tuple(sum(map(count.__getitem__, names)) for count in counted)


def _unknown(runs: Iterable[HistoryRun], counted: Iterable[Counter[str]]) -> Column:
    """Returns the hosts that should have been audited and are not counted."""
    both = zip(runs, counted, strict=True)
    values = tuple(_minus(expected_hosts(run), count.total()) for run, count in both)
    return Column(name="unknown", kind="unknown", values=values)


def _largest(counted: Iterable[Mapping[str, int]]) -> tuple[list[str], list[str]]:
    """Returns the series with a layer of their own, newest first, and the rest.

    They are those with most hosts over all runs.
    """
    totals = Counter[str]()
    for count in counted:
        totals.update(count)
    by_size = sorted(totals, key=lambda name: (-totals[name], name))
    most = MOST_SERIES - (len(by_size) > MOST_SERIES)
    drawn = sorted(by_size[:most], key=lambda name: (release_key(name), name), reverse=True)
    return drawn, by_size[most:]


def _shades(count: int) -> Iterator[str]:
    """Yields the classes of `count` layers, the strongest first, spread over the shades."""
    step = min(3.0, (_SHADES - 1) / max(count - 1, 1))
    for n in range(count):
        yield f"shade-{1 + round(n * step)}"
