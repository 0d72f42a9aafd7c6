"""`fleetaudit merge`: makes one run of several, and of replies that were fetched by other means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetaudit.errors import UsageError

from . import completion, console, params
from .connection_options import no_exec_option

if TYPE_CHECKING:
    from fleetaudit.app.render import Comparison


@click.command(short_help="Make one run of several, or of replies fetched by other means.")
@click.argument(
    "paths",
    metavar="RUN|REPLY...",
    type=params.RunPath(may_be_reply=True),
    shell_complete=completion.complete_runs,
    nargs=-1,
    required=True,
)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="The playbook that was given to `fleetaudit probe`. Default: unread-close.",
)
@click.option(
    "-i",
    "--inventory",
    "inventories",
    metavar="INVENTORY",
    multiple=True,
    help="Inventory of the replies; a host without a reply is reported as not audited.",
)
@click.option("-l", "--limit", metavar="PATTERN", help="Only these hosts of -i.")
@click.option("--vault-password-file", metavar="FILE", help="File with the ansible-vault password.")
@no_exec_option
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
@click.option(
    "--format", "formats", metavar="LIST", default="html", show_default=True, help="As in run."
)
@click.option("--fail-on", metavar="LIST", default="warning", show_default=True, help="As in run.")
def merge(
    paths: tuple[Path, ...],
    playbooks: tuple[str, ...],
    inventories: tuple[str, ...],
    limit: str | None,
    vault_password_file: str | None,
    no_exec: bool,
    output_dir: str | None,
    formats: str,
    fail_on: str,
) -> int:
    """Writes one run with the hosts of every RUN and REPLY.

    RUN is the folder of a run or its run.json. REPLY is a file with the output of the program that
    `fleetaudit probe` prints, named after its host (web7, web7.reply or web7.txt), or a folder of
    such files. For replies, give the same -p as to `probe`. With -i, a host without a reply is in
    the run as not audited.

    \b
    fleetaudit merge shard1/latest shard2/latest
    fleetaudit merge web7.reply db1.reply
    fleetaudit merge -p PLAYBOOK -i INVENTORY replies/

    A host may be in one of them only. The exit status is that of one run of all these hosts.
    """  # noqa: D301 - \b is for click: it keeps these lines apart
    from fleetaudit.app.merge_output import MergeRequest, merge_into_folder
    from fleetaudit.app.options import OptionSource
    from fleetaudit.app.render import render_summary

    from .options import source_of

    if not inventories:
        if source_of(click.get_current_context(), "limit") is OptionSource.COMMAND_LINE:
            raise UsageError("-l selects hosts of an inventory: name it with -i")
        limit = None  # the limit of a configuration is for its inventory
    request = MergeRequest(
        paths=paths,
        output=params.output_folder(output_dir),
        playbooks=playbooks,
        inventories=inventories,
        limit=limit,
        vault_password_file=vault_password_file,
        no_exec=no_exec,
        formats=params.parse_formats(formats),
        fail_on=params.parse_fail_on(fail_on),
    )

    def render(comparison: Comparison) -> str:
        return render_summary(comparison, width=console.width())

    merged = merge_into_folder(request, console.print_message, render=render)
    written = merged.written
    console.print_report(f"{render(written.comparison)}\nReport: {written.reports[0]}\n")
    if merged.bugs:
        console.print_message(
            f"{merged.bugs} of the hosts not audited failed because of a bug in fleetaudit; its"
            " traceback is in the log"
        )
    return merged.status
