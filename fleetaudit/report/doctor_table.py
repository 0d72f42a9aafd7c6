"""The connectivity check of several hosts as a table for a terminal, with the causes of failures.

Rules: as in `doctor`. A cell has a time, a version or one mark; the legend explains the marks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from itertools import zip_longest

import msgspec

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.compare.common import group_by
from fleetaudit.analysis.doctor import (
    CHECK_STAGES,
    CheckStage,
    DoctorReport,
    HostCheck,
    StageResult,
    State,
    failure_causes,
)
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.phrases import count_noun
from fleetaudit.text.sanitize import terminal_line

from .doctor import (
    FAIL,
    STOPPED,
    format_duration,
    missing_text,
)
from .text_lines import (
    cause_lines,
    command_line,
    join_hosts,
    join_lines,
    wrap,
)

_FOLDED_HEADINGS: Mapping[str, str] = {
    "host key": "host\nkey",
    "authenticate": "authen-\nticate",
    "interpreter": "inter-\npreter",
    "namespaces": "name-\nspaces",
}
_STAGES = CHECK_STAGES[1:]
"""The stages with a column: all but the inventory, which has no host to connect to."""
_LEGEND = "A time, version or ok: passed.  –: not needed.  ?: unknown.  Empty: not reached."
_HOST_NAMESPACE = (
    "Ready, but a run would measure in the host's own namespace, where its firewall takes part:"
)
_MARKS: Mapping[frozenset[State], str] = {
    frozenset({"not needed"}): "–",
    frozenset({"not told"}): "?",
}
"""The cells of stages all of whose results have one state."""
_SHORTEST_NAME = 12
"""Columns that the names have at least, however narrow the terminal is."""


def host_check_table(
    report: DoctorReport, *, width: int, next_: str, problems_only: bool = False
) -> str:
    """Returns a row per host, then the causes of failures, each with its next command.

    `next_` is the command to type if all hosts are ready. `problems_only` leaves out hosts that are
    ready, so the text may be empty. The last line counts hosts, "3 hosts: 2 ready, 1 not ready.".
    Lines have at most `width` columns, except for commands and for names that need more.
    """
    checks = report.hosts
    if problems_only:
        return _problems(checks, width)
    if not checks:
        return ""
    return join_lines(
        (
            *_table(checks, width),
            "",
            *wrap([_LEGEND], width),
            "",
            *_causes(failure_causes(checks), width),
            *_in_host_namespace(checks, width),
            *_notes(checks, width),
            *_conclusion(checks, next_),
        )
    )


def _problems(checks: Iterable[HostCheck], width: int) -> str:
    """Returns only the hosts that are not ready, with the causes."""
    failed = [check for check in checks if not check.ready]
    if not failed:
        return ""
    return join_lines([*_table(failed, width), "", *_causes(failure_causes(failed), width)])


def _conclusion(checks: Sequence[HostCheck], next_: str) -> list[str]:
    """Returns how many hosts are ready, and the next command if all are."""
    ready = sum(check.ready for check in checks)
    counts = f"{ready:,} ready, {len(checks) - ready:,} not ready."
    lines = [f"{count_noun(len(checks), 'host')}: {counts}"]
    if ready == len(checks):
        lines += ["", command_line("next", next_)]
    return lines


# ---- the table


class _Column(msgspec.Struct, frozen=True):
    """A column: its heading, which may have several lines, and its cells.

    `align` is `str.ljust` or `str.rjust`.
    """

    heading: str
    cells: tuple[str, ...]
    width: int
    align: Callable[[str, int], str] = str.rjust

    @classmethod
    def of(
        cls,
        heading: str,
        cells: tuple[str, ...],
        align: Callable[[str, int], str] = str.rjust,
    ) -> _Column:
        """Returns the column, as wide as its widest line."""
        return cls(heading, cells, max(map(len, (*heading.split("\n"), *cells))), align)

    def pad(self, text: str) -> str:
        """Returns a cell as wide as the column, with the gap before it."""
        return "  " + self.align(text, self.width)


def _table(checks: Sequence[HostCheck], width: int) -> list[str]:
    """Returns the heading and a row per host."""
    names = [terminal_line(check.name) for check in checks]
    longest = max(map(len, names))
    columns = _columns_that_fit(checks, width - longest)
    room = min(longest, max(_SHORTEST_NAME, width - _total_width(columns)))
    lines = _heading(columns, room)
    rows = zip(*(map(column.pad, column.cells) for column in columns), strict=True)
    for check, name, cells in zip(checks, names, rows, strict=True):
        lines += _row(name, _row_cells(check, cells), room)
    return lines


def _row_cells(check: HostCheck, cells: Iterable[str]) -> str:
    """Returns the padded cells of one host, or what stopped its check before the first stage."""
    if check.stage in STOPPED:
        return f"  {FAIL}: {check.stage}"
    return "".join(cells)


def _columns_that_fit(checks: Sequence[HostCheck], room: int) -> list[_Column]:
    """Returns the columns of the widest layout that fits.

    Layouts have total and kernel, or only the total, or neither; with whole or folded headings.
    """
    *stages, totals, kernels = zip(*map(_cells, checks), strict=True)
    whole = list(map(_Column.of, _STAGES, stages))
    folded = list(map(_Column.of, map(_folded_heading, _STAGES), stages))
    total = _Column.of("total", totals)
    kernel = _Column.of("kernel", kernels, str.ljust)
    layouts = (
        [*whole, total, kernel],
        [*folded, total, kernel],
        [*whole, total],
        [*folded, total],
        whole,
    )
    return next((layout for layout in layouts if _total_width(layout) <= room), folded)


def _cells(check: HostCheck) -> list[str]:
    """Returns the cells of one host: the stages, the total time and the kernel."""
    stages = [_cell(check, stage) for stage in _STAGES]
    return [*stages, format_duration(check.ms), _kernel_release(check)]


def _folded_heading(stage: str) -> str:
    """Returns the heading of a stage in as few columns as possible."""
    return _FOLDED_HEADINGS.get(stage, stage)


def _kernel_release(check: HostCheck) -> str:
    """Returns the kernel release of a host, "" if unknown."""
    if check.kernel is None:
        return ""
    return terminal_line(check.kernel.release, 40)


def _total_width(columns: Iterable[_Column]) -> int:
    """Returns the width of all columns with the gaps before them."""
    return sum(column.width + 2 for column in columns)


def _row(name: str, cells: str, room: int) -> list[str]:
    """Returns the row of one host; a name that is too long is on a line of its own.

    It is never cut: two long names often differ only at the end.
    """
    if len(name) > room:
        return [name, " " * room + cells]
    return [f"{name:{room}}{cells}"]


def _heading(columns: Sequence[_Column], room: int) -> list[str]:
    """Returns the lines of the heading; a heading with fewer lines stands at the bottom."""
    headings = [column.heading.split("\n")[::-1] for column in columns]
    from_bottom = zip_longest(["host"], *headings, fillvalue="")
    lines = [
        f"{name:{room}}" + "".join(map(_Column.pad, columns, cells)) for name, *cells in from_bottom
    ]
    return lines[::-1]


def _cell(check: HostCheck, stage: CheckStage) -> str:
    """Returns one stage of one host in a few letters; that of its jump hosts is included."""
    results = [result for result in check.steps if result.stage == stage]
    states = frozenset(result.state for result in results)
    if "failed" in states:
        return FAIL
    if not _is_reached(check, stage, states):
        return ""
    if states in _MARKS:
        return _MARKS[states]
    return _passed_cell(check, stage, results)


def _is_reached(check: HostCheck, stage: CheckStage, states: Collection[State]) -> bool:
    """Returns whether a check came as far as a stage; `states` are those of its results."""
    if not states or "not reached" in states:
        return False
    return not _is_after(stage, check.stage)


def _passed_cell(check: HostCheck, stage: CheckStage, results: Sequence[StageResult]) -> str:
    """Returns the cell of a stage that was passed: a version, a namespace, or a time."""
    if stage == "namespaces":
        return _namespace_cell(check)
    if stage == "interpreter" and check.probe == "native":
        return "native"
    if stage == "interpreter" and check.python:
        version, *_ = [*check.python.split(), "ok"]
        return terminal_line(version, 12)
    times = [result.ms for result in results if result.ms is not None]
    if not times:
        return "ok"
    return format_duration(sum(times))


def _namespace_cell(check: HostCheck) -> str:
    """Returns the namespace in which a run would measure."""
    if check.isolation == "namespace":
        return "private"
    return "host's"


def _is_after(stage: CheckStage, failed: str | None) -> bool:
    """Returns whether a stage comes after the one that failed."""
    stages: Sequence[str] = CHECK_STAGES
    return failed in stages and stages.index(stage) > stages.index(failed)


# ---- below the table


def _causes(causes: Sequence[Cause], width: int) -> list[str]:
    """Returns the causes why hosts are not ready."""
    if not causes:
        return []
    hosts = sum(cause.hosts.count for cause in causes)
    lines = [f"Not ready: {count_noun(hosts, 'host')}", ""]
    for cause in causes:
        lines += [*cause_lines(cause, width), ""]
    return lines


def _in_host_namespace(checks: Sequence[HostCheck], width: int) -> list[str]:
    """Returns the hosts that a run would measure in their own namespace, by reason and limits."""
    on_host = [check for check in checks if check.isolation == "host"]
    if not on_host:
        return []
    lines = [_HOST_NAMESPACE]
    for group in group_by(on_host, _namespace_key).values():
        lines += _namespace_group(group, width)
    return [*lines, ""]


def _namespace_key(check: HostCheck) -> Hashable:
    """Returns what hosts must share to be listed together: reason, limits, and sysctls to set."""
    sysctl_fixes = tuple(fix for fix in check.fixes if fix.startswith("sysctl "))
    return check.notes[:1], check.missing, sysctl_fixes


def _namespace_group(checks: Sequence[HostCheck], width: int) -> list[str]:
    """Returns hosts with one reason, the verdicts that a run would lack there, and the fixes."""
    first = checks[0]
    names = join_hosts(fold_hosts(check.name for check in checks))
    reason = terminal_line("".join(first.notes[:1]))
    lines = wrap([f"{names}: {reason}"], width, "  ")
    if not first.missing:
        return lines
    lines.append(f"    {missing_text(first)}:")
    for missing in first.missing:
        text = f"{missing.verdicts} {missing.ending}: {terminal_line(missing.reason)}"
        lines += wrap([text], width, "      ")
    label = "fix"
    if len(checks) > 1:
        label = f"fix ({terminal_line(first.name)})"
    return [*lines, *map(command_line, (f"      {label}", "      or"), first.fixes)]


def _notes(checks: Sequence[HostCheck], width: int) -> list[str]:
    """Returns the other notes about hosts, such as a named interpreter that does not work."""
    hosts = defaultdict[str, list[str]](list)
    for check in checks:
        for note in _further_notes(check):
            hosts[note].append(check.name)
    if not hosts:
        return []
    lines = ["Notes:"]
    for note, names in hosts.items():
        lines += wrap([f"{join_hosts(fold_hosts(names))}: {terminal_line(note)}"], width, "  ")
    return [*lines, ""]


def _further_notes(check: HostCheck) -> tuple[str, ...]:
    """Returns the notes but that on why a host has no private namespace, which is its first."""
    if check.isolation == "host":
        return check.notes[1:]
    return check.notes
