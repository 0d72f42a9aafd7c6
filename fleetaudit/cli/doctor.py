"""`fleetaudit doctor`: checks every stage up to the experiment, and prints the next command to
type.
"""

from __future__ import annotations

import click

from . import console, params
from .connection_options import connection_options

BUG = 1


@click.command(short_help="Check that every host can be audited.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Playbook to check. Default: unread-close.",
)
@connection_options
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option("-q", "--quiet", is_flag=True, help="Print only the hosts that are not ready.")
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Print one line per host; -vv: log each stage of each attempt.",
)
@click.pass_context
def doctor(
    context: click.Context,
    /,
    inventories: tuple[str, ...],
    playbooks: tuple[str, ...],
    format_: str,
    quiet: bool,
    verbose: int,
    **values: object,
) -> int:
    """Checks every stage of a run except the experiment; where one fails, prints the next command
    to type.

    Shows one host in detail, several hosts as a table, and what a run would lack: scenarios that
    need a packet capture, a private network namespace or more rights. Writes nothing, neither here
    nor on the hosts. The options are those of `run`. Exit status: 0 every host is ready, 4 some
    host is not.
    """
    sources = params.inventory_sources(inventories)
    from fleetaudit.app.command_line import make_command_line
    from fleetaudit.app.connection_arguments import ConnectionArguments, choose_password_sources

    from .log import set_up_log
    from .options import read_options
    from .reporter import ConsoleReporter

    options = read_options(context, {"playbooks": playbooks, **values})
    command_line = make_command_line(options, sources)
    options = choose_password_sources(options)
    set_up_log(verbose)
    from fleetaudit.app.doctor import (
        NOT_READY,
        DoctorRequest,
        StopRequest,
        check_hosts,
        encode_report,
        prepare_check,
    )
    from fleetaudit.app.reporter import ignore_message

    from .password_prompt import prompt_password
    from .signals import Signals

    request = DoctorRequest(
        sources=sources,
        playbooks=playbooks,
        connection=ConnectionArguments.from_options(options),
        command_options=options,
        command_line=command_line,
    )
    reporter = ConsoleReporter(quiet=quiet, missing="not ready")
    prepared = prepare_check(request, reporter, prompt=prompt_password)
    on_check = console.print_message if verbose else ignore_message
    stop = StopRequest()
    with Signals(stop) as signals:
        checked = check_hosts(prepared, reporter, stop, on_check=on_check)
    with signals.reporting():
        if format_ == "json":
            console.print_bytes(encode_report(checked.report))
        else:
            console.print_report(checked.text(width=console.width(), problems_only=quiet))
    if checked.bugs:
        console.print_message(
            f"{checked.bugs} of the hosts met a bug in fleetaudit; its traceback is in the log"
        )
        if checked.bugs == len(checked.report.hosts):
            return BUG
    return signals.status or (0 if checked.report.ready else NOT_READY)
