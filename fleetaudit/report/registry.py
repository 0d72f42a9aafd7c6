"""A run as the formats that --format names: the one table from a format's word to its file and its
renderer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.model import AuditRun
    from fleetaudit.store.archive import RunFolder

FILES = {
    "html": "report.html",
    "junit": "junit.xml",
    "csv": "report.csv",
    "sarif": "report.sarif",
    "prometheus": "metrics.prom",
    "text": "report.txt",
}
"""Format: the file's name in a run's folder. The format "json" is run.json, which every run has."""


def render(
    run: AuditRun, format_: str, *, width: int = 100, comparison: Comparison | None = None
) -> bytes:
    """Returns the run in one of `words.FORMATS`, in UTF-8; the same run gives the same bytes.

    `comparison` is that of `run`, where the caller has it already.
    """
    if format_ in ("html", "text"):
        from fleetaudit.analysis.compare import compare

        return _compared(comparison or compare(run), format_, width).encode(errors="replace")
    return _renderer(format_)(run).encode(errors="replace")


def _compared(comparison: Comparison, format_: str, width: int) -> str:
    if format_ == "text":
        from .terminal import summary

        return summary(comparison, width=width)
    from .html import render as page

    return page(comparison, generated=comparison.run.finished)


def _renderer(format_: str) -> Callable[[AuditRun], str]:
    match format_:
        case "json":
            from .run_json import render
        case "junit":
            from .junit import render
        case "csv":
            from .csv import render
        case "sarif":
            from .sarif import render
        case "prometheus":
            from .prometheus import render
        case _:
            raise ValueError(f"{format_!r} is no format")
    return render


def render_all(run: AuditRun, formats: Collection[str], comparison: Comparison) -> None:
    """Renders everything that `write_all` writes, and keeps nothing."""
    for _ in _traces(run) if "pcap" in formats else ():
        pass
    for format_ in FILES.keys() & formats:
        render(run, format_, comparison=comparison)


def write_all(
    folder: RunFolder, run: AuditRun, formats: Collection[str], comparison: Comparison
) -> list[Path]:
    """Writes what `formats` asks for into the run's folder; returns the paths, the first the one to
    open.
    """
    for name, trace in _traces(run) if "pcap" in formats else ():
        folder.write(name, trace)
    return [
        folder.write(FILES[f], render(run, f, comparison=comparison)) for f in formats if f in FILES
    ]


def _traces(run: AuditRun) -> Iterator[tuple[str, bytes]]:
    """Yields a pcap file for every audited host, in `traces/`: its name and its bytes."""
    from fleetaudit.model import Audited

    from . import pcap

    for host in run.hosts:
        if isinstance(host, Audited):
            yield f"traces/{pcap.file_name(host.name)}", pcap.render(host, rows=run.scenarios)
