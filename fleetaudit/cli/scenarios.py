"""`fleetaudit scenarios`: prints the catalogue of a playbook, each scenario with its steps."""

from __future__ import annotations

import click

from . import console


@click.command(short_help="List the scenarios, with their steps.")
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Playbook to list. Default: unread-close.",
)
def scenarios(playbooks: tuple[str, ...]) -> None:
    """Prints every scenario of the playbooks: its steps, what is expected, and why."""
    from fleetaudit.app.scenarios import render_scenarios

    console.print_result(render_scenarios(playbooks, width=console.width()))
