"""`fleetaudit history`: one job over time, for people and as JSON."""

from __future__ import annotations

import click

from . import completion, console, params


@click.command(short_help="Show a job over time.")
@click.argument("job", required=False, metavar="[JOB]", shell_complete=completion.complete_jobs)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
)
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
def history(job: str | None, format_: str, output_dir: str | None) -> None:
    """Shows all kept runs of JOB: whether it is getting better, since when it has its findings, the
    runs with the newest last, and the kernels as they spread.

    JOB is a name as `fleetaudit runs` prints it; its eight digits may be left out if no other job
    has the same name. Default: the job of `latest`. A host that was not audited in a run does not
    close its finding. Runs that were removed are not counted.
    """
    from fleetaudit.app.history import read_history, render_history

    found = read_history(params.output_folder(output_dir), job)
    bars = console.can_draw_bars()
    rendered = render_history(found, format_, width=console.width(), bars=bars)
    if format_ == "text":
        console.print_report(rendered.decode())
    else:
        console.print_bytes(rendered)
