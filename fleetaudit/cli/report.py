"""`fleetaudit report`: renders a run again, from its folder or its run.json."""

from __future__ import annotations

from pathlib import Path

import click

from . import outputs, screen, words


@click.command(short_help="Render a run again.")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(words.FORMATS), default="text", show_default=True)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Default: standard output.")
def report(run_path: Path, format_: str, output: Path | None) -> None:
    """Renders RUN, a run's folder or its run.json; the same run gives the same bytes."""
    from .. import archive

    run = archive.read_run(run_path)
    rendered = outputs.render(run, format_, width=screen.width() if output is None else 100)
    if output is None:
        screen.out(rendered.decode())
    else:
        archive.write_whole(output, rendered)
