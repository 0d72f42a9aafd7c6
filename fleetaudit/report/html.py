"""Lays a comparison out as one self-contained HTML page; how a document is made: document.py."""

from __future__ import annotations

from markupsafe import Markup

from fleetaudit.analysis.compare import Comparison

from .document import page_text, render_document
from .page_data import page_data
from .svg import draw_history

SCRIPTS = ("page.js", "matrix.js", "host.js", "filters.js", "copies.js", "explorer.js")
"""The files of the page's script in their order."""
STYLES = ("status.css", "matrix.css", "distributions.css", "culprits.css")
"""The files of its style sheet, besides those of every document."""


def render(comparison: Comparison, *, generated: str = "") -> str:
    """Returns the page.

    `generated` is the moment to print on it, RFC 3339; by default the end of the run.
    """
    return render_document(
        "page.html",
        scripts=SCRIPTS,
        styles=STYLES,
        c=comparison,
        runs=draw_history(comparison.past),
        generated=generated or comparison.run.finished,
        data=Markup(page_data(comparison, page_text)),  # noqa: S704 - no <, > and & in it
    )
