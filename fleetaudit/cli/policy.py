"""`fleetaudit policy make`: a playbook of expectations out of what a golden host, or most hosts,
did.
"""

from __future__ import annotations

from pathlib import Path

import click

from fleetaudit.errors import UsageError

from . import console, params


@click.group(short_help="Make a playbook of expectations from a run.")
def policy() -> None:
    """Makes a playbook of expectations out of a run."""


@policy.command(short_help="Expect of all hosts what one host did.")
@click.argument("run_path", metavar="RUN", type=params.RunPath())
@click.argument("host_name", metavar="[HOST]", required=False)
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
    from fleetaudit.analysis.policy import of_host, of_most, playbook_of
    from fleetaudit.store import archive

    if majority == (host_name is not None):
        raise UsageError("policy make: name a host of the run, or say --majority")
    run = archive.read_run(run_path)
    text = playbook_of(run, of_most(run) if host_name is None else of_host(run, host_name))
    if output is None:
        console.out(text)
    else:
        archive.write_whole(output, text.encode())
