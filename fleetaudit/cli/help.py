"""`fleetaudit help`: the help of a command, as its `--help` prints it."""

from __future__ import annotations

import click

from fleetaudit.errors import UsageError

from . import console


@click.command(name="help", short_help="Show the help of a command.")
@click.argument("names", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def help_(context: click.Context, names: tuple[str, ...]) -> None:
    """Shows the help of COMMAND, or of fleetaudit itself."""
    shown = context.find_root()
    for name in names:
        group = shown.command
        command = group.get_command(shown, name) if isinstance(group, click.Group) else None
        if command is None:
            raise UsageError(
                f"help {' '.join(names)}: no such command; `fleetaudit help` lists them"
            )
        shown = click.Context(command, info_name=name, parent=shown)
    console.print_result(shown.get_help() + "\n")
