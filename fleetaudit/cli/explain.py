"""`fleetaudit explain`: one host's verdicts, or one verdict with its packets and its witnesses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetaudit.errors import NothingToDoError

from . import completion, console, params

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetaudit.model import Audited, Observation


@click.command(short_help="Show one verdict with its packets.")
@click.argument(
    "run_path", metavar="RUN", type=params.RunPath(), shell_complete=completion.complete_runs
)
@click.argument("host_name", metavar="HOST", shell_complete=completion.complete_hosts)
@click.argument(
    "scenario", metavar="[SCENARIO]", required=False, shell_complete=completion.complete_scenarios
)
@click.option(
    "--pcap",
    "trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the packets, for tcpdump.",
)
def explain(run_path: Path, host_name: str, scenario: str | None, trace: Path | None) -> None:
    """Shows what was seen on HOST in RUN: every verdict on a line, or all the evidence of one
    SCENARIO.

    SCENARIO is a name, as `fleetaudit scenarios` lists them, or NAME/FAMILY (unread-close/ipv6).
    """
    from fleetaudit.model import Audited
    from fleetaudit.report import pcap
    from fleetaudit.report.explain import host_text, verdict_text
    from fleetaudit.store.disk import write_atomically
    from fleetaudit.store.run_file import read_run

    run = read_run(run_path)
    host = next((host for host in run.hosts if host.name == host_name), None)
    if host is None:
        raise NothingToDoError(
            f"{run_path}: no host “{host_name}” in this run"
            + _near(host_name, (h.name for h in run.hosts))
        )
    if trace and not isinstance(host, Audited):
        raise NothingToDoError(
            f"{run_path}: {host_name} was not audited, so there are no packets for --pcap"
        )
    if scenario is None or not isinstance(host, Audited):
        text = host_text(run, host, width=console.width())
    else:
        seen = _observations(host, scenario, run_path)
        text = "\n".join(verdict_text(run, host, o, width=console.width()) for o in seen)
    if trace and isinstance(host, Audited):  # only now: an error must leave no file
        write_atomically(trace, pcap.render(host, scenario or "", run.scenarios))
    console.print_report(text)


def _observations(host: Audited, scenario: str, run_path: Path) -> list[Observation]:
    """Returns the observation of NAME or NAME/FAMILY; raises `NothingToDoError`."""
    name, _, family = scenario.partition("/")
    seen = [o for o in host.observations if o.scenario == name and family in ("", o.family)]
    if not seen:
        names = sorted({o.scenario for o in host.observations})
        raise NothingToDoError(
            f"{run_path}: “{scenario}” was not observed on {host.name}" + _near(name, names)
        )
    return seen


def _near(word: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, list(known), 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
