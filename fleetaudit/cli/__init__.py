"""The command `fleetaudit`: options in, an exit status out; one module for each command.

Rules: results go to stdout, everything else to stderr; text of hosts is sanitized first. The class
of an error knows its exit status (errors.py); a bug is status 1, its traceback is in the log.

A module is imported where it is used, so that --version, --help and usage errors cost little more
than Python and click themselves: the module of a command when the command is named, and what the
command does when its options are parsed (tests/commands/test_imports.py, bench/start.py).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
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

from . import console

BUG, BAD_CONFIGURATION, INTERRUPTED = 1, 78, 130
_DISK_ERRORS = (
    errno.EIO,
    errno.ESTALE,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOLCK,
    errno.ETIMEDOUT,
)
"""What a file system refuses for reasons of its own; no bug causes these."""
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the limits of the process or of the machine refuse."""
_NO_COMMAND: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What click 8.2 raises for a group without a command; click 8.1 prints its help itself."""


class _Commands(Mapping[str, click.Command]):
    """The commands by name; the module of a command is imported when the command is looked up."""

    _FUNCTIONS = {
        "bisect": "bisect",
        "diff": "diff",
        "doctor": "doctor",
        "explain": "explain",
        "help": "help_",
        "history": "history",
        "inventory": "inventory",
        "merge": "merge",
        "policy": "policy",
        "probe": "probe",
        "prune": "prune",
        "publish": "publish",
        "report": "report",
        "run": "run",
        "runs": "runs",
        "scenarios": "scenarios",
        "schedule": "schedule",
        "services": "services",
        "watch": "watch",
    }
    """The module of each command, which is its name, and the function in it."""

    def __getitem__(self, name: str) -> click.Command:
        function = self._FUNCTIONS[name]
        command: click.Command = getattr(import_module(f"{__name__}.{name}"), function)
        return command

    def __contains__(self, name: object) -> bool:
        return name in self._FUNCTIONS

    def __iter__(self) -> Iterator[str]:
        return iter(self._FUNCTIONS)

    def __len__(self) -> int:
        return len(self._FUNCTIONS)


_COMMANDS: Any = _Commands()
"""click wants a mapping that it can add to, and only reads this one."""


@click.group(
    commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    __version__, "-V", "--version", prog_name="fleetaudit", message="%(prog)s %(version)s"
)
@click.pass_context
def fleetaudit(context: click.Context) -> None:
    """Audits how the hosts of a fleet close a TCP connection with unread data: FIN or RST, on each
    kernel.

    \b
    fleetaudit run localhost,          this machine
    fleetaudit run inventory.yml       every host of an Ansible inventory
    """  # noqa: D301 — \b is for click: it keeps these lines
    from . import configuration

    configuration.apply(context, fleetaudit.commands)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process with its exit status."""
    console.open_standard_streams()
    status = run_command_line(arguments)
    console.settle_streams()
    sys.exit(status)


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, prints the error if there is one, and returns the exit status."""
    try:
        status = fleetaudit.main(arguments, prog_name="fleetaudit", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return _report_interrupt()
    except SystemExit:  # click ends so if nobody reads its help text, with the status of a bug
        return OutputError.exit_status
    except Exception as e:
        return _report_interrupt() if _is_after_interrupt(e) else _report_error(e)
    return status if isinstance(status, int) else 0


def _report_interrupt() -> int:
    """Prints that the command was interrupted, and returns the exit status."""
    console.print_message("fleetaudit: interrupted")
    return INTERRUPTED


def _is_after_interrupt(e: BaseException | None) -> bool:
    """Returns whether `e` was raised while an interrupt was handled.

    A terminal that closes after ^C gives EIO.
    """
    seen = set[int]()  # an error may be its own cause
    while e is not None and id(e) not in seen:
        if isinstance(e, KeyboardInterrupt):
            return True
        seen.add(id(e))
        e = e.__cause__ or e.__context__
    return False


def _report_error(e: Exception) -> int:
    """Prints an error and returns its exit status.

    Without a command the help is printed. An error that is neither the user's, nor ours, nor the
    system's is a bug, and gets a traceback.
    """
    if isinstance(e, _NO_COMMAND):
        return _print_help(e)
    if isinstance(e, click.UsageError):
        return _report_usage(e)
    if isinstance(e, FleetauditError):
        if not isinstance(e, console.ReaderGoneError):
            console.print_message(f"fleetaudit: {e}")
        return e.exit_status
    if isinstance(e, MemoryError):
        return _report_shortage("out of memory")
    if isinstance(e, OSError):
        status = _report_os_error(e)
        if status is not None:
            return status
    return _report_bug(e)


def _report_shortage(problem: str) -> int:
    """Prints that a limit is too low, and returns the exit status."""
    console.print_message(f"fleetaudit: {problem}; this shell's limits:  ulimit -a")
    return BAD_CONFIGURATION


def _report_os_error(e: OSError) -> int | None:
    """Prints an error of the system and returns its exit status, None if it is a bug.

    No bug are: a disk that is full or fails, a reader of the output that has gone, and a current
    folder that no longer exists.
    """
    if e.errno in _SHORTAGES:
        return _report_shortage(str(e.strerror).lower())
    if e.errno in _DISK_ERRORS and isinstance(e.filename, str):
        console.print_message(f"fleetaudit: {e.filename}: {e.strerror}")
        return OutputError.exit_status
    if e.errno in (*_DISK_ERRORS, errno.EPIPE):
        console.discard_output()  # click's own help text, to a full disk or to nobody
        if e.errno != errno.EPIPE:
            console.print_message(f"fleetaudit: the output cannot be written: {e.strerror}")
        return OutputError.exit_status
    if isinstance(e, FileNotFoundError) and not _has_current_folder():
        console.print_message(
            "fleetaudit: the current folder no longer exists; change to a different folder:  cd /"
        )
        return NothingToDoError.exit_status
    return None


def _report_bug(e: Exception) -> int:
    """Logs a bug with its traceback, and returns the exit status."""
    from fleetaudit.log import get_logger

    from . import log

    if not log.has_log():
        log.set_up_log(0)
    get_logger(__name__).error("a bug in fleetaudit", exc_info=e)
    console.print_message(
        "fleetaudit: this is a bug in fleetaudit, not in anything you did; its traceback is in"
        " the log"
    )
    return BUG


def _has_current_folder() -> bool:
    """Returns whether the current folder still exists."""
    from pathlib import Path

    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _print_help(e: click.UsageError) -> int:
    """Prints the help of a group that was named without a command."""
    try:
        console.print_result(f"{e.message}\n")
    except OutputError as unwritable:
        return unwritable.exit_status
    return 0


def _report_usage(e: click.UsageError) -> int:
    """Prints what is wrong with the command line, the environment or the configuration.

    click would end with status 2, which means something else here.
    """
    if place := _place_of_value(e):
        console.print_message(f"fleetaudit: {place}: {e.message}")
        return BAD_CONFIGURATION
    if e.ctx:
        console.print_message(e.ctx.get_usage())
    console.print_message(f"fleetaudit: {e.format_message()}")
    return UsageError.exit_status


def _place_of_value(e: click.UsageError) -> str:
    """Returns what set a bad value that was not typed, "" for one that was.

    Such as "FLEETAUDIT_FORKS" for a variable of the environment, and "the configuration's forks".
    """
    parameter = e.param if isinstance(e, click.BadParameter) else None
    if not e.ctx or not parameter or not parameter.name:
        return ""
    source = e.ctx.get_parameter_source(parameter.name)
    if source is ParameterSource.ENVIRONMENT and isinstance(parameter.envvar, str):
        return parameter.envvar
    if source is ParameterSource.DEFAULT_MAP:
        return f"the configuration's {parameter.name}"
    return ""
