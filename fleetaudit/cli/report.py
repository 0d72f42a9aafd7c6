"""`fleetaudit report`: writes a run, or several runs as one, in the chosen format."""

from __future__ import annotations

from pathlib import Path

import click

from . import completion, console, params
from .garbage import no_garbage_collection

BUG, NOT_AUDITED = 1, 4


@click.command(short_help="Write a run, or several runs, in another format.")
@click.argument(
    "run_paths",
    metavar="RUN...",
    type=params.RunPath(),
    shell_complete=completion.complete_runs,
    nargs=-1,
    required=True,
)
@click.option(
    "--format", "format_", type=click.Choice(params.FORMATS), default="text", show_default=True
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Default, and “-”: stdout.",
)
def report(run_paths: tuple[Path, ...], format_: str, output: Path | None) -> int:
    """Renders one report of every RUN (a run's folder or its run.json); the same runs give the same
    bytes.

    A host may be in two runs only if both have the same result for it. FILE is replaced in one step
    and keeps its permissions; only its owner can read a new one.
    """
    from fleetaudit.app.output_file import write_file
    from fleetaudit.app.report import render_report, same_job_warnings

    to_stdout = output is None or str(output) == "-"
    width = console.width() if to_stdout else 100
    with no_garbage_collection():
        rendered = render_report(run_paths, format_, width=width)
    if output is not None and not to_stdout:
        write_file(output, rendered.chunks)
        if format_ == "prometheus":
            for warning in same_job_warnings(output, rendered.run):
                console.print_message(warning)
    elif format_ == "text":
        console.print_report(b"".join(rendered.chunks).decode())
    else:
        console.print_chunks(rendered.chunks)
    if rendered.bugs:
        console.print_message(
            f"{rendered.bugs} of the hosts are left out because of a bug in fleetaudit; its"
            " traceback is in the log"
        )
        return BUG if rendered.bugs == len(rendered.run.hosts) else NOT_AUDITED
    return 0
