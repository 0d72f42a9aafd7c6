"""`fleetaudit publish`: writes the runs of an output folder as a static site."""

from __future__ import annotations

import click

from . import completion, console, params


@click.command(short_help="Publish the runs as a static site.")
@click.argument("publish_folder", metavar="DIR")
@click.option(
    "--job",
    "jobs",
    metavar="JOB",
    multiple=True,
    shell_complete=completion.complete_jobs,
    help="Publish only this job, by its name or the part before its digits. Default: every job.",
)
@params.publish_mode_option
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
def publish(
    publish_folder: str, jobs: tuple[str, ...], publish_mode: str, output_dir: str | None
) -> None:
    """Writes a static site of the kept runs into DIR: index.html, the last report at
    latest/index.html, and every run of each job.

    DIR is a new or an empty folder, or one that was published before; then only what is new or
    changed is written, and the pages of removed runs are removed. Other files in it stay. The pages
    work from a web server and as files.
    """
    from fleetaudit.app.publish import PublishRequest, publish_site
    from fleetaudit.text.files import expand_home

    request = PublishRequest(
        folder=expand_home(publish_folder),
        output=params.output_folder(output_dir),
        mode=params.parse_publish_mode(publish_mode),
        jobs=jobs,
    )
    site = publish_site(request)
    for note in site.notes():
        console.print_message(note)
    console.print_result(site.text())
