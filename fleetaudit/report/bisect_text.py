"""The result of a bisection for a terminal. Pure.

Rules: plain text of 80 columns, or of the width of the terminal; text of files and kernels passes
`terminal_line`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleetaudit.analysis.bisection.model import (
    BisectedKernel,
    Bisection,
    EndingChange,
    SkippedKernel,
)
from fleetaudit.analysis.compare.common import group_by, join_families
from fleetaudit.text.phrases import agree, count_noun
from fleetaudit.text.sanitize import terminal_line

from .text_lines import command_line, join_lines, wrap

_PROBLEMS = {"audited": "no ending is known", "not audited": "not audited"}


def bisection_text(bisection: Bisection, *, width: int) -> str:
    """Returns what was found: the changes, then what is unknown."""
    blocks = (
        _heading(bisection, width),
        *_changes(bisection.changes, width),
        [*_unchanged(bisection, width), *_unknown(bisection, width)],
        *(_skipped_kernel(kernel, width) for kernel in bisection.kernels),
    )
    return "\n".join(map(join_lines, filter(None, blocks)))


def _heading(bisection: Bisection, width: int) -> list[str]:
    """Returns which kernels were compared."""
    kernels = count_noun(len(bisection.kernels), "kernel")
    order = (
        f"{kernels} of {bisection.series}, ordered by {bisection.order}; {bisection.booted} booted."
    )
    return wrap([order, _ends(bisection)], width)


def _ends(bisection: Bisection) -> str:
    """Returns the ends, and in how many endings they differ."""
    if bisection.oldest is None or bisection.newest is None:
        return "No two of the kernels can be compared: nothing is known about a change."
    ends = f"{terminal_line(bisection.oldest)} and {terminal_line(bisection.newest)}"
    endings = count_noun(bisection.compared, "ending")
    if not bisection.changes:
        return (
            f"Nothing changed between {ends}: {endings} compared. An ending that changed and"
            " changed back in between is not seen; fleetaudit run shows every kernel."
        )
    number = len(bisection.changes)
    return f"{count_noun(number, 'change')} between {ends}: {endings} compared."


def _changes(changes: Sequence[EndingChange], width: int) -> Iterable[list[str]]:
    """Yields a block for each two kernels between which endings change."""
    by_place = group_by(changes, lambda change: (change.before, change.after))
    for (before, after), group in by_place.items():
        for skipped, same in group_by(group, lambda change: change.skipped).items():
            place = [f"Between {terminal_line(before)} and {terminal_line(after)}:"]
            yield [*wrap(place, width), *_endings(same, width), *_skipped(skipped, after, width)]


def _endings(changes: Iterable[EndingChange], width: int) -> list[str]:
    """Returns a line for each scenario, with the families that change in the same way."""
    grouped = group_by(changes, lambda c: (c.scenario, c.ending_before, c.ending_after))
    rows = [
        f"{terminal_line(scenario)} ({join_families(c.family for c in same)}): {old} → {new}"
        for (scenario, old, new), same in grouped.items()
    ]
    return wrap(rows, width, "  ")


def _skipped(skipped: Sequence[SkippedKernel], after: str, width: int) -> list[str]:
    """Returns the kernels between two others whose ending is unknown."""
    if not skipped:
        return []
    first = ", ".join(map(terminal_line, [*(k.label for k in skipped), after]))
    reasons = [f"{terminal_line(k.label)}: {terminal_line(k.reason, 400)}" for k in skipped]
    which = f"The first kernel with the new ending is one of these: {first}."
    return [*wrap([which], width, "  "), *wrap(reasons, width, "    ")]


def _unchanged(bisection: Bisection, width: int) -> list[str]:
    """Returns how many endings do not change; none if nothing changed."""
    if not bisection.changes:
        return []
    changed = len({(change.scenario, change.family) for change in bisection.changes})
    rest = bisection.compared - changed
    if rest <= 0:
        return []
    verb = agree(rest, "is", "are")
    text = f"{count_noun(rest, 'other ending')} {verb} equal in the oldest and the newest kernel."
    return wrap([text], width)


def _unknown(bisection: Bisection, width: int) -> list[str]:
    """Returns how many endings could not be compared."""
    if not bisection.unknown or bisection.oldest is None:
        return []
    text = (
        f"{count_noun(bisection.unknown, 'ending')} could not be compared: not run or inconclusive"
        " in the oldest or the newest kernel. For one of them: --scenario NAME"
    )
    return wrap([text], width)


def _skipped_kernel(kernel: BisectedKernel, width: int) -> list[str]:
    """Returns why a kernel was skipped, and what to type; nothing for other kernels."""
    if not kernel.reason:
        return []
    problem = _PROBLEMS[kernel.status]
    reason = f"{terminal_line(kernel.label)}: {problem}: {terminal_line(kernel.reason, 1000)}"
    lines = wrap([reason], width)
    if kernel.hint:
        lines.append(command_line("  next", kernel.hint))
    return lines
