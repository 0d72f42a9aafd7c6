"""`fleetaudit probe`: prints what is sent to a host, to read it or run it by hand, and the command that it goes to."""

from __future__ import annotations

import re
import shlex

import click

from . import screen

DEADLINE_S = 60.0


@click.command(short_help="Print the program that runs on the hosts.")
@click.option("-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help="Default: unread-close.")
@click.option("--command", is_flag=True, help="Instead: the one command line that a host runs, for authorized_keys.")
@click.option("--sudoers", metavar="USER", help="Instead: the line of sudoers that lets USER run it as root.")
def probe(playbooks: tuple[str, ...], command: bool, sudoers: str | None) -> None:
    """Prints the program with the playbook's scenarios as its call, exactly as a host gets it on stdin.

    `fleetaudit probe | python3 -` runs it here, in a network namespace of its own, and prints its one result line.
    """
    from .. import wire

    if sum((bool(playbooks), command, sudoers is not None)) > 1:
        raise click.UsageError("--playbook, --command and --sudoers each print something else: one at a time")
    if command:
        screen.out(f"{wire.COMMAND}\n")
        return
    if sudoers is not None:
        screen.out(f"{sudoers_line(sudoers, wire.COMMAND)}\n")
        return
    from ..inventory.connection import ConnectionOptions
    from .planning import inventory_of, plan_of

    plan = plan_of(inventory_of(("localhost,",), None), playbooks, None, ConnectionOptions(), connects=False)
    screen.out(wire.request(plan.hosts[0], deadline_s=DEADLINE_S).decode("ascii"))


def sudoers_line(user: str, command: str) -> str:
    """Returns the line of sudoers(5) that lets `user` run exactly this shell line as root, without a password.

    Raises `click.UsageError` for what is no name of a user.
    """
    if not re.fullmatch(r"[%+#]?[A-Za-z0-9_.@\\-]+\$?", user) or user == "ALL":
        raise click.UsageError(f"--sudoers takes the name of a user, as the host has it, not {user!r}")
    program, *arguments = shlex.split(command)
    # sudo matches the arguments joined by blanks, as one pattern of fnmatch(3).
    pattern = re.sub(r"([\\,:=*?\[\]])", r"\\\1", " ".join(arguments))
    name = re.sub(r"([\\@])", r"\\\1", user)
    return f"{name} ALL=(root) NOPASSWD: {program} {pattern}"
