"""`fleetaudit merge`: several runs, such as the shards of a fleet, become one run of an output folder."""

from __future__ import annotations

from pathlib import Path

import click

from . import clock, outputs, screen, words


@click.command(short_help="Make one run of several.")
@click.argument("run_paths", metavar="RUN...", type=words.RunPath(), nargs=-1, required=True)
@click.option("-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports.")
@click.option("--format", "formats", metavar="LIST", default="html", show_default=True, help="As in run.")
@click.option("--fail-on", metavar="LIST", default="warning", show_default=True, help="As in run.")
def merge(run_paths: tuple[Path, ...], output_dir: str | None, formats: str, fail_on: str) -> int:
    """Writes one run with the hosts of each RUN, a run's folder or its run.json.

    A host in two of them is an error that names it. The exit status is as of one run of them all.
    """
    import msgspec

    from .. import archive
    from ..compare import compare
    from ..errors import InputError
    from ..folding import fold
    from .joined import join
    from .run import status_of

    wanted, grave = (
        words.comma_list(formats, words.RUN_FORMATS, "--format"),
        words.comma_list(fail_on, words.FAIL_ON, "--fail-on"),
    )
    output = words.output_folder(output_dir)
    runs = [(path, archive.read_run(path)) for path in run_paths]
    seen = dict[str, Path]()
    for path, run in runs:
        if twice := [host.name for host in run.hosts if host.name in seen]:
            raise InputError(
                f"also in {seen[twice[0]]}: {', '.join(fold(twice).ranges)}",
                source=str(path),
                hint="leave one of the two runs out, or audit each host in one",
            )
        seen.update((host.name, path) for host in run.hosts)
    whole = join(runs)
    with archive.locked(output), archive.create(output, clock.now()) as folder:
        whole = msgspec.structs.replace(whole, run=msgspec.structs.replace(whole.run, id=folder.id))
        for host in whole.hosts:
            folder.append(host)
        folder.finish(whole)
        comparison = compare(whole)
        reports = outputs.write_all(folder, whole, wanted, comparison) or [folder.path / archive.RUN]
        folder.point_latest()
    from ..report.terminal import summary

    screen.out(f"{summary(comparison, width=screen.width())}\nReport: {reports[0]}\n")
    return status_of(whole, grave)
