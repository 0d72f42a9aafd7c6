"""`fleetaudit probe`: prints the program that runs on a host, or the command that starts it."""

from __future__ import annotations

import click

from . import console, params
from .connection_options import no_exec_option


@click.command(short_help="Print the program that runs on the hosts.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Playbook of the program. Default: unread-close.",
)
@click.option(
    "-l",
    "--limit",
    metavar="PATTERN",
    help="Hosts of the inventory that will run it. Default: all.",
)
@click.option("--vault-password-file", metavar="FILE", help="File with the ansible-vault password.")
@no_exec_option
@click.option(
    "--compressed",
    is_flag=True,
    help="Print the program as fleetaudit sends it: the same text, compressed.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Print what the program does instead, line by line, for a review.",
)
@click.option(
    "--command",
    is_flag=True,
    help="Print the command line of the SSH call instead, for authorized_keys.",
)
@click.option(
    "--sudoers",
    metavar="USER",
    help="Print the sudoers line that lets USER run that command as root instead.",
)
@click.pass_context
def probe(
    context: click.Context,
    /,
    inventories: tuple[str, ...],
    playbooks: tuple[str, ...],
    limit: str | None,
    vault_password_file: str | None,
    no_exec: bool,
    compressed: bool,
    explain: bool,
    command: bool,
    sudoers: str | None,
) -> None:
    """Prints the program that runs on a host, with the scenarios of the playbook.

    Use it to review the program, to run it by hand, or for a host that fleetaudit cannot reach
    (docs/replies.md). A host is sent this text compressed (docs/security.md tells how to compare):

    \b
    fleetaudit probe | python3 -B -E -s -       run it on this machine; it prints one line
    fleetaudit probe > call.py               save it, and run it on the host web7:
    python3 -B -E -s - < call.py > web7.reply
    fleetaudit merge web7.reply              make a report of what it printed

    If the plays of the playbook are for groups, name the inventory and the host:

    \b
    fleetaudit probe -p PLAYBOOK INVENTORY -l web7
    """  # noqa: D301 - \b is for click: it keeps these lines apart
    from fleetaudit.app.probe_program import (
        COMMAND,
        ProgramRequest,
        probe_program,
        sudoers_line,
    )

    from .options import is_typed

    _refuse_two_outputs(
        context, ("playbooks", "inventories", "limit", "compressed"), ("command",), ("sudoers",)
    )
    _refuse_two_outputs(context, ("explain",), ("compressed",), ("command",), ("sudoers",))
    if command:
        console.print_result(f"{COMMAND}\n")
        return
    if sudoers is not None:
        console.print_result(f"{sudoers_line(sudoers)}\n")
        return
    needs_inventory = inventories or is_typed(context, "limit")
    sources = params.inventory_sources(inventories) if needs_inventory else ()
    request = ProgramRequest(
        sources=sources,
        playbooks=playbooks,
        limit=limit if sources else None,
        vault_password_file=vault_password_file,
        no_exec=no_exec,
        compressed=compressed,
        explain=explain,
    )
    console.print_result(probe_program(request, console.print_message))


def _refuse_two_outputs(context: click.Context, *groups: tuple[str, ...]) -> None:
    """Raises `click.UsageError` if options of more than one group are typed: each group prints
    something else.
    """
    from .options import is_typed

    typed = [names for names in groups if any(is_typed(context, name) for name in names)]
    if len(typed) > 1:
        raise click.UsageError(
            "use only one of --playbook, --command and --sudoers: each prints something else;"
            " --explain goes with --playbook only"
        )
