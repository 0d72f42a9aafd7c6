"""Lays the history of a job out as one self-contained HTML page; how a document is made:
document.py.

Rules: runs are in the order of their times. A number that a run cannot give is shown as unknown,
and is never taken for 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from markupsafe import Markup

from fleetaudit.analysis.history.model import BuildHistory, FindingHistory, HistoryRun, JobHistory
from fleetaudit.model import SEVERITIES
from fleetaudit.text.kernel_releases import release_key

from .charts import stack
from .common import parse_moment
from .document import page_text, render_document
from .history_charts import HEIGHT, Chart, history_charts
from .history_hosts import host_data, host_rows
from .history_trend import trend_of
from .page_data import encode_data
from .time_axis import TimeAxis, time_axis

SCRIPTS = ("history.js", "history_host.js")
STYLES = ("charts.css",)
MOST_ROWS = 200
"""Maximum number of findings and of builds in a table; a text names how many more there are."""
SPARK_HEIGHT = 24
"""The height of the small chart of a row, in pixels."""
_YEARS = range(1970, 2200)
"""A run at another time has no place on an axis."""


class RunLink(msgspec.Struct, frozen=True, kw_only=True):
    """A run and its report: `when` and `day` are its start in UTC, or its id; `href` may be "".

    `reason` says why an unreadable run has no numbers; `run` is None then.
    """

    id: str
    when: str
    day: str
    href: str
    run: HistoryRun | None = None
    reason: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A finding or a build over the runs.

    `spark` is the path of its small chart. `now` is None if the newest run cannot say. `most` hosts
    were first seen in the run `most_in`.
    """

    item: FindingHistory | BuildHistory
    first: RunLink
    last: RunLink
    spark: str
    now: int | None
    most: int
    most_in: RunLink


class _Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that have a place on the axis: where they are in the history, and their links."""

    order: tuple[int, ...]
    runs: tuple[HistoryRun, ...]
    axis: TimeAxis
    links: Mapping[str, RunLink]


def render(
    history: JobHistory,
    *,
    links: Mapping[str, str] | None = None,
    generated: str,
    home: str = "",
) -> str:
    """Returns the page of a job.

    `links` are the addresses of the reports, relative to the page, by the id of their run.
    `generated` is the moment to print on it, RFC 3339. `home` is the address of the site that the
    page is in, "" if it is in none.
    """
    run_links = {run.id: _run_link(run, links or {}) for run in history.runs}
    dated = _dated_runs(history.runs, run_links)
    return render_document(
        "history.html",
        scripts=SCRIPTS,
        styles=STYLES,
        h=history,
        generated=generated,
        home=home,
        all_runs=_all_runs(history, run_links),
        MOST_ROWS=MOST_ROWS,
        SPARK_HEIGHT=SPARK_HEIGHT,
        **(_over_time(history, dated) if dated else {"axis": None}),
    )


def _over_time(history: JobHistory, dated: _Runs) -> dict[str, object]:
    """Returns what the page shows of at least one run with a time."""
    findings = sorted(history.findings, key=_finding_order)
    builds = sorted(history.builds, key=_build_order, reverse=True)
    charted = [dated.links[run.id] for run in dated.runs]
    charts = history_charts(dated.axis, dated.runs, history.scenario)
    # A timeline has the indexes of runs in the history: on the axis they must be the same.
    has_hosts = dated.order == tuple(range(len(history.runs)))
    data: dict[str, object] = {"at": dated.axis.positions}
    if has_hosts:
        gaps = [(gap.start, gap.width) for gap in dated.axis.gaps]
        data |= {"pad": dated.axis.pad, "gaps": gaps, "height": HEIGHT}
        data |= host_data(history, _kinds(charts))
    return {
        "axis": dated.axis,
        "links": dated.links,
        "trend": trend_of(dated.runs),
        "charts": charts,
        "charted": charted,
        "findings": [_row(item, dated) for item in findings[:MOST_ROWS]],
        "builds": [_row(item, dated) for item in builds[:MOST_ROWS]],
        "host_rows": list(host_rows(history)) if has_hosts else [],
        "data": Markup(encode_data(data, page_text)),  # noqa: S704 - no <, > and & in it
    }


def _kinds(charts: Iterable[Chart]) -> dict[str, str]:
    """Returns the classes of the layers of kernel series, by series."""
    layers = next(chart.layers for chart in charts if chart.id == "kernels")
    return {layer.name: layer.kind for layer in layers}


def _run_link(run: HistoryRun, links: Mapping[str, str]) -> RunLink:
    """Returns a run with the address of its report."""
    moment = _moment(run)
    when = f"{moment:%Y-%m-%d %H:%M}" if moment else run.id
    day = when.partition(" ")[0]
    return RunLink(id=run.id, when=when, day=day, href=links.get(run.id, ""), run=run)


def _unlinked(run: str, reason: str = "") -> RunLink:
    """Returns a run of which only the id is known."""
    return RunLink(id=run, when=run, day=run, href="", reason=reason)


def _moment(run: HistoryRun) -> datetime | None:
    """Returns when a run started, None if that is no time on an axis."""
    moment = parse_moment(run.started)
    if moment is None or moment.year not in _YEARS:
        return None
    return moment.astimezone(UTC)


def _dated_runs(runs: Sequence[HistoryRun], links: Mapping[str, RunLink]) -> _Runs | None:
    """Returns the runs whose time is known, earliest first; None if there is no such run."""
    moments = [(moment, n) for n, moment in enumerate(map(_moment, runs)) if moment]
    if not moments:
        return None
    moments.sort()
    order = tuple(n for _, n in moments)
    return _Runs(
        order=order,
        runs=tuple(runs[n] for n in order),
        axis=time_axis([moment for moment, _ in moments]),
        links=links,
    )


def _all_runs(history: JobHistory, links: Mapping[str, RunLink]) -> list[RunLink]:
    """Returns the runs and the unreadable ones among them, newest first."""
    unreadable = [_unlinked(run.id, run.reason) for run in history.unreadable]
    return sorted([*links.values(), *unreadable], key=lambda run: run.id, reverse=True)


def _finding_order(finding: FindingHistory) -> tuple[bool, int, str, str]:
    """Sorts open findings first, then by severity, most severe first."""
    severity = -SEVERITIES.index(finding.severity)
    return not finding.open, severity, finding.subject, finding.id


def _build_order(build: BuildHistory) -> tuple[object, str]:
    """Sorts builds by the number of their release."""
    return release_key(build.release), build.release


def _row(item: FindingHistory | BuildHistory, dated: _Runs) -> Row:
    """Returns a finding or a build with its small chart."""
    counts = [item.hosts[n] for n in dated.order]
    known = [count or 0 for count in counts]
    most = max(known)
    return Row(
        item=item,
        first=_seen(item.first_seen.run, dated),
        last=_seen(item.last_seen.run, dated),
        spark=stack(dated.axis, [("", known)], SPARK_HEIGHT).areas[0].path,
        now=counts[-1],
        most=most,
        most_in=dated.links[dated.runs[known.index(most)].id],
    )


def _seen(run: str, dated: _Runs) -> RunLink:
    """Returns the run in which something was seen."""
    return dated.links.get(run) or _unlinked(run)
