"""`fleetaudit probe`: prints the program that runs on a host, or the command that starts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    "--native",
    "machines",
    metavar="ARCH",
    multiple=True,
    help="Write the native probe for ARCH, as uname -m prints it: one file that needs no Python.",
)
@click.option(
    "--image",
    is_flag=True,
    help="Write it as a container image, for each --native ARCH (docs/containers.md).",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file; - or default: standard output.",
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
    machines: tuple[str, ...],
    image: bool,
    output: Path | None,
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

    On a host without Python:

    \b
    fleetaudit probe --native aarch64 -o web7.probe
    ./web7.probe > web7.reply                on web7, after copying the file there

    If the plays of the playbook are for groups, name the inventory and the host:

    \b
    fleetaudit probe -p PLAYBOOK INVENTORY -l web7
    """  # noqa: D301 - \b is for click: it keeps these lines apart
    from fleetaudit.app import probe_program as app

    from .options import is_typed

    _refuse_two_outputs(context)
    if command:
        _write(f"{app.COMMAND}\n".encode(), output)
        return
    if sudoers is not None:
        _write(f"{app.sudoers_line(sudoers)}\n".encode(), output)
        return
    needs_inventory = inventories or is_typed(context, "limit")
    sources = params.inventory_sources(inventories) if needs_inventory else ()
    request = app.ProgramRequest(
        sources=sources,
        playbooks=playbooks,
        limit=limit if sources else None,
        vault_password_file=vault_password_file,
        no_exec=no_exec,
        compressed=compressed,
        explain=explain,
    )
    if image:
        _write_binary(app.native_image(request, machines, console.print_message), output)
    elif machines:
        program = app.native_probe(request, machines, console.print_message)
        _write_binary(program, output, executable=True)
    else:
        _write(app.probe_program(request, console.print_message).encode(), output)


def _write(text: bytes, output: Path | None) -> None:
    """Writes text to a file, or to standard output."""
    from fleetaudit.app.output_file import write_file

    if output is None or str(output) == "-":
        console.print_result(text.decode())
        return
    write_file(output, [text])


def _write_binary(data: bytes, output: Path | None, *, executable: bool = False) -> None:
    """Writes a program or an archive to a file, or to a standard output that is no terminal."""
    from fleetaudit.app.output_file import write_file

    if output is None or str(output) == "-":
        console.print_program(data)
        return
    write_file(output, [data], executable=executable)


def _refuse_two_outputs(context: click.Context) -> None:
    """Raises `click.UsageError` if options of more than one group are typed, each of which prints
    something else, and for --image without --native.
    """
    groups = (
        ("playbooks", "inventories", "limit", "compressed", "machines"),
        ("command",),
        ("sudoers",),
    )
    kinds = (("explain",), ("compressed",), ("machines",), ("command",), ("sudoers",))
    if _typed_groups(context, groups) > 1 or _typed_groups(context, kinds) > 1:
        raise click.UsageError(
            "use only one of --playbook, --command and --sudoers: each prints something else;"
            " --explain goes with --playbook only, as --compressed and --native do"
        )
    if context.params["image"] and not context.params["machines"]:
        raise click.UsageError("--image needs --native ARCH, once for each architecture")


def _typed_groups(context: click.Context, groups: Sequence[Sequence[str]]) -> int:
    """Returns of how many groups of options one is typed."""
    from .options import is_typed

    return sum(any(is_typed(context, name) for name in names) for names in groups)
