"""`fleetaudit prune`: removes old runs from an output folder."""

from __future__ import annotations

import contextlib

import click

from . import clock, outputs, screen, words


@click.command(short_help="Remove old runs.")
@click.option(
    "--keep",
    metavar="30d|N",
    default="30d",
    show_default=True,
    help="What stays: the runs of so many days, or the newest N.",
)
@click.option(
    "--baseline", metavar="RUN", default="last", help="A run that stays, too; default: that of the configuration."
)
@click.option("-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports.")
def prune(keep: str, baseline: str, output_dir: str | None) -> None:
    """Removes old runs, names each of them, and says of the rest that were due why they stay.

    The last finished run and the run that it was compared with always stay; so does every folder that is no run of
    fleetaudit, or that holds a file of somebody else's.
    """
    from pathlib import Path

    from .. import archive, retention
    from ..errors import FleetauditError

    wanted, output = words.keep(keep), words.output_folder(output_dir)
    if wanted is None or not output.exists():
        return
    with archive.locked(output):
        spare = {Path(baseline).name}
        with contextlib.suppress(FleetauditError):  # there is no last run, or none that can be read
            spare.add(archive.read_head(output / archive.LATEST).run.baseline or "")
        done = retention.prune(output, wanted, now=clock.now(), files=outputs.FILES.values(), spare=spare)
    for name in done.left:
        screen.tell(f"fleetaudit: warning: an old run stays: {name}")
    screen.out("".join(f"removed {output / name}\n" for name in done.gone))
