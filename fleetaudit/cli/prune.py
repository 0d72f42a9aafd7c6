"""`fleetaudit prune`: removes old runs from an output folder."""

from __future__ import annotations

import click

from . import console, params


@click.command(short_help="Remove old runs.")
@click.option(
    "--keep",
    metavar="30d|N",
    default="30d",
    show_default=True,
    help="Keep the runs of this many days, or the newest N.",
)
@click.option(
    "--baseline",
    metavar="RUN",
    default="last",
    help="Keep this run, too. Default: the baseline of the configuration.",
)
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
def prune(keep: str, baseline: str, output_dir: str | None) -> None:
    """Removes old runs and prints each of them; prints also which old runs stay, and why.

    These always stay: the run that `latest` points to; the last finished run of its job and of
    every job that ran with --cron; the runs that these were compared with; folders that are not
    runs of fleetaudit, or hold other files.
    """
    from fleetaudit.app.prune import prune_runs

    policy, output = params.parse_keep_option(keep), params.output_folder(output_dir)
    if policy is None or not output.exists():
        return
    pruned = prune_runs(output, policy, baseline=baseline)
    for name in pruned.kept:
        console.print_message(f"fleetaudit: warning: an old run stays: {name}")
    console.print_result("".join(f"removed {output / name}\n" for name in pruned.removed))
