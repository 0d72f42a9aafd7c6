"""A job over time for a terminal: since when, and whether it is getting better. Pure.

Rules: plain text of 80 columns, or of the width of the terminal; text of files passes
`terminal_line`. Bars are drawn only if the terminal has the characters; every bar stands between
the two numbers that it goes from and to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fleetaudit.analysis.history import JobHistory
from fleetaudit.analysis.history.model import BuildHistory, FindingHistory, HistoryRun
from fleetaudit.analysis.history.trend import Direction, Trend, open_since, trend_of, worst_open
from fleetaudit.text.phrases import count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .text_lines import align, join_lines, wrap

MOST_RUNS, MOST_FINDINGS, MOST_CLOSED, MOST_BUILDS = 20, 12, 6, 20
"""How many runs, open and other findings and kernel releases are shown."""
BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 32
"""How many runs a row of bars has, the last ones."""
_RELEASE_WIDTH = 40

_DIRECTIONS: dict[Direction, str] = {
    "better": "Yes",
    "worse": "No, it is getting worse",
    "unchanged": "Neither better nor worse",
    "unknown": "Unknown: it takes two runs that audited a host",
}
_RUN_HEADING = ("RUN", "AUDITED", "ERRORS", "WARNINGS", "OPENED", "CLOSED", "RESETS/1000")
_BUILD_HEADING = ("KERNEL", "FIRST SEEN", "LAST SEEN", "HOSTS")


def history_text(history: JobHistory, *, width: int = 80, bars: bool = False) -> str:
    """Returns the history of a job.

    `bars`: the terminal can show the characters of `BARS`.
    """
    blocks = (
        _heading(history, width),
        _answers(history, width),
        _over_time(history, bars),
        _runs(history.runs),
        _open_findings(history, width),
        _other_findings(history, width),
        _kernels(history, bars),
        _unreadable(history),
    )
    return "\n".join(map(join_lines, filter(None, blocks)))


def _heading(history: JobHistory, width: int) -> list[str]:
    """Returns the job, and which runs there are."""
    first, last = history.runs[0], history.runs[-1]
    runs = f"{count_noun(len(history.runs), 'run')}, {_date(first)} to {_date(last)}"
    hosts = f"{last.hosts.audited:,} of {count_noun(last.hosts.selected, 'host')} audited"
    return [
        f"{terminal_line(history.job)}: {terminal_line(history.description)}",
        *wrap([f"{runs}. The last run, {terminal_line(last.id)}: {hosts}."], width),
    ]


def _answers(history: JobHistory, width: int) -> list[str]:
    """Returns whether the job is getting better, and since when it has its worst findings."""
    return wrap([_better(trend_of(history)), _since_when(history)], width)


def _better(trend: Trend) -> str:
    """Returns whether a job is getting better, with the numbers behind that."""
    answer = f"Is it getting better? {_DIRECTIONS[trend.direction]}"
    if trend.direction == "unknown":
        return f"{answer}."
    first, last = trend.first, trend.last
    then, now = first.hosts.not_audited, last.hosts.not_audited
    missing = f" Not audited: {now:,} hosts now, {then:,} then." if now or then else ""
    return f"{answer}: {_unmet(last)} on {_date(last)}, {_unmet(first)} on {_date(first)}.{missing}"


def _unmet(run: HistoryRun) -> str:
    """Returns the findings of a run above info that are not waived."""
    findings = run.findings
    return f"{count_noun(findings.error, 'error')} and {count_noun(findings.warning, 'warning')}"


def _since_when(history: JobHistory) -> str:
    """Returns since when a job has its worst open finding."""
    worst = worst_open(history)
    if not worst:
        return "Since when? No finding above info is open."
    finding = worst[0]
    more = surround("; ", _more_findings(len(worst) - 1))
    since = terminal_line(open_since(finding, history))
    return f"Since when? {_subject(finding)} ({finding.severity}): since {since}{more}."


def _more_findings(number: int) -> str:
    """Returns how many more findings are open, "" for none."""
    return f"{count_noun(number, 'more finding')} below" if number else ""


# ---- bars ----------------------------------------------------------------------------------------


def _over_time(history: JobHistory, bars: bool) -> list[str]:
    """Returns a row per measure of the runs: its first value, bars, and its last value."""
    if len(history.runs) < 2:
        return []
    measures: tuple[tuple[str, Sequence[float | None]], ...] = (
        (
            "errors and warnings",
            [run.findings.error + run.findings.warning for run in history.runs],
        ),
        ("hosts audited", [run.hosts.audited for run in history.runs]),
        *_endings(history),
        ("resets per 1,000", [run.resets_per_thousand for run in history.runs]),
    )
    known = [(name, values) for name, values in measures if any(values)]
    rows = [_row(name, values, bars) for name, values in known]
    return ["From the first run to the last:", *align(rows, "  ")] if rows else []


def _endings(history: JobHistory) -> Iterator[tuple[str, list[int]]]:
    """Yields the hosts with each ending of the main scenario, run by run."""
    by_run = [dict(run.endings) for run in history.runs]
    for ending in dict.fromkeys(name for endings in by_run for name in endings):
        yield (
            f"hosts with {terminal_line(ending)}",
            [endings.get(ending, 0) for endings in by_run],
        )


def _row(name: str, values: Sequence[float | None], bars: bool) -> tuple[str, ...]:
    """Returns the cells of one measure."""
    between = draw_bars(values) if bars else "to"
    return name, _number(_first_known(values)), between, _number(_first_known(values[::-1]))


def draw_bars(values: Sequence[float | None]) -> str:
    """Returns a bar per value, the last `MOST_BARS` of them; a blank for an unknown one.

    The bars begin at 0, and the greatest value has the highest.
    """
    shown = values[-MOST_BARS:]
    greatest = max((value for value in shown if value is not None), default=0) or 1
    return "".join(_bar(value, greatest) for value in shown)


def _bar(value: float | None, greatest: float) -> str:
    """Returns the bar of one value."""
    if value is None:
        return " "
    return BARS[round(value / greatest * (len(BARS) - 1))]


def _first_known(values: Iterable[float | None]) -> float | None:
    """Returns the first value that is known."""
    return next((value for value in values if value is not None), None)


def _number(value: float | None) -> str:
    """Returns a count, a rate with two decimals, or "?"."""
    if value is None:
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


# ---- tables --------------------------------------------------------------------------------------


def _runs(runs: Sequence[HistoryRun]) -> list[str]:
    """Returns the last runs as a table, the newest last."""
    lines = align([_RUN_HEADING, *map(_run_row, runs[-MOST_RUNS:])])
    earlier = len(runs) - MOST_RUNS
    if earlier > 0:
        lines.insert(1, f"({count_noun(earlier, 'earlier run')}: --format json has all)")
    return lines


def _run_row(run: HistoryRun) -> tuple[str, ...]:
    """Returns the cells of one run."""
    hosts, findings = run.hosts, run.findings
    return (
        terminal_line(run.id),
        f"{hosts.audited:,} of {hosts.selected:,}",
        f"{findings.error:,}",
        f"{findings.warning:,}",
        f"{len(run.opened):,}",
        f"{len(run.closed) + len(run.gone):,}",
        _number(run.resets_per_thousand),
    )


def _open_findings(history: JobHistory, width: int) -> list[str]:
    """Returns the findings that are open, the most severe first."""
    found = [finding for finding in history.findings if finding.open]
    rows = [f"{_finding(finding)}: {_open_hosts(finding, history)}" for finding in found]
    return _findings("Open findings:", rows, MOST_FINDINGS, width)


def _open_hosts(finding: FindingHistory, history: JobHistory) -> str:
    """Returns how many hosts have a finding, and since when."""
    now = finding.hosts[-1]
    hosts = "hosts unknown" if now is None else count_noun(now, "host")
    return f"{hosts}, first seen {terminal_line(open_since(finding, history))}"


def _other_findings(history: JobHistory, width: int) -> list[str]:
    """Returns the findings that are closed, waived or gone, those seen last first."""
    found = [finding for finding in history.findings if not finding.open]
    found.sort(key=lambda finding: finding.last_seen.started, reverse=True)
    rows = [
        f"{_finding(finding)}: first seen {_day(finding.first_seen.started)}, last seen"
        f" {_day(finding.last_seen.started)}"
        for finding in found
    ]
    return _findings("Closed, waived or gone:", rows, MOST_CLOSED, width)


def _findings(title: str, rows: Sequence[str], most: int, width: int) -> list[str]:
    """Returns rows of findings below a title, [] without any."""
    if not rows:
        return []
    more = len(rows) - most
    rest = [f"  and {more:,} more: --format json has all"] if more > 0 else []
    return [title, *wrap(rows[:most], width, "  "), *rest]


def _finding(finding: FindingHistory) -> str:
    """Returns the severity and the subject of a finding."""
    return f"{finding.severity}  {_subject(finding)}"


def _subject(finding: FindingHistory) -> str:
    """Returns what a finding is about."""
    return terminal_line(finding.subject, 200)


def _kernels(history: JobHistory, bars: bool) -> list[str]:
    """Returns the kernel releases as they spread, in numeric order; those seen last if there are
    too many.
    """
    builds = sorted(history.builds, key=lambda build: build.last_seen.started)[-MOST_BUILDS:]
    shown = [build for build in history.builds if build in builds]
    rows = [_build_row(build, bars) for build in shown]
    left_out = len(history.builds) - len(shown)
    rest = [f"and {left_out:,} earlier kernels: --format json has all"] if left_out else []
    return [*align([_BUILD_HEADING, *rows]), *rest] if rows else []


def _build_row(build: BuildHistory, bars: bool) -> tuple[str, ...]:
    """Returns the cells of one kernel release."""
    drawn = f" {draw_bars(build.hosts)} " if bars else " to "
    return (
        terminal_line(build.release, _RELEASE_WIDTH),
        _day(build.first_seen.started),
        _day(build.last_seen.started),
        f"{build.hosts[0]:,}{drawn}{build.hosts[-1]:,}",
    )


def _unreadable(history: JobHistory) -> list[str]:
    """Returns the runs that cannot be read, and why."""
    return [
        f"{terminal_line(run.id)}: left out: {terminal_line(run.reason)}"
        for run in history.unreadable
    ]


def _date(run: HistoryRun) -> str:
    """Returns the day on which a run started."""
    return _day(run.started)


def _day(started: str) -> str:
    """Returns the day of a moment in RFC 3339."""
    return terminal_line(started[:10])
