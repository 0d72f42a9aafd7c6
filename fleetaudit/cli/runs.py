"""`fleetaudit runs`: lists the runs of an output folder, and sets the one of `latest`."""

from __future__ import annotations

import click

from . import completion, console, params


@click.command(short_help="List the runs of an output folder.")
@click.option(
    "--latest",
    "new_latest",
    shell_complete=completion.complete_runs,
    metavar="RUN",
    help="Make `latest` point to this run, and follow its job.",
)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
def runs(new_latest: str | None, format_: str, output_dir: str | None) -> None:
    """Lists the runs, the last finished one first: job, hosts, exit status and findings; then the
    unfinished ones.

    A job is one combination of inventory, playbooks, limit, shard and tags. `latest` (the run with
    a star) follows one job; runs of other jobs do not move it. The first run of a job takes it over
    from a job of lower rank: a job with --cron ranks above one run by hand, the whole inventory
    above a part of it. --latest gives it to the job of RUN.
    """
    from fleetaudit.app.runs import follow_run, list_output_folder

    output = params.output_folder(output_dir)
    if new_latest is not None:
        console.print_result(follow_run(output, new_latest))
        return
    listing = list_output_folder(output)
    if format_ == "json":
        console.print_bytes(listing.json())
        return
    console.print_result(listing.text())
    if note := listing.active_run_note():
        console.print_message(note)
