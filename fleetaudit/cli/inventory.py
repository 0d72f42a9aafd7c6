"""`fleetaudit inventory`: prints inventories as `ansible-inventory` does."""

from __future__ import annotations

import click

from fleetaudit.errors import UsageError

from . import console, params
from .connection_options import no_exec_option


@click.command(short_help="List the hosts of an inventory.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "--list", "list_all", is_flag=True, help="Print groups, hosts and their variables as JSON."
)
@click.option("--graph", is_flag=True, help="Print groups and hosts as a tree.")
@click.option("--host", metavar="NAME", help="Print the variables of one host as JSON.")
@click.option(
    "--list-hosts", is_flag=True, help="Print one host per line, in the order of the inventory."
)
@click.option(
    "-l", "--limit", metavar="PATTERN", help="Only the hosts of this pattern, as in Ansible."
)
@click.option("--vault-password-file", metavar="FILE", help="File with the ansible-vault password.")
@no_exec_option
def inventory(
    inventories: tuple[str, ...],
    list_all: bool,
    graph: bool,
    host: str | None,
    list_hosts: bool,
    limit: str | None,
    vault_password_file: str | None,
    no_exec: bool,
) -> None:
    """Prints inventories as fleetaudit reads them; needs --list, --graph, --host or --list-hosts.

    The JSON is that of ansible-inventory. Encrypted values stay encrypted. --graph and --host
    ignore --limit.
    """
    if sum((list_all, graph, host is not None, list_hosts)) != 1:
        raise UsageError("inventory: use one of --list, --graph, --host NAME and --list-hosts")
    from fleetaudit.app.inventory_listing import ListingRequest, render_inventory

    request = ListingRequest(
        sources=params.inventory_sources(inventories),
        vault_password_file=vault_password_file,
        no_exec=no_exec,
        limit=limit,
        host=host,
        graph=graph,
        as_json=list_all,
        names_only=list_hosts,
    )
    console.print_result(render_inventory(request, console.print_message))
