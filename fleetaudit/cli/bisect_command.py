"""What `fleetaudit bisect` does with its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fleetaudit.app.bisect import (
    BisectRequest,
    Followed,
    StopRequest,
    bisect_kernels,
    encode,
    prepare_bisection,
)
from fleetaudit.app.command_line import make_command_line
from fleetaudit.app.connection_arguments import parse_extra_vars
from fleetaudit.text.files import expand_home
from fleetaudit.text.phrases import count_noun

from . import console, params
from .log import set_up_log
from .options import read_options
from .reporter import ConsoleReporter
from .signals import Signals


def run_bisection(
    context: click.Context, images: tuple[str, ...], format_: str, values: Mapping[str, Any]
) -> int:
    """Bisects, prints the result, and returns the exit status."""
    set_up_log(values["verbose"])
    quiet = values["quiet"]
    # Notes that are kept are not printed: with -q nobody follows the steps.
    reporter = ConsoleReporter(quiet=quiet, verbose=values["verbose"] > 0, keeps_notes=quiet)
    prepared = prepare_bisection(_request(context, images, values), reporter)
    stop = StopRequest()
    with Signals(stop) as signals:
        finished = bisect_kernels(prepared, reporter, stop)
    if finished.bisection is None:
        kept = count_noun(finished.kept, "result")
        console.print_message(f"{kept} kept in {finished.state}; the same command continues")
        return signals.status
    if format_ == "json":
        console.print_bytes(encode(finished.bisection))
    else:
        console.print_report(finished.text(width=console.width()))
    return finished.status


def _request(
    context: click.Context, images: tuple[str, ...], values: Mapping[str, Any]
) -> BisectRequest:
    """Returns the request of a command line; raises `UsageError` for what makes no sense in it."""
    state: str | None = values["state"]
    return BisectRequest(
        images=images,
        series=values["series"],
        playbooks=values["playbooks"],
        tags=params.parse_tags(values["tags"]),
        skip_tags=params.parse_tags(values["skip_tags"]),
        extra_vars=parse_extra_vars(values["extra_vars"]),
        followed=Followed(names=values["names"], family=values["family"] or ""),
        forks=values["forks"],
        host_deadline_s=values["host_deadline"],
        output=params.output_folder(values["output_dir"]),
        state=expand_home(state) if state else None,
        command_line=make_command_line(read_options(context, values), images),
    )
