"""A comparison as the closing text of a command: the verdict, then findings, then who was not
audited and what to type.

Rules: pure, and plain text. What a host said passes `terminal_line`. A host that was not audited is always
counted, its cause always shown.
"""

from __future__ import annotations

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.compare.met_expectations import has_run
from fleetaudit.analysis.compare.summary import met_words
from fleetaudit.analysis.compare.view_model import (
    Build,
    Changes,
    Column,
    Comparison,
    FindingGroup,
    FindingRow,
    Met,
)
from fleetaudit.model import (
    SEVERITIES,
    HostResult,
    NotAudited,
    NotSelected,
)
from fleetaudit.text.kernel_releases import fold_releases
from fleetaudit.text.sanitize import terminal_line

from .changes import changes_lines
from .text_lines import (
    cause_lines,
    counted,
    hosts_in_words,
    wrapped,
)

MOST_ROWS = 12
"""How many findings, causes and differing scenarios are shown each; the rest is counted."""
MOST_NAMES, MOST_PARTS = 6, 8
"""How many kernels with one ending are named each; beyond that, how many ranges of them."""
MOST_REMEDIES = 4
"""How many remedies of one finding are shown, where they differ from host to host."""


def summary(
    comparison: Comparison, *, width: int = 80, problems_only: bool = False, changes: bool = True
) -> str:
    """Returns the closing text of a run, its sentences wrapped to `width`; commands to type are
    left whole.

    `problems_only` leaves out what needs no action, so the text may be empty; a caller that reports
    changes itself may leave out `changes`.
    """
    blocks = [
        [] if problems_only else _verdict(comparison, width),
        _qualified(comparison, width),
        _changes(comparison.changes, width, problems_only) if changes else [],
        _findings(comparison.findings, width),
        [] if problems_only else _waived(comparison.findings, width),
        _causes(comparison.causes, comparison.coverage.not_audited, width),
        [] if problems_only else _coverage(comparison, width),
    ]
    return "\n".join("".join(line + "\n" for line in block) for block in blocks if block)


def progress(host: HostResult) -> str:
    """Returns the one line that tells of a host as it comes in."""
    if isinstance(host, NotSelected):
        return f"{terminal_line(host.name)}: {terminal_line(host.reason, 300)}"
    if isinstance(host, NotAudited):
        return f"{terminal_line(host.name)}: not audited: {host.stage}: {terminal_line(host.reason, 300)}"
    grave = sum(f.waived is None and f.severity != "info" for f in host.findings)
    found = f", {counted(grave, 'finding')}" if grave else ""
    return (
        f"{terminal_line(host.name)}: audited, kernel {terminal_line(host.kernel.release)}{found}"
    )


# ---- the verdict
# ---------------------------------------------------------------------------------------------------


def _verdict(comparison: Comparison, width: int) -> list[str]:
    coverage = comparison.coverage
    if not coverage.audited:
        return ["No host was audited, so nothing can be said about any kernel."]
    if coverage.void == coverage.audited:
        return wrapped(
            [
                "No verdict: the positive control failed on every audited host, so what was seen"
                " proves nothing."
            ],
            width,
        )
    own = [c for c in comparison.columns if has_run(c) and not c.is_control]
    main = _main(own)
    differing = [c for c in own if c.differs and c not in main]
    sentences = [_sentence(column, comparison.builds) for column in [*main, *differing[:MOST_ROWS]]]
    if len(differing) > MOST_ROWS:
        sentences.append(
            f"Kernels differ in {counted(len(differing) - MOST_ROWS, 'more scenario')}: see the"
            " report."
        )
    elif not differing and len(comparison.builds) > 1 and len(own) > len(main):
        sentences.append("In every other scenario all kernels end alike.")
    return wrapped(
        [*filter(None, [met_words(comparison.met), _not_run(comparison.met)]), *sentences], width
    )


def _not_run(met: Met) -> str:
    """Returns how many verdicts there are not, because hosts lack what the scenarios need; "" if
    there are all.
    """
    if not met.not_run or met.silent == met.lacking:
        return ""
    where = f"on {counted(met.lacking, 'host')}"
    return (
        f"Not run: {met.not_run:,} of {counted(met.verdicts, 'verdict')}, {where}; the report says"
        " what they need."
    )


def _main(own: list[Column]) -> list[Column]:
    """Returns the scenarios of the headline: all of a small playbook, else the one that the tool is
    about.
    """
    if len({column.scenario for column in own}) <= MOST_ROWS:
        return own
    return (
        [c for c in own if c.scenario == "unread-close"]
        or [c for c in own if "RST" in c.expect][:1]
        or own[:1]
    )


def _sentence(column: Column, builds: tuple[Build, ...]) -> str:
    endings = {
        name: cell.word for name, cell in zip(_names(builds, column), column.cells, strict=True)
    }
    parts = [f"{word} on {_kernels(word, endings)}" for word in dict.fromkeys(endings.values())]
    families = f", {column.families}" if column.families else ""
    return f"{terminal_line(column.title)} ({terminal_line(column.scenario)}{families}): {'; '.join(parts)}."


def _names(builds: tuple[Build, ...], column: Column) -> list[str]:
    """Returns a name for each build: its release; also its version and machine if builds of that
    release differ.
    """
    words = dict[str, set[str]]()
    for build, cell in zip(builds, column.cells, strict=True):
        words.setdefault(build.kernel.release, set()).add(cell.word)
    kernels = (build.kernel for build in builds)
    return [
        terminal_line(
            k.release if len(words[k.release]) == 1 else f"{k.release} ({k.version}, {k.machine})"
        )
        for k in kernels
    ]


