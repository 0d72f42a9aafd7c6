"""A job over time for a terminal: since when, and whether it is getting better. Pure.

Rules: plain text of 80 columns, or of the width of the terminal; text of files passes
`terminal_line`. Bars are drawn only if the terminal has the characters; every bar stands between
the two numbers that it goes from and to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain, filterfalse, repeat
from operator import attrgetter, methodcaller

from fleetaudit.analysis.history import JobHistory
from fleetaudit.analysis.history.model import BuildHistory, FindingHistory, HistoryRun
from fleetaudit.analysis.history.open_findings import open_since, worst_open
from fleetaudit.text.phrases import count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .history_trend import Sentence, trend_of
from .text_lines import align, join_lines, wrap

MOST_RUNS, MOST_FINDINGS, MOST_CLOSED, MOST_BUILDS = 20, 12, 6, 20
"""How many runs, open and other findings and kernel releases are shown."""
BARS = "▁▂▃▄▅▆▇█"
MOST_BARS, FEWEST_BARS = 32, 8
"""How many bars a row has, and the fewest that are drawn."""
_RELEASE_WIDTH = 40

_RUN_HEADING = ("RUN", "AUDITED", "ERRORS", "WARNINGS", "OPENED", "CLOSED", "RESETS/1000")
_BUILD_HEADING = ("KERNEL", "FIRST SEEN", "LAST SEEN", "HOSTS NOW", "AT MOST")


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
        _kernels(history, width, bars),
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
    trend = trend_of(history.runs)
    return [
        *wrap([f"Is it getting better? {_text(trend.answer)}"], width),
        *wrap(map(_text, trend.details), width, "  "),
        *wrap([_since_when(history)], width),
    ]


def _text(sentence: Sentence) -> str:
    """Returns a sentence, with the day of a run that is named in it."""
    return "".join(_date(part) if isinstance(part, HistoryRun) else part for part in sentence)


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
    measures: dict[str, Sequence[float | None]] = {
        "hosts audited": [run.hosts.audited for run in history.runs],
        "hosts with open findings": [*map(attrgetter("hosts_unmet"), history.runs)],
        **_endings(history),
        "resets per 1,000": [*map(attrgetter("resets_per_thousand"), history.runs)],
    }
    rows = [_row(name, values, bars) for name, values in measures.items() if any(values)]
    return ["From the first run to the last:", *align(rows, "  ")] if rows else []


def _endings(history: JobHistory) -> dict[str, list[int]]:
    """Returns the hosts with each ending of the main scenario, run by run, by what they are.

    {} for a job without a scenario, such as one of `fleetaudit watch`.
    """
    if not history.scenario:
        return {}
    by_run = [dict(run.endings) for run in history.runs]
    words = dict.fromkeys(chain.from_iterable(by_run))
    return {
        f"{terminal_line(history.scenario)}: {terminal_line(word)}": [
            *map(methodcaller("get", word, 0), by_run)
        ]
        for word in words
    }


def _row(name: str, values: Sequence[float | None], bars: bool) -> tuple[str, ...]:
    """Returns the cells of one measure."""
    between = draw_bars(values, MOST_BARS) if bars else "to"
    return name, _number(_first_known(values)), between, _number(_first_known(values[::-1]))


def draw_bars(values: Sequence[float | None], most: int) -> str:
    """Returns a bar for each of at most `most` values, taken at equal distances from the first to
    the last; a blank for an unknown one.

    The lowest bar is 0, and the greatest value has the highest. "" if `most` is too few to see
    anything.
    """
    if most < FEWEST_BARS:
        return ""
    last, number = len(values) - 1, min(most, len(values))
    shown = [values[round(place * last / max(number - 1, 1))] for place in range(number)]
    greatest = max(filter(None, shown), default=1)
    return "".join(map(_bar, shown, repeat(greatest)))


def _bar(value: float | None, greatest: float) -> str:
    """Returns the bar of one value; whatever is above 0 is higher than the lowest."""
    if value is None:
        return " "
    return BARS[math.ceil(value / greatest * (len(BARS) - 1))]


def _first_known(values: Iterable[float | None]) -> float | None:
    """Returns the first value that is known."""
    return next(filter(_is_known, values), None)


def _is_known(value: float | None) -> bool:
    """Returns whether a value is known."""
    return value is not None


def _number(value: float | None) -> str:
    """Returns a count, a rate with two decimals, or "?"."""
    if value is None:
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


# ---- tables --------------------------------------------------------------------------------------


def _runs(runs: Sequence[HistoryRun]) -> list[str]:
    """Returns the last runs as a table, the newest last."""
    rows = align([_RUN_HEADING, *map(_run_row, runs[-MOST_RUNS:])])
    return [*rows, *_more(len(runs) - MOST_RUNS, "earlier")]


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
    found = filter(attrgetter("open"), history.findings)
    return _findings(
        "Open findings:", [*map(_open_finding, found, repeat(history))], MOST_FINDINGS, width
    )


def _open_finding(finding: FindingHistory, history: JobHistory) -> str:
    """Returns a finding, how many hosts have it, and since when."""
    now = finding.hosts[-1]
    hosts = "hosts unknown" if now is None else count_noun(now, "host")
    since = terminal_line(open_since(finding, history))
    return f"{_finding(finding)}: {hosts}, first seen {since}"


def _other_findings(history: JobHistory, width: int) -> list[str]:
    """Returns the findings that are closed, waived or gone, those seen last first."""
    closed = filterfalse(attrgetter("open"), history.findings)
    last_first = sorted(closed, key=attrgetter("last_seen.started"), reverse=True)
    return _findings("Closed, waived or gone:", [*map(_seen, last_first)], MOST_CLOSED, width)


def _seen(finding: FindingHistory) -> str:
    """Returns a finding, and the days on which it was seen first and last."""
    first, last = finding.first_seen.started, finding.last_seen.started
    return f"{_finding(finding)}: first seen {_day(first)}, last seen {_day(last)}"


def _findings(title: str, rows: Sequence[str], most: int, width: int) -> list[str]:
    """Returns rows of findings below a title, [] without any."""
    if not rows:
        return []
    return [title, *wrap(rows[:most], width, "  "), *_more(len(rows) - most, "more")]


def _finding(finding: FindingHistory) -> str:
    """Returns the severity and the subject of a finding."""
    return f"{finding.severity}  {_subject(finding)}"


def _subject(finding: FindingHistory) -> str:
    """Returns what a finding is about."""
    return terminal_line(finding.subject, 200)


def _kernels(history: JobHistory, width: int, bars: bool) -> list[str]:
    """Returns the kernel releases as they spread, in numeric order; those seen last if there are
    too many.
    """
    last = sorted(history.builds, key=attrgetter("last_seen.started"))[-MOST_BUILDS:]
    shown = [build for build in history.builds if build in last]
    if not shown:
        return []
    rows = align([_BUILD_HEADING, *map(_build_row, shown)])
    if bars:
        most = min(MOST_BARS, width - len(rows[0]) - 2)
        drawn = map(draw_bars, map(attrgetter("hosts"), shown), repeat(most))
        rows = [*map("  ".join, zip(rows, ("", *drawn), strict=True))]
    return [*rows, *_more(len(history.builds) - len(shown), "earlier kernels")]


def _more(number: int, what: str) -> list[str]:
    """Returns the line that counts what is not shown, [] if everything is."""
    return [f"  and {number:,} {what}: --format json has all"] if number > 0 else []


def _build_row(build: BuildHistory) -> tuple[str, ...]:
    """Returns the cells of one kernel release."""
    return (
        terminal_line(build.release, _RELEASE_WIDTH),
        _day(build.first_seen.started),
        _day(build.last_seen.started),
        f"{build.hosts[-1]:,}",
        f"{max(build.hosts):,}",
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
