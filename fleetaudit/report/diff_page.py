"""Lays two runs out as one self-contained HTML page; how a document is made: document.py."""

from __future__ import annotations

from fleetaudit.analysis.run_diff.view_model import KernelMove, RunDiff

from .document import render_document

SCRIPTS = ("page.js", "matrix.js")
"""The files of the page's script in their order."""
STYLES = ("diff.css",)
"""The files of its style sheet, besides those of every document."""


def render(diff: RunDiff, *, command: str) -> str:
    """Returns the page; `command` is the line that makes it again.

    The same two runs and the same command give the same bytes.
    """
    return render_document(
        "diff.html",
        scripts=SCRIPTS,
        styles=STYLES,
        d=diff,
        moved=list(filter(_has_moved, diff.matrix.moves)),
        command=command,
    )


def _has_moved(move: KernelMove) -> bool:
    """Returns whether the hosts were audited in both runs and have another kernel now."""
    return None not in (move.before, move.after) and move.before != move.after
