"""`fleetaudit runs`: lists the runs of an output folder, and makes `latest` point to another one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from fleetaudit.errors import InputError, LockedError, NothingToDoError

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
    from fleetaudit.report.runs import runs_text
    from fleetaudit.store.lock import refuse_if_locked
    from fleetaudit.store.run_list import encode, list_runs

    output = params.output_folder(output_dir)
    if not output.is_dir():
        raise NothingToDoError(
            f"{output}: no such folder; `fleetaudit run` creates it, -o names another one"
        )
    if new_latest is not None:
        _point_latest(output, new_latest)
        return
    found = list_runs(output, Path.cwd())
    if format_ == "json":
        console.print_bytes(encode(found))
        return
    console.print_result(runs_text(found))
    try:
        refuse_if_locked(output)
    except LockedError as e:
        if found.unfinished:
            console.print_message(
                f"fleetaudit: note: one of the unfinished runs is still running: {e}"
            )


def _point_latest(output: Path, name: str) -> None:
    from fleetaudit.store.jobs import describe_job, job_name
    from fleetaudit.store.latest import point_latest
    from fleetaudit.store.lock import hold_lock
    from fleetaudit.store.names import LATEST_LINK
    from fleetaudit.store.run_file import read_info
    from fleetaudit.store.run_search import find_runs
    from fleetaudit.text.sanitize import terminal_line

    name = Path(name).name  # a path is accepted, too
    with hold_lock(output):
        found = find_runs(output)
        run = next((run for run in found.finished if run.path.name == name), None)
        if run is None:
            read_info(output / name)  # raises if something is wrong with it
            raise InputError(
                "not finished, so `latest` cannot point to it",
                source=str(output / name),
                hint=f"fleetaudit run --resume {shlex.quote(str(output / name))}",
            )
        point_latest(output, name)
    job = f"{job_name(run.info)}:\n  {terminal_line(describe_job(run.info))}"
    console.print_result(f"{output / LATEST_LINK} points to {name} and follows its job, {job}\n")
