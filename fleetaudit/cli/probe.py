"""`fleetaudit probe`: prints the program that runs on a host, or the command line that starts it."""

from __future__ import annotations

import re
import shlex

import click
from click.core import ParameterSource

from fleetaudit.errors import NothingToDoError, UsageError

from . import console, params

DEADLINE_S = 60.0


@click.command(short_help="Print the program that runs on the hosts.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Default: unread-close.",
)
@click.option(
    "-l",
    "--limit",
    metavar="PATTERN",
    help="Hosts of the inventory that will run it. Default: all.",
)
@click.option("--vault-password-file", metavar="FILE", help="File with the ansible-vault password.")
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
def probe(
    inventories: tuple[str, ...],
    playbooks: tuple[str, ...],
    limit: str | None,
    vault_password_file: str | None,
    command: bool,
    sudoers: str | None,
) -> None:
    """Prints the program that runs on a host, with the scenarios of the playbook.

    Use it to review the program, to run it by hand, or for a host that fleetaudit cannot reach (docs/replies.md):

    \b
    fleetaudit probe | python3 -E -s -       run it on this machine; it prints one line
    fleetaudit probe > call.py               save it, and run it on the host web7:
    python3 -E -s - < call.py > web7.reply
    fleetaudit merge web7.reply              make a report of what it printed

    If the plays of the playbook are for groups, name the inventory and the host:

    \b
    fleetaudit probe -p PLAYBOOK INVENTORY -l web7
    """  # noqa: D301 - \b is for click: it keeps these lines apart
    from fleetaudit.probe import protocol

    _refuse_two_outputs(("playbooks", "inventories", "limit"), ("command",), ("sudoers",))
    if command:
        console.print_result(f"{protocol.COMMAND}\n")
    elif sudoers is not None:
        console.print_result(f"{sudoers_line(sudoers, protocol.COMMAND)}\n")
    else:
        sources = params.inventory_sources(inventories) if inventories or _typed("limit") else ()
        console.print_result(
            _program(sources, playbooks, limit if sources else None, vault_password_file)
        )


def _refuse_two_outputs(*groups: tuple[str, ...]) -> None:
    """Raises `click.UsageError` if options of more than one group are typed: each group prints
    something else.
    """
    if sum(any(map(_typed, names)) for names in groups) > 1:
        raise click.UsageError(
            "use only one of --playbook, --command and --sudoers: each prints something else"
        )


def _typed(name: str) -> bool:
    """Returns whether a parameter is on the command line rather than only in a configuration file."""
    context = click.get_current_context()
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE and bool(
        context.params[name]
    )


def _program(
    sources: tuple[str, ...],
    playbooks: tuple[str, ...],
    limit: str | None,
    vault_password_file: str | None,
) -> str:
    """Returns the program with the call of the selected hosts, or of this machine if no inventory
    is named.

    Raises `NothingToDoError` if no play matches a host, `UsageError` if the hosts need different
    programs.
    """
    from fleetaudit.app.planning import build_offline_plan, read_inventory, read_playbooks
    from fleetaudit.inventory import load_inventory
    from fleetaudit.model import NoTarget
    from fleetaudit.probe import protocol

    if sources:
        inventory = read_inventory(
            sources, vault_password_file, tell=console.print_message
        ).inventory
    else:
        inventory = load_inventory(("localhost,",))
    read = read_playbooks(playbooks)
    try:
        plan = build_offline_plan(inventory, read, limit)
    except NothingToDoError as e:
        if sources:
            raise
        raise _without_inventory(str(e)) from e
    hosts = [host for host in plan.hosts if not isinstance(host.target, NoTarget)]
    for host in hosts[1:]:
        if protocol.request_digest(host) != protocol.request_digest(hosts[0]):
            raise UsageError(
                f"{hosts[0].name} and {host.name} need different programs (other scenarios or"
                " sysctls): select hosts with -l"
            )
    return protocol.make_request(hosts[0], deadline_s=DEADLINE_S).decode("utf-8", "replace")


def _without_inventory(reason: str) -> NothingToDoError:
    hint = "name the inventory and the host:  fleetaudit probe -p PLAYBOOK INVENTORY -l HOST"
    return NothingToDoError(f"{reason}\n  {hint}")


def sudoers_line(user: str, command: str) -> str:
    """Returns the line of sudoers(5) that lets `user` run exactly this shell line as root, without
    a password.

    Raises `click.UsageError` for what is no name of a user.
    """
    if not re.fullmatch(r"[%+#]?[A-Za-z0-9_.@\\-]+\$?", user) or user == "ALL":
        raise click.UsageError(
            f"--sudoers takes the name of a user, as the host has it, not {user!r}"
        )
    program, *arguments = shlex.split(command)
    # sudo matches the arguments joined by blanks, as one pattern of fnmatch(3).
    pattern = re.sub(r"([\\,:=*?#\[\]])", r"\\\1", " ".join(arguments))
    name = re.sub(r"([\\@])", r"\\\1", user)
    return f"{name} ALL=(root) NOPASSWD: {program} {pattern}"
