"""`fleetaudit diff`: what changed between two runs, as text, as JSON and as a page."""

from __future__ import annotations

from pathlib import Path

import click

from fleetaudit.app.render import DIFF_FORMATS, TEXT_DIFF_FORMATS

from . import completion, console, params
from .garbage import no_garbage_collection

DRIFT = 8
"""The exit status where something changed; on `run` it is added with --fail-on drift."""


@click.command(short_help="Show what changed between two runs.")
@click.argument(
    "before_path", metavar="RUN", type=params.RunPath(), shell_complete=completion.complete_runs
)
@click.argument(
    "after_path", metavar="RUN", type=params.RunPath(), shell_complete=completion.complete_runs
)
@click.option(
    "--format", "format_", type=click.Choice(DIFF_FORMATS), default="text", show_default=True
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file. Default: standard output.",
)
def diff(before_path: Path, after_path: Path, format_: str, output: Path | None) -> int:
    """Shows what changed from the first RUN to the second: regressions first, then fixes, then the
    rest.

    RUN is a run folder or its run.json. What is unknown in one of the two is not a regression. The
    page of --format html also has both runs by kernel and scenario, and the packets before and
    after; it is written even if the two cannot be compared. Exit status: 0 nothing changed, 8
    something did, 65 the two cannot be compared.
    """
    from fleetaudit.app.diff import compare_files, render_diff
    from fleetaudit.app.output_file import write_file

    width = console.width() if output is None else 100
    with no_garbage_collection():
        compared = compare_files(before_path, after_path)
        rendered = render_diff(compared, format_, width=width, output=output)
    if output is not None:
        write_file(output, [rendered])
    elif format_ in TEXT_DIFF_FORMATS:
        console.print_report(rendered.decode())
    else:
        console.print_bytes(rendered)
    compared.require_comparable()
    return DRIFT if compared.drift.changes else 0
