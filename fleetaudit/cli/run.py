"""The options of `fleetaudit run`; run_command.py has what it does with them."""

from __future__ import annotations

import click

from .run_options import playbook_option, run_options, start_run, tag_options


@click.command(short_help="Audit the hosts of an inventory.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@playbook_option("Playbook to run. Default: unread-close.")
@tag_options
@run_options
@click.pass_context
def run(context: click.Context, /, inventories: tuple[str, ...], **values: object) -> int:
    """Audits every host and writes reports/TIME/report.html.

    INVENTORY is an Ansible inventory, or a list of hosts with a comma in it; without one it is
    inventory.yml. Exit status: 0 all well, 2 expectations not met, 4 some host not audited, 6 both.
    """
    return start_run(context, inventories, values)
