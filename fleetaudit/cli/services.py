"""The options of `fleetaudit services`; run_command.py has what it does with them."""

from __future__ import annotations

import click

from . import params
from .run_options import run_options, tag_options


@click.command(short_help="Ask services of the hosts how they answer and close.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Playbook that names the services under “services:”; required.",
)
@tag_options
@run_options
@click.pass_context
def services(context: click.Context, /, inventories: tuple[str, ...], **values: object) -> int:
    """Asks the services that a playbook names: which lose an early answer, and when they close.

    Only this command asks them, on each host from the host itself, over its loopback or one of its
    own addresses. A service gets several requests with a large body, 20 MB unless the playbook says
    otherwise: name a URL that refuses it. Whatever else is in the playbook runs as in `run`, whose
    options this command has.
    """
    if not values["resume"]:  # a run that is resumed knows its inventories and playbooks
        inventories = params.inventory_sources(inventories)
        if not values["playbooks"]:
            raise click.UsageError(
                "name the playbook that has the services:  fleetaudit services INVENTORY -p FILE",
                context,
            )
    from .options import read_options
    from .run_command import RunCommand

    return RunCommand(read_options(context, values), inventories).run()
