"""Words in, an exit status out: the command `fleetaudit`, a file a verb. The only room that prints.

Rules: results go to stdout, everything else to stderr; what a host said passes `screen.safe` first.
An error's class knows its exit status (errors.py); a bug is status 1, its traceback in the log.
Heavy imports happen inside the verbs, so that --version, --help and usage errors are quick.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from fleetaudit import __version__
from fleetaudit.errors import (
    FleetauditError,
    NothingToDoError,
    OutputError,
    UsageError,
)

from . import (
    configuration,
    console,
    diff,
    doctor,
    explain,
    help,
    inventory,
    merge,
    policy,
    probe,
    prune,
    report,
    run,
    runs,
    scenarios,
    schedule,
)

BUG, BAD_CONFIGURATION, INTERRUPTED = 1, 78, 130
_HELP_WANTED: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What click 8.2 and later raise for a group without a command, to print its help; click 8.1 prints
it itself.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(
    __version__, "-V", "--version", prog_name="fleetaudit", message="%(prog)s %(version)s"
)
@click.pass_context
def fleetaudit(context: click.Context) -> None:
    """Audits how the hosts of a fleet close a TCP connection with unread data: FIN or RST, on each kernel.

    \b
    fleetaudit run localhost,          this machine
    fleetaudit run inventory.yml       every host of an Ansible inventory
    """  # noqa: D301 — \b is for click: it keeps these lines apart
    configuration.apply(context, fleetaudit.commands)


for verb in (
    run.run,
    doctor.doctor,
    report.report,
    diff.diff,
    runs.runs,
    merge.merge,
    explain.explain,
    scenarios.scenarios,
    inventory.inventory,
    policy.policy,
    probe.probe,
    schedule.schedule,
    prune.prune,
    help.help_,
):
    fleetaudit.add_command(verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with its exit status."""
    console.open_standard_streams()
    sys.exit(run_command_line(arguments))


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status of a command line, after running it; what went wrong is told on
    stderr.
    """
    try:
        status = fleetaudit.main(arguments, prog_name="fleetaudit", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except Exception as e:
        return _interrupted() if _after_interrupt(e) else _failed(e)
    return status if isinstance(status, int) else 0


def _interrupted() -> int:
    console.print_message("fleetaudit: interrupted")
    return INTERRUPTED


def _after_interrupt(e: BaseException | None) -> bool:
    """Returns whether `e` was raised while an interrupt was handled: a terminal that closes after
    ^C gives EIO.
    """
    seen = set[int]()  # an error may be its own cause
    while e is not None and id(e) not in seen:
        if isinstance(e, KeyboardInterrupt):
            return True
        seen.add(id(e))
        e = e.__cause__ or e.__context__
    return False


def _failed(e: Exception) -> int:
    """Prints an error and returns its exit status."""
    if isinstance(e, _HELP_WANTED):
        return _help(e)
    if isinstance(e, click.UsageError):
        return _usage(e)
    if isinstance(e, FleetauditError):
        if not isinstance(e, console.ReaderGoneError):
            console.print_message(f"fleetaudit: {e}")
        return e.exit_status
    if (
        isinstance(e, OSError)
        and e.filename is None
        and e.errno in (errno.ENOSPC, errno.EPIPE, errno.EIO)
    ):
        console.discard_output()
        return OutputError.exit_status  # click's own help text, to a full disk or to nobody
    if isinstance(e, FileNotFoundError) and e.filename is None and not _has_folder():
        console.print_message(
            "fleetaudit: the current folder is gone; go to one that is there:  cd /"
        )
        return NothingToDoError.exit_status
    if not logging.getLogger("fleetaudit").handlers:
        console.set_up_log(0)
    logging.getLogger(__name__).error("a bug in fleetaudit", exc_info=e)
    console.print_message(
        "fleetaudit: this is a bug in fleetaudit, not in anything you did; its traceback is in"
        " the log"
    )
    return BUG


def _has_folder() -> bool:
    """Returns whether the current folder is still there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _help(e: click.UsageError) -> int:
    """Prints the help of a group that was named without a command."""
    try:
        console.print_result(f"{e.message}\n")
    except OutputError as unwritable:
        return unwritable.exit_status
    return 0


def _usage(e: click.UsageError) -> int:
    """Tells of a bad command line (click would end with 2), or of a bad variable of the
    environment.
    """
    name = e.param.name if isinstance(e, click.BadParameter) and e.param else None
    of_environment = (
        e.ctx and name and e.ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT
    )
    variable = (
        e.param.envvar if of_environment and isinstance(e, click.BadParameter) and e.param else None
    )
    if isinstance(variable, str):
        console.print_message(f"fleetaudit: {variable}: {e.message}")
        return BAD_CONFIGURATION
    if e.ctx and name and e.ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
        console.print_message(f"fleetaudit: the configuration's {name}: {e.message}")
        return BAD_CONFIGURATION
    if e.ctx:
        console.print_message(e.ctx.get_usage())
    console.print_message(f"fleetaudit: {e.format_message()}")
    return UsageError.exit_status
