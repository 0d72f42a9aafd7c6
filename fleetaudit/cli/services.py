"""The options of `fleetaudit services`; run_command.py has what it does with them."""

from __future__ import annotations

import click

from .run_options import playbook_option, run_options, start_run, tag_options


@click.command(short_help="Ask services of the hosts how they answer and close.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@playbook_option("Playbook that names the services under “services:”; required.")
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
    if not (values["playbooks"] or values["resume"]):  # a run that is resumed knows its playbooks
        raise click.UsageError(
            "name the playbook that has the services:  fleetaudit services INVENTORY -p FILE",
            context,
        )
    return start_run(context, inventories, values)
