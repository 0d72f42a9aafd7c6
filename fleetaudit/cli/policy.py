"""`fleetaudit policy make`: makes a playbook of expectations from a golden host."""

from __future__ import annotations

from pathlib import Path

import click

from fleetaudit.errors import UsageError

from . import completion, console, params


@click.group(short_help="Make a playbook of expectations from a run.")
def policy() -> None:
    """Makes a playbook of expectations out of a run."""


@policy.command(short_help="Expect of all hosts what one host did.")
@click.argument(
    "run_path", metavar="RUN", type=params.RunPath(), shell_complete=completion.complete_runs
)
@click.argument(
    "host_name", metavar="[HOST]", required=False, shell_complete=completion.complete_hosts
)
@click.option(
    "--majority", is_flag=True, help="Expect what more than half of the hosts did, instead of HOST."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file. Default: standard output.",
)
def make(run_path: Path, host_name: str | None, majority: bool, output: Path | None) -> None:
    """Writes a playbook: every ending and every sysctl of HOST in RUN, as expectations.

    What is unknown and what depends on one host (its memory, its modules) is left out, with the
    reason.
    """
    from fleetaudit.app.output_file import write_file
    from fleetaudit.app.policy import make_policy

    if majority == (host_name is not None):
        raise UsageError("policy make: name a host of the run, or use --majority")
    text = make_policy(run_path, host_name)
    if output is None:
        console.print_result(text)
    else:
        write_file(output, [text.encode()])
