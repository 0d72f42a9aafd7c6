"""Hosts that were looked over, for a terminal: one host as a story, several as a table and the
causes below it.

Rules: pure, and plain text; every state is a word. What a host or an inventory said passes `terminal_line`.
A command to type is on a line of its own and is never wrap.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.doctor import (
    CHECK_STAGES,
    CheckStage,
    DoctorReport,
    HostCheck,
    StageResult,
    failure_causes,
)
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.plurals import count_noun
from fleetaudit.text.sanitize import terminal_line

from .text_lines import (
    cause_lines,
    join_hosts,
    join_lines,
    wrap,
)

FAIL = "✗ FAIL"
_WORDS = {
    "passed": "ok",
    "failed": FAIL,
    "not needed": "–",
    "not reached": "not reached",
    "not told": "not told",
}
_STOPPED = {"inventory": "and cannot be tried", "interrupted": "the check was interrupted"}
_SHORT: dict[str, str] = {
    "host key": "host\nkey",
    "authenticate": "authen-\nticate",
    "interpreter": "inter-\npreter",
    "namespaces": "name-\nspaces",
}
_LEGEND = "A time, version or ok: passed.  –: not needed.  ?: not told.  Empty: not reached."
_LEAST_NAME = 12
_MOST_NAMES = 8


def duration(ms: float | None) -> str:
    """Returns a time in three digits at most: "0.4 ms", "12 ms", "1.3 s", "2 min"."""
    if ms is None:
        return ""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 99_950 else f"{ms / 60_000:.0f} min"


def progress(visit: HostCheck) -> str:
    """Returns the one line that tells of a host as it comes in."""
    if visit.ready:
        return f"{terminal_line(visit.name)}: ready in {duration(visit.ms)}"
    return (
        f"{terminal_line(visit.name)}: NOT ready: {visit.stage}: {terminal_line(visit.reason, 300)}"
    )


# ---- one host
# ------------------------------------------------------------------------------------------------------


def host_story(visit: HostCheck, *, width: int, next_: str) -> str:
    """Returns one host's stages, a line each, and the next command to type: the host's hint, or
    `next_` where it is ready.
    """
    took = (
        f" {'in' if visit.ready else 'after'} {duration(visit.ms)}" if visit.ms is not None else ""
    )
    tries = f", at attempt {visit.attempts}" if visit.attempts > 1 else ""
    verdict = (
        "ready"
        if visit.ready
        else f"NOT ready, {_STOPPED.get(visit.stage or '', f'stopped at {visit.stage}')}"
    )
    lines = [f"{terminal_line(visit.name)}: {verdict}{took}{tries}", ""]
    for step in visit.steps:
        lines += _step(step, width)
        if step.state == "failed":
            lines += wrap([terminal_line(visit.reason)], width, "      ")
    if visit.stage == "interrupted":
        lines += ["", *wrap([terminal_line(visit.reason)], width)]
    if visit.kernel:
        kernel = (
            f"kernel {terminal_line(visit.kernel.release)} ({terminal_line(visit.kernel.version)})"
            f" {terminal_line(visit.kernel.machine)}"
        )
        system = (
            f", {terminal_line(visit.os.pretty_name)}" if visit.os and visit.os.pretty_name else ""
        )
        lines += ["", *wrap([kernel + system], width, "  ")]
    if visit.isolation == "host":
        lines += wrap(
            ["A run would measure in the host's own namespace, with its firewall in the way."],
            width,
            "  ",
        )
    if visit.ready:
        lines += _lacks(visit, width)
    hint = next_ if visit.ready else visit.hint
    if hint:
        lines += ["", f"next:  {terminal_line(hint)}"]
    return join_lines(lines)


def _lacks(visit: HostCheck, width: int) -> list[str]:
    """Returns what a run would lack on a host that is ready, and the commands that would bring it
    back.
    """
    lines = list[str]()
    if visit.no_capture:
        lines += wrap(
            [f"No packet would be captured: {terminal_line(visit.no_capture)}"], width, "  "
        )
    if visit.sets_sysctls is False:
        why = "that needs a private network namespace in which /proc/sys is not read-only"
        lines += wrap([f"No scenario could set a sysctl: {why}"], width, "  ")
    if not visit.missing:
        return lines
    lines += ["", f"  {_counts(visit)}:"]
    for lack in visit.missing:
        words = f"{lack.verdicts:3} {lack.ending}: {terminal_line(lack.reason)} ({_names(lack.scenarios)})"
        lines += wrap([words], width, "    ")
    return [*lines, *_fixes(visit.fixes)]


def _names(scenarios: Sequence[str]) -> str:
    more = len(scenarios) - _MOST_NAMES
    return ", ".join(map(terminal_line, scenarios[:_MOST_NAMES])) + (
        f" and {more:,} more" if more > 0 else ""
    )


def _counts(visit: HostCheck) -> str:
    lost = sum(lack.verdicts for lack in visit.missing)
    return f"A run would lack {lost:,} of {count_noun(visit.verdicts, 'verdict')}"


def _fixes(fixes: Sequence[str]) -> list[str]:
    words = ("fix", *[" or"] * len(fixes))
    return (
        ["", *(f"  {word}:  {terminal_line(fix)}" for word, fix in zip(words, fixes, strict=False))]
        if fixes
        else []
    )


def _step(step: StageResult, width: int) -> list[str]:
    head = f"  {step.stage:12}  {_WORDS[step.state]:6}  {duration(step.ms):>7}  "
    if not step.found:
        return [head]
    return textwrap.wrap(
        terminal_line(step.found),
        max(width, len(head) + 30),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


# ---- several
# -------------------------------------------------------------------------------------------------------


def host_table(
    examination: DoctorReport, *, width: int, next_: str, problems_only: bool = False
) -> str:
    """Returns a row a host, then why hosts are not ready, each cause with its next command; `next_`
    where all are.

    `problems_only` leaves out what is ready, so the text may be empty.
    """
    visits = examination.hosts
    shown = [visit for visit in visits if not (problems_only and visit.ready)]
    if not shown:
        return ""
    lines = _rows(shown, width)
    lines += [""] if problems_only else ["", *wrap([_LEGEND], width), ""]
    lines += [*_causes(failure_causes(visits), width)]
    if not problems_only:
        lines += _limited(visits, width)
        lines += _noted(visits, width)
        ready = sum(visit.ready for visit in visits)
        lines += [
            f"{count_noun(len(visits), 'host')}: {ready:,} ready, {len(visits) - ready:,} not ready."
        ]
        if ready == len(visits):
            lines += ["", f"next:  {terminal_line(next_)}"]
    return join_lines(lines)


class _Column(NamedTuple):
    head: str
    cells: list[str]
    width: int
    left: bool = False

    @classmethod
    def of(cls, head: str, cells: list[str], *, left: bool = False) -> _Column:
        """Returns the column, as wide as its widest line: there are ten thousand."""
        return cls(head, cells, max(map(len, (*head.split("\n"), *cells))), left)


def _rows(visits: Sequence[HostCheck], width: int) -> list[str]:
    """The table in the widest form that fits: with totals and kernels, with whole headings, with
    folded ones.
    """
    names = [terminal_line(visit.name) for visit in visits]
    stages = [(point, [_cell(visit, point) for visit in visits]) for point in CHECK_STAGES[1:]]
    whole = [_Column.of(point, cells) for point, cells in stages]
    folded = [_Column.of(_SHORT.get(point, point), cells) for point, cells in stages]
    total = _Column.of("total", [duration(visit.ms) for visit in visits])
    kernel = _Column.of(
        "kernel",
        [terminal_line(visit.kernel.release, 40) if visit.kernel else "" for visit in visits],
        left=True,
    )
    longest = max(map(len, names))
    layouts = (
        [*whole, total, kernel],
        [*folded, total, kernel],
        [*whole, total],
        [*folded, total],
        whole,
        folded,
    )
    columns = next((layout for layout in layouts if _breadth(layout) + longest <= width), folded)
    room = min(longest, max(_LEAST_NAME, width - _breadth(columns)))
    lines = _heading(columns, room)
    for i, (visit, name) in enumerate(zip(visits, names, strict=True)):
        unplaced = visit.stage in _STOPPED
        cells = (
            f"  {FAIL}: {visit.stage}"
            if unplaced
            else "".join(_padded(c, c.cells[i]) for c in columns)
        )
        if (
            len(name) > room
        ):  # on a line of its own: two long names often differ in their last letters alone
            lines.append(name)
            name = ""
        lines.append(f"{name:{room}}{cells}")
    return lines


def _breadth(columns: Iterable[_Column]) -> int:
    return sum(column.width + 2 for column in columns)


def _padded(column: _Column, text: str) -> str:
    return "  " + (text.ljust(column.width) if column.left else text.rjust(column.width))


def _heading(columns: Sequence[_Column], room: int) -> list[str]:
    heads = [column.head.split("\n") for column in columns]
    deep = max(map(len, heads))
    lines = list[str]()
    for row in range(deep):
        cells = ((["", *head] if len(head) < deep else head)[row] for head in heads)
        name = "host" if row == deep - 1 else ""
        lines.append(f"{name:{room}}" + "".join(map(_padded, columns, cells)))
    return lines


def _cell(visit: HostCheck, point: CheckStage) -> str:
    """One stage of one host in few letters; that of the jump hosts on the way is in it."""
    steps = [step for step in visit.steps if step.stage == point]
    states = {step.state for step in steps}
    if "failed" in states:
        return FAIL
    beyond = visit.stage in CHECK_STAGES and CHECK_STAGES.index(point) > CHECK_STAGES.index(
        visit.stage
    )
    if beyond or not steps or "not reached" in states:
        return ""
    if states == {"not needed"}:
        return "–"
    if states == {"not told"}:
        return "?"
    if point == "interpreter" and visit.python:
        return terminal_line(visit.python.split()[0], 12) if visit.python.split() else "ok"
    if point == "namespaces":
        return "private" if visit.isolation == "namespace" else "host's"
    return _time(steps)


def _time(steps: Sequence[StageResult]) -> str:
    told = [step.ms for step in steps if step.ms is not None]
    return duration(sum(told)) if told else "ok"


def _causes(causes: Sequence[Cause], width: int) -> list[str]:
    if not causes:
        return []
    lines = [f"Not ready: {count_noun(sum(cause.hosts.count for cause in causes), 'host')}", ""]
    for cause in causes:
        lines += [*cause_lines(cause, width), ""]
    return lines


def _limited(visits: Sequence[HostCheck], width: int) -> list[str]:
    """The hosts that are ready and would be measured in their own namespace, by why and by what a
    run would lack.
    """
    alike = dict[tuple[object, ...], list[HostCheck]]()
    for visit in visits:
        if visit.isolation == "host":
            settings = tuple(fix for fix in visit.fixes if fix.startswith("sysctl "))
            alike.setdefault((visit.notes[:1], visit.missing, settings), []).append(visit)
    if not alike:
        return []
    lines = [
        "Ready, but a run would measure in the host's own namespace, with its firewall in the way:"
    ]
    for hosts in alike.values():
        names = join_hosts(fold_hosts(visit.name for visit in hosts))
        lines += wrap([f"{names}: {terminal_line(next(iter(hosts[0].notes), ''))}"], width, "  ")
        lines += _lost(
            hosts[0], width, f" ({terminal_line(hosts[0].name)})" if len(hosts) > 1 else ""
        )
    return [*lines, ""]


def _lost(visit: HostCheck, width: int, where: str) -> list[str]:
    """Returns how many verdicts a run would not have on a host, why, and the fixes."""
    if not visit.missing:
        return []
    lines = [f"    {_counts(visit)}:"]
    for lack in visit.missing:
        lines += wrap(
            [f"{lack.verdicts} {lack.ending}: {terminal_line(lack.reason)}"], width, "      "
        )
    words = (f"fix{where}", "or") if visit.fixes else ()
    return lines + [
        f"      {word}:  {terminal_line(fix)}"
        for word, fix in zip(words, visit.fixes, strict=False)
    ]


def _noted(visits: Sequence[HostCheck], width: int) -> list[str]:
    """Returns what else is known of hosts that are ready, such as a named interpreter that does not
    work.
    """
    hosts = dict[str, list[str]]()
    for visit in visits:
        # The first note of a host without a namespace says why; it is shown already.
        for note in visit.notes[1:] if visit.isolation == "host" else visit.notes:
            hosts.setdefault(note, []).append(visit.name)
    if not hosts:
        return []
    lines = ["Notes:"]
    for note, names in hosts.items():
        lines += wrap([f"{join_hosts(fold_hosts(names))}: {terminal_line(note)}"], width, "  ")
    return [*lines, ""]
