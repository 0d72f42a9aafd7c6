"""`fleetaudit probe`: prints what is sent to a host, to be read, or run by hand."""

from __future__ import annotations

import click

from . import screen

DEADLINE_S = 60.0


@click.command(short_help="Print the program that runs on the hosts.")
@click.option("-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help="Default: unread-close.")
def probe(playbooks: tuple[str, ...]) -> None:
    """Prints the program with the playbook's scenarios as its call, exactly as a host gets it on stdin.

    `fleetaudit probe | python3 -` runs it here, in a network namespace of its own, and prints its one result line.
    """
    from .. import wire
    from ..inventory.connection import ConnectionOptions
    from .planning import inventory_of, plan_of

    plan = plan_of(inventory_of(("localhost,",), None), playbooks, None, ConnectionOptions())
    screen.out(wire.request(plan.hosts[0], deadline_s=DEADLINE_S).decode("ascii"))