def _kernels(word: str, endings: dict[str, str]) -> str:
    """Returns the kernels with one ending: each one, or how many and in which ranges without any
    other ending.
    """
    names = [name for name, ending in endings.items() if ending == word]
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    parts = fold_releases(names, endings.keys() - {*names})
    more = f" and {len(parts) - MOST_PARTS} more" if len(parts) > MOST_PARTS else ""
    return f"{len(names)} kernels ({', '.join(parts[:MOST_PARTS])}{more})"


def _coverage(comparison: Comparison, width: int) -> list[str]:
    c = comparison.coverage
    sentence = (
        f"{counted(c.selected, 'host')}: {c.audited:,} audited, {c.not_audited:,} not audited"
    )
    if not c.not_selected:
        return [f"{sentence}."]
    names = hosts_in_words(comparison.not_selected)
    return wrapped([f"{sentence}, {c.not_selected:,} not selected by any play ({names})."], width)


# ---- what asks for attention
# ---------------------------------------------------------------------------------------


def _qualified(comparison: Comparison, width: int) -> list[str]:
    c = comparison.coverage
    sentences = list[str]()
    if c.void:
        sentences.append(
            f"Void: {counted(c.void, 'host')} where the positive control failed; their verdicts"
            " prove nothing."
        )
    if silent := comparison.met.silent:
        sentences.append(
            f"No verdict: {counted(silent, 'host')} on which no scenario ran; the report says why."
        )
    if c.on_host:
        sentences.append(
            f"No private namespace: {counted(c.on_host, 'host')} measured with the host's own"
            " firewall in the way."
        )
    sentences += [terminal_line(note, 400) for note in comparison.run.notes]
    return wrapped(sentences, width)


def _changes(changes: Changes | None, width: int, problems_only: bool) -> list[str]:
    if changes is None or (problems_only and not changes.rows and not changes.refused):
        return []
    return changes_lines(changes, width, MOST_ROWS)


def _findings(groups: tuple[FindingGroup, ...], width: int) -> list[str]:
    if not groups:
        return []
    counts = list[str]()
    for severity in reversed(SEVERITIES):
        if n := sum(g.hosts for g in groups if g.severity == severity):
            counts.append(counted(n, severity) if severity != "info" else f"{n:,} info")
    if waived := sum(g.waived for g in groups):
        counts.append(f"{waived:,} waived")
    lines = ["Findings: " + ", ".join(counts)]
    open_ = [g for g in groups if g.severity != "info" and g.hosts]
    for group in open_[:MOST_ROWS]:
        for row in group.rows:
            if row.waived is None:
                lines += wrapped([f"{group.severity}  {_seen(group, row)}"], width, "  ")
        lines += _fix(group, width)
    if len(open_) > MOST_ROWS:
        lines.append(
            f"  and {counted(len(open_) - MOST_ROWS, 'more expectation')} not met: see the report"
        )
    return lines


def _fix(group: FindingGroup, width: int) -> list[str]:
    lines = list[str]()
    for remedy in group.remedies[:MOST_REMEDIES]:
        where = "" if group.fix else f" on {hosts_in_words(remedy.hosts)}"
        if remedy.typed:
            lines.append(
                f"      fix{where}:  {terminal_line(remedy.text)}"
            )  # not wrapped, so that it can be copied
        else:
            lines += wrapped([f"fix{where}: {terminal_line(remedy.text)}"], width, "      ")
    if len(group.remedies) > MOST_REMEDIES:
        lines.append("      other hosts need other fixes: see the report")
    return lines


def _waived(groups: tuple[FindingGroup, ...], width: int) -> list[str]:
    rows = [
        (group, row, row.waived) for group in groups for row in group.rows if row.waived is not None
    ]
    if not rows:
        return []
    lines = ["Waived, not counted:"]
    for group, row, waived in rows[:MOST_ROWS]:
        lines += wrapped(
            [f"{group.severity}  {_seen(group, row)}; {terminal_line(waived, 300)}"], width, "  "
        )
    if len(rows) > MOST_ROWS:
        lines.append(f"  and {len(rows) - MOST_ROWS:,} more: see the report")
    return lines


def _seen(group: FindingGroup, row: FindingRow) -> str:
    what = terminal_line(group.subject) + (
        f" ({terminal_line(group.detail)})" if group.detail else ""
    )
    first = f", first seen {terminal_line(row.since)}" if row.since else ""
    return (
        f"{what}: wanted {terminal_line(group.expected, 200)}, found {terminal_line(row.observed, 200)}{first}: "
        f"{hosts_in_words(row.hosts)}"
    )


def _causes(causes: tuple[Cause, ...], hosts: int, width: int) -> list[str]:
    if not causes:
        return []
    lines = [f"Not audited: {counted(hosts, 'host')}"]
    for cause in causes[:MOST_ROWS]:
        lines += cause_lines(cause, width)
    if rest := causes[MOST_ROWS:]:
        left = sum(cause.hosts.count for cause in rest)
        lines.append(
            f"  and {counted(left, 'host')} for {counted(len(rest), 'other cause')}: see the report"
        )
    return lines
