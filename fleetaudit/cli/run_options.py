"""The options of the commands that audit hosts into a run folder: run, watch, services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from . import completion, params
from .connection_options import connection_options

Command = TypeVar("Command", bound=Callable[..., Any])

_TAGS = (
    click.option(
        "-t",
        "--tags",
        metavar="LIST",
        default="",
        help="Run only plays and scenarios with one of these tags.",
    ),
    click.option(
        "--skip-tags", metavar="LIST", default="", help="Skip plays and scenarios with these tags."
    ),
)
_OPTIONS = (
    click.option(
        "-o",
        "--output-dir",
        metavar="DIR",
        envvar="FLEETAUDIT_OUTPUT_DIR",
        help="Default: reports.",
    ),
    click.option(
        "--format",
        "formats",
        metavar="LIST",
        default="html",
        show_default=True,
        help=(
            f"Outputs to write: {', '.join(params.RUN_FORMATS)}. json is always written for up to"
            " 250 hosts."
        ),
    ),
    click.option(
        "--fail-on",
        metavar="LIST",
        default="warning",
        show_default=True,
        help=(
            "info, warning or error (a finding at least as severe gives 2), and drift (a change"
            " adds 8)."
        ),
    ),
    click.option(
        "--waivers",
        metavar="FILE",
        help="File of accepted findings, with owner, reason and expiry.",
    ),
    click.option(
        "--baseline",
        metavar="last|RUN|FILE|none",
        shell_complete=completion.complete_runs,
        default="last",
        show_default=True,
        help="Run to compare with; last: the last finished run of the same job.",
    ),
    click.option(
        "--resume",
        metavar="RUN",
        shell_complete=completion.complete_runs,
        help="Finish this run, which was interrupted or killed.",
    ),
    click.option(
        "--shard",
        metavar="I/N",
        help="Audit only part I of N of the hosts, in the order of their names.",
    ),
    click.option(
        "--engine",
        metavar="dask://HOST:PORT",
        help="Audit the hosts from the workers of this Dask scheduler.",
    ),
    click.option(
        "--serial",
        metavar="LIST",
        help="Audit in batches of these sizes, one after the other: 10, 25%, or 1,5,50%.",
    ),
    click.option(
        "--max-fail-percentage",
        type=click.FloatRange(0, 100),
        metavar="N",
        help="Begin no further host if more than N % of a batch could not be audited.",
    ),
    click.option(
        "-C",
        "--check",
        is_flag=True,
        help=(
            "Print what would run on each host; do not connect. Status 4: a host cannot be audited."
        ),
    ),
    click.option(
        "--keep",
        metavar="30d|N",
        help="Remove runs older than that many days, or all but the newest N.",
    ),
    click.option(
        "--run-deadline",
        type=params.Seconds(1, 7 * 86400),
        metavar="SECONDS",
        help="Seconds for the whole run; hosts without an answer by then are not audited.",
    ),
    click.option(
        "--cron",
        is_flag=True,
        help="Unattended: silent if nothing changed; implies --keep 30d --run-deadline 14400.",
    ),
    click.option(
        "--notify",
        metavar="COMMAND",
        help="If something changed, run this command with the summary on its stdin.",
    ),
    click.option(
        "--report-url",
        metavar="BASE",
        help=(
            "URL of the output folder, or of the site of --publish, for links in --cron and"
            " --notify."
        ),
    ),
    click.option(
        "--publish",
        metavar="DIR",
        help="Then publish the runs of the output folder into this folder, as `publish` does.",
    ),
    params.publish_mode_option,
    click.option("-q", "--quiet", is_flag=True, help="Print only problems."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        help="Print one line per host; -vv: log each stage of each attempt.",
    ),
)


def playbook_option(help_: str) -> Callable[[Command], Command]:
    """Returns the option that names playbooks, with the help of its command."""
    return click.option(
        "-p", "--playbook", "playbooks", metavar="PLAYBOOK", multiple=True, help=help_
    )


def tag_options(command: Command) -> Command:
    """Adds the options that select plays and scenarios by their tags."""
    for option in reversed(_TAGS):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """Adds the options of a run: how hosts are reached, what is written, and what is a failure."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return connection_options(command)


def start_run(
    context: click.Context, inventories: tuple[str, ...], values: Mapping[str, object]
) -> int:
    """Runs the command of `context` with its options, and returns its exit status."""
    if not values["resume"]:  # a run that is resumed knows its inventories
        inventories = params.inventory_sources(inventories)
    from .options import read_options
    from .run_command import RunCommand

    return RunCommand(read_options(context, values), inventories).run()
