"""Compares two runs and renders what changed."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from fleetaudit.analysis import drift as analysis
from fleetaudit.errors import InputError
from fleetaudit.model import AuditRun, Drift
from fleetaudit.report.diff_formats import DIFF_FORMATS, Difference
from fleetaudit.store.part_reader import Interner
from fleetaudit.store.run_file import read_run

from .command_line import source_arguments


class RunsCompared(msgspec.Struct, frozen=True):
    """Two runs, what changed between them, and their names in messages."""

    before: AuditRun
    after: AuditRun
    drift: Drift
    names: tuple[str, str]

    def require_comparable(self) -> None:
        """Raises `InputError` if the two cannot be compared."""
        if self.drift.refused:
            raise InputError(
                f"cannot be compared with {self.names[0]}: {self.drift.refused}",
                source=self.names[1],
                hint="expected: two runs of the same inventory and playbook",
            )


def compare_runs(before: AuditRun, after: AuditRun, *, names: tuple[str, str]) -> RunsCompared:
    """Returns two runs with what changed from `before` to `after`, or why that is unknown."""
    return RunsCompared(before, after, analysis.compute_drift(before, after), names)


def diff_runs(before: AuditRun, after: AuditRun, *, names: tuple[str, str]) -> Drift:
    """Returns what changed from one run to a later one.

    `names` are those of the two runs in messages. Raises `InputError` if they cannot be compared.
    """
    compared = compare_runs(before, after, names=names)
    compared.require_comparable()
    return compared.drift


def compare_files(before: Path, after: Path) -> RunsCompared:
    """Returns two runs, each a run folder or its run.json, with what changed.

    Raises `NothingToDoError` for a run that is missing, and `InputError` for what is not a run.
    """
    interner = Interner()
    runs = [read_run(path, interner) for path in (before, after)]
    return compare_runs(*runs, names=(str(before), str(after)))


def render_diff(
    compared: RunsCompared, format_: str, *, width: int, output: Path | None = None
) -> bytes:
    """Returns the changes in one of `DIFF_FORMATS`, in UTF-8.

    `width` is the width of a text in columns, `output` the file that is written, for the command
    that a page repeats. Raises `InputError` if the two runs cannot be compared, and the format has
    no place to say so.
    """
    chosen = DIFF_FORMATS[format_]
    if not chosen.shows_refusal:
        compared.require_comparable()
    difference = Difference(
        compared.before,
        compared.after,
        compared.drift,
        command=_command(compared.names, format_, output),
        width=width,
    )
    return chosen.render(difference)


def _command(names: tuple[str, str], format_: str, output: Path | None) -> str:
    """Returns the line to type for the same output; a link such as "latest" is followed."""
    options = ["--format", format_]
    if output is not None:
        options += ["-o", str(output)]
    runs = source_arguments([str(_follow(Path(name))) for name in names])
    return shlex.join(("fleetaudit", "diff", *options, *runs))


def _follow(path: Path) -> Path:
    """Returns the run that a link of an output folder points to now, and any other path as it is.

    Tomorrow "reports/latest" is another run.
    """
    if not path.is_symlink():
        return path
    return path.parent / path.readlink()
