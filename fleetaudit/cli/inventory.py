"""`fleetaudit inventory`: prints what an inventory says, read as `run` reads it."""

from __future__ import annotations

import click

from . import screen, words


@click.command(short_help="List the hosts of an inventory.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option("--list-hosts", is_flag=True, required=True, help="One name a line, in the inventory's order.")
@click.option("-l", "--limit", metavar="PATTERN", help="Only the hosts of this pattern, as in Ansible.")
def inventory(inventories: tuple[str, ...], list_hosts: bool, limit: str | None) -> None:
    """Prints the hosts that a run with the same words would audit."""
    from ..inventory import load_inventory
    from ..inventory.patterns import select

    loaded = load_inventory(words.sources(inventories))
    names = select(loaded, limit) if limit is not None else tuple(host.name for host in loaded.hosts)
    screen.out("".join(name + "\n" for name in names))
