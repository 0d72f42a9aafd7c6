"""`fleetaudit report`: writes a run, or several runs as one, in another format."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetaudit.errors import OutputError
from fleetaudit.report import registry

from . import completion, console, params

if TYPE_CHECKING:
    from fleetaudit.model import AuditRun, HostResult

BUG = 1
_MOST_BESIDE, _HEAD = 100, 64 * 1024


@click.command(short_help="Write a run, or several runs, in another format.")
@click.argument(
    "run_paths",
    metavar="RUN...",
    type=params.RunPath(),
    shell_complete=completion.complete_runs,
    nargs=-1,
    required=True,
)
@click.option(
    "--format", "format_", type=click.Choice(params.FORMATS), default="text", show_default=True
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Default, and “-”: stdout.",
)
def report(run_paths: tuple[Path, ...], format_: str, output: Path | None) -> int:
    """Renders one report of every RUN (a run's folder or its run.json); the same runs give the same
    bytes.

    A host may be in two runs only if both have the same result for it. FILE is replaced in one step
    and keeps its permissions; only its owner can read a new one.
    """
    import msgspec

    from fleetaudit.app.merge import merge_runs
    from fleetaudit.app.run_output import leave_out_failing_hosts
    from fleetaudit.store.run_file import read_run

    run = merge_runs([(path, read_run(path)) for path in run_paths])
    to_screen = output is None or str(output) == "-"
    width = console.width() if to_screen else 100

    def rendering(hosts: tuple[HostResult, ...]) -> bytes:
        return registry.render(msgspec.structs.replace(run, hosts=hosts), format_, width=width)

    rendered, bugs = leave_out_failing_hosts(run.hosts, rendering, rendering)
    if output is not None and not to_screen:
        _write(output, rendered)
        if format_ == "prometheus":
            _warn_of_the_same_job(output, run)
    elif format_ == "text":
        console.print_report(rendered.decode())
    else:
        console.print_bytes(rendered)
    if bugs:
        console.print_message(
            f"{bugs} of the hosts are left out because of a bug in fleetaudit; its traceback is in"
            " the log"
        )
        return BUG
    return 0


def _warn_of_the_same_job(path: Path, run: AuditRun) -> None:
    """Warns of another file of metrics in this folder that has the same job."""
    from fleetaudit.report.common import job_of
    from fleetaudit.report.prometheus import beginning_of_info
    from fleetaudit.text.files import read_first_bytes

    begins = beginning_of_info(run).encode()
    for other in (
        sorted(path.parent.glob("*.prom"))[:_MOST_BESIDE] if path.suffix == ".prom" else ()
    ):
        try:
            same = other.name != path.name and begins in read_first_bytes(other, _HEAD)
        except OSError:
            continue
        if same:
            console.print_message(
                f"fleetaudit: warning: {other} has metrics of the same job, {job_of(run)}:"
                " node_exporter reads only one of the two; if two inventories have the same name,"
                " give `run` the full path of each"
            )


def _write(path: Path, data: bytes) -> None:
    """Replaces a file in one step; what is there and is no file (a pipe, /dev/stdout) is written
    into instead.
    """
    from fleetaudit.store.disk import write_atomically

    try:
        there = path.stat()
    except OSError:
        there = None  # a new file, or a way that does not exist: `write_whole` tells
    if there is None or stat.S_ISREG(there.st_mode):
        # A link (/dev/stdout is one) is followed, not replaced. A metric file that a collector of
        # another user reads stays readable for it.
        write_atomically(path.resolve(), data, mode=stat.S_IMODE(there.st_mode) if there else 0o600)
        return
    try:
        with path.open("wb") as file:
            file.write(data)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror}") from e
