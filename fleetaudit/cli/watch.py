"""The options of `fleetaudit watch`; run_command.py has what it does with them."""

from __future__ import annotations

import click

from . import params
from .run_options import run_options, start_run


@click.command(short_help="Name the programs that reset their peers.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "--for",
    "seconds",
    type=params.Duration(1, 3600),
    metavar="TIME",
    default=60.0,
    show_default="60s",
    help="How long to watch each host: 30s, 5m, 1h; at most an hour.",
)
@click.option("--peers", is_flag=True, help="Report the networks of the peers that were reset.")
@run_options
@click.pass_context
def watch(context: click.Context, /, inventories: tuple[str, ...], **values: object) -> int:
    """Watches which programs of each host reset their peers, and on which local ports.

    INVENTORY is as in run. It needs root on the hosts (--become), installs nothing and changes
    nothing there. The run folder, its report and its outputs are those of run; no scenario runs.
    Exit status: 0 all were watched, 2 some host was not watched or expectations are not met, 4 some
    host not audited, 6 both.
    """
    return start_run(context, inventories, values)
