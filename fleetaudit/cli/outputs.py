"""A run as the formats that --format names: the one table from a format's word to its file and its renderer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ..archive import RunFolder
    from ..compare import Comparison
    from ..model import AuditRun

FILES = {"html": "report.html", "text": "report.txt"}
"""Format: the file's name in a run's folder. The format "json" is run.json, which every run has."""


def render(run: AuditRun, format_: str, *, width: int = 100, comparison: Comparison | None = None) -> bytes:
    """Returns the run in one of `words.FORMATS`; the same run gives the same bytes.

    `comparison` is that of `run`, where the caller has it already.
    """
    if format_ == "json":
        from ..archive import encode_run

        return encode_run(run)
    from ..compare import compare

    comparison = comparison or compare(run)
    if format_ == "text":
        from ..report.terminal import summary

        return summary(comparison, width=width).encode()
    from ..report.html import render as page

    return page(comparison, generated=run.run.finished).encode()


def write_all(folder: RunFolder, run: AuditRun, formats: Iterable[str], comparison: Comparison) -> list[Path]:
    """Writes what `formats` asks for into the run's folder; returns the paths, the first the one to open."""
    return [folder.write(FILES[f], render(run, f, comparison=comparison)) for f in formats if f in FILES]
