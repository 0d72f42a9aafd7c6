"""The formats of reports, and the texts that a terminal shows of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetaudit.report import diff_formats
from fleetaudit.report.registry import NAMES, SINGLE_FILE_NAMES

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.model import HostResult

__all__ = [
    "DIFF_FORMATS",
    "REPORT_FORMATS",
    "RUN_FORMATS",
    "TEXT_DIFF_FORMATS",
    "Comparison",
    "render_result",
    "render_summary",
]

RUN_FORMATS = NAMES
"""The words of `--format` of `run`: everything that a run folder can have."""
REPORT_FORMATS = SINGLE_FILE_NAMES
"""The words of `--format` of `report`: everything that is one file."""
DIFF_FORMATS = tuple(diff_formats.DIFF_FORMATS)
"""The words of `--format` of `diff`."""
TEXT_DIFF_FORMATS = frozenset(f.name for f in diff_formats.DIFF_FORMATS.values() if f.is_text)
"""Those of them that people read in a terminal."""


def render_summary(comparison: Comparison, *, width: int, problems_only: bool = False) -> str:
    """Returns the closing text of a run; "" for `problems_only` without problems.

    `width` is in columns. Text of hosts is sanitized for a terminal.
    """
    from fleetaudit.report.terminal import summary

    return summary(comparison, width=width, problems_only=problems_only)


def render_result(result: HostResult) -> str:
    """Returns one line about the result of a host."""
    from fleetaudit.report.terminal import progress

    return progress(result)
