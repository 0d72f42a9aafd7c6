"""`fleetaudit bisect`: finds between which two kernels an ending changes."""

from __future__ import annotations

import click

from . import completion, params
from .run_options import playbook_option, tag_options


@click.command(short_help="Find between which two kernels an ending changes.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--series",
    metavar="X.Y",
    help="Only kernels of this series, such as 6.12. Default: the only one.",
)
@click.option(
    "--scenario",
    "names",
    metavar="NAME[/FAMILY]",
    multiple=True,
    shell_complete=completion.complete_playbook_scenarios,
    help="Follow the ending of this scenario only. Default: every ending that differs.",
)
@click.option(
    "--family",
    type=click.Choice(["ipv4", "ipv6", "unix"]),
    help="Follow the endings over this family only.",
)
@playbook_option("Playbook to run on each kernel. Default: unread-close.")
@tag_options
@click.option(
    "-e",
    "--extra-vars",
    metavar="KEY=VALUE",
    multiple=True,
    help="A variable of every kernel: kernel_memory, kernel_append.",
)
@click.option(
    "-f",
    "--forks",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=1,
    show_default=True,
    help="Number of kernels to boot at once, where a step needs several.",
)
@click.option(
    "--host-deadline",
    type=params.Seconds(1, 86400),
    metavar="SECONDS",
    default=300.0,
    show_default=True,
    help="Seconds for one kernel, retries included.",
)
@click.option(
    "--state",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="File of the results. Default: one for this call in the output folder.",
)
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option("-q", "--quiet", is_flag=True, help="Print only problems and the result.")
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Print one line per kernel; -vv: log each stage of each attempt.",
)
@click.pass_context
def bisect(
    context: click.Context, /, images: tuple[str, ...], format_: str, **values: object
) -> int:
    """Boots kernels of one series in a search by halves, and shows between which two of them an
    ending changed.

    IMAGE is a kernel image, a Debian package of one (.deb), or a folder of them. The oldest and the
    newest are booted first, then about log2(n) kernels for each change. One that cannot be audited
    is skipped, as by `git bisect skip`. Results are kept: a call that was interrupted continues
    where it was. Exit status: 0 every change lies between two neighbours, or nothing changed; 4 one
    does not, because kernels between could not be audited.
    """
    from .bisect_command import run_bisection

    return run_bisection(context, images, format_, values)
