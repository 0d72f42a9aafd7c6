"""`fleetaudit policy make`: a playbook of expectations out of what a golden host, or most hosts,
did.
"""

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
    "--majority", is_flag=True, help="What more than half of the hosts did, in place of HOST."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Default: standard output.",
)
def make(run_path: Path, host_name: str | None, majority: bool, output: Path | None) -> None:
    """Writes a playbook: every ending and every sysctl of HOST in RUN, as expectations.

    What could not be told and what depends on one host (its memory, its modules) is left out, with
    the reason.
    """
    from fleetaudit.analysis.policy import behaviour_of_host, behaviour_of_majority, render_playbook
    from fleetaudit.store.disk import write_atomically
    from fleetaudit.store.run_file import read_run

    if majority == (host_name is not None):
        raise UsageError("policy make: name a host of the run, or say --majority")
    run = read_run(run_path)
    text = render_playbook(
        run, behaviour_of_majority(run) if host_name is None else behaviour_of_host(run, host_name)
    )
    if output is None:
        console.print_result(text)
    else:
        write_atomically(output, text.encode())
