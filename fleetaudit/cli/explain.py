"""`fleetaudit explain`: one host's verdicts, or one verdict with its packets and its witnesses."""

from __future__ import annotations

from pathlib import Path

import click

from . import completion, console, params


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
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def explain(
    run_path: Path, host_name: str, scenario: str | None, trace: Path | None, format_: str
) -> None:
    """Shows what was seen on HOST in RUN: every verdict on a line, or all the evidence of one
    SCENARIO.

    SCENARIO is a name, as `fleetaudit scenarios` lists them, or NAME/FAMILY (unread-close/ipv6).
    --format json is for scripts; without SCENARIO it leaves out the evidence.
    """
    from fleetaudit.app.explain import explain_host, explain_host_as_json

    if format_ == "json":
        console.print_bytes(explain_host_as_json(run_path, host_name, scenario, pcap_file=trace))
        return
    text = explain_host(run_path, host_name, scenario, width=console.width(), pcap_file=trace)
    console.print_report(text)
