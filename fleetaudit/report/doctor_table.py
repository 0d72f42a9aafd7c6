"""The connectivity check of several hosts as a table for a terminal, with the causes of failures.

Rules: as in `doctor`. A cell has a time, a version or one mark; the legend explains the marks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
_SHORTEST_NAME = 12
"""Columns that the names have at least, however narrow the terminal is."""


def host_check_table(
    report: DoctorReport, *, width: int, next_: str, problems_only: bool = False
) -> str:
    """Returns a row per host, then the causes of failures, each with its next command.

    `next_` is the command to type if all hosts are ready. `problems_only` leaves out hosts that are
    ready, so the text may be empty.
    """
    if problems_only:
        return _problems(report, width)
    checks = report.hosts
    ready = sum(check.ready for check in checks)
    if not checks:
        return ""
    lines = [
        *_table(checks, width),
        "",
        *wrap([_LEGEND], width),
        "",
        *_causes(failure_causes(checks), width),
        *_in_host_namespace(checks, width),
        *_notes(checks, width),
        f"{count_noun(len(checks), 'host')}: {ready:,} ready, {len(checks) - ready:,} not ready.",
    ]
    if ready == len(checks):
        lines += ["", command_line("next", next_)]
    return join_lines(lines)


def _problems(report: DoctorReport, width: int) -> str:
    """Returns only the hosts that are not ready, with the causes."""
    failed = [check for check in report.hosts if not check.ready]
    if not failed:
        return ""
    return join_lines([*_table(failed, width), "", *_causes(failure_causes(report.hosts), width)])


# ---- the table


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its heading, which may have several lines, and its cells."""

    heading: str
    cells: tuple[str, ...]
    width: int
    left: bool = False

    @classmethod
    def of(cls, heading: str, cells: tuple[str, ...], *, left: bool = False) -> _Column:
        """Returns the column, as wide as its widest line."""
        return cls(heading, cells, max(map(len, (*heading.split("\n"), *cells))), left)

    def pad(self, text: str) -> str:
        """Returns a cell as wide as the column, with the gap before it."""
        aligned = text.ljust(self.width) if self.left else text.rjust(self.width)
        return f"  {aligned}"


def _table(checks: Sequence[HostCheck], width: int) -> list[str]:
    """Returns the heading and a row per host."""
    names = [terminal_line(check.name) for check in checks]
    longest = max(map(len, names))
    columns = _columns_that_fit(checks, width - longest)
    room = min(longest, max(_SHORTEST_NAME, width - _total_width(columns)))
    lines = _heading(columns, room)
    for i, (check, name) in enumerate(zip(checks, names, strict=True)):
        if check.stage in STOPPED:
            cells = f"  {FAIL}: {check.stage}"
        else:
            cells = "".join(column.pad(column.cells[i]) for column in columns)
        lines += _row(name, cells, room)
    return lines


def _columns_that_fit(checks: Sequence[HostCheck], room: int) -> list[_Column]:
    """Returns the columns of the widest layout that fits.

    Layouts have total and kernel, or only the total, or neither; with whole or folded headings.
    """
    *stages, totals, kernels = zip(*map(_cells, checks), strict=True)
    whole = list(map(_Column.of, _STAGES, stages))
    folded = list(map(_Column.of, map(_folded_heading, _STAGES), stages))
    total = _Column.of("total", totals)
    kernel = _Column.of("kernel", kernels, left=True)
    layouts = (
        [*whole, total, kernel],
        [*folded, total, kernel],
        [*whole, total],
        [*folded, total],
        whole,
        folded,
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
    return terminal_line(check.kernel.release, 40) if check.kernel else ""


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
    headings = [column.heading.split("\n") for column in columns]
    height = max(map(len, headings))
    padded = [[""] * (height - len(heading)) + heading for heading in headings]
    lines = list[str]()
    for row, cells in enumerate(zip(*padded, strict=True), 1):
        name = "host" if row == height else ""
        lines.append(f"{name:{room}}" + "".join(map(_Column.pad, columns, cells)))
    return lines


def _cell(check: HostCheck, stage: CheckStage) -> str:
    """Returns one stage of one host in a few letters; that of its jump hosts is included."""
    results = [result for result in check.steps if result.stage == stage]
    states = {result.state for result in results}
    if "failed" in states:
        return FAIL
    if not results or "not reached" in states or _is_after(stage, check.stage):
        return ""
    if states == {"not needed"}:
        return "–"
    if states == {"not told"}:
        return "?"
    return _passed_cell(check, stage, results)


def _passed_cell(check: HostCheck, stage: CheckStage, results: Sequence[StageResult]) -> str:
    """Returns the cell of a stage that was passed: a version, a namespace, or a time."""
    if stage == "namespaces":
        return "private" if check.isolation == "namespace" else "host's"
    if stage == "interpreter" and check.python:
        version, *_ = [*check.python.split(), "ok"]
        return terminal_line(version, 12)
    times = [result.ms for result in results if result.ms is not None]
    return format_duration(sum(times)) if times else "ok"


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
    groups = defaultdict[object, list[HostCheck]](list)
    for check in checks:
        if check.isolation == "host":
            groups[check.notes[:1], check.missing, _sysctl_fixes(check)].append(check)
    if not groups:
        return []
    lines = [_HOST_NAMESPACE]
    for group in groups.values():
        lines += _namespace_group(group, width)
    return [*lines, ""]


def _sysctl_fixes(check: HostCheck) -> tuple[str, ...]:
    """Returns the fixes that change a sysctl."""
    return tuple(fix for fix in check.fixes if fix.startswith("sysctl "))


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
    on_host = f" ({terminal_line(first.name)})" if len(checks) > 1 else ""
    return [*lines, *map(command_line, (f"      fix{on_host}", "      or"), first.fixes)]


def _notes(checks: Sequence[HostCheck], width: int) -> list[str]:
    """Returns the other notes about hosts, such as a named interpreter that does not work."""
    hosts = defaultdict[str, list[str]](list)
    for check in checks:
        # The first note of a host without a private namespace is the reason; it is shown already.
        notes = check.notes[1:] if check.isolation == "host" else check.notes
        for note in notes:
            hosts[note].append(check.name)
    if not hosts:
        return []
    lines = ["Notes:"]
    for note, names in hosts.items():
        lines += wrap([f"{join_hosts(fold_hosts(names))}: {terminal_line(note)}"], width, "  ")
    return [*lines, ""]
