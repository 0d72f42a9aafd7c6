"""The page of the documentation with every kernel build of the table, made when the site is built.

One section for each architecture and series: what changed in it, and its builds. The search of the
site finds a build by its release, its source version or a scenario.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from fleetaudit.analysis.kernel_table.index import Line, TableIndex
from fleetaudit.analysis.kernel_table.model import KernelTable, NotBooted, TableBuild, decode_table
from fleetaudit.analysis.kernel_table.sentences import series_changes, version_and_date
from fleetaudit.text.debian_versions import debian_version_key
from fleetaudit.text.kernel_releases import release_series

from .kernel_table import TABLE

R = TypeVar("R", TableBuild, NotBooted)

HEAD = """\
# Kernel builds that were measured

Every build of the [table of kernels](../kernel-table.md): what its series was measured to do, and
since which source version of Debian. All endings are those of the shipped playbook with the default
settings of each kernel.
"""


def page() -> str:
    """Returns the page, Markdown."""
    index = TableIndex(decode_table(TABLE.read_bytes()))
    return "\n".join((HEAD, *_summary(index.table), *_sections(index), *_missing(index.table)))


def _summary(table: KernelTable) -> Iterator[str]:
    """Yields how many builds there are, by architecture."""
    yield "| architecture | builds | not booted | from | to |"
    yield "|---|---|---|---|---|"
    rows: tuple[TableBuild | NotBooted, ...] = (*table.builds, *table.not_booted)
    for architecture in sorted({row.architecture for row in rows}):
        builds = sorted(_of(architecture, table.builds), key=_order)
        ends = [version_and_date(build) for build in (*builds[:1], *builds[-1:])] or ["", ""]
        missing = len(_of(architecture, table.not_booted))
        yield f"| {architecture} | {len(builds)} | {missing} | {ends[0]} | {ends[1]} |"
    yield ""


def _sections(index: TableIndex) -> Iterator[str]:
    """Yields a section for each architecture and series, the newest series first."""
    for architecture in sorted({build.architecture for build in index.table.builds}):
        lines = {index.line_of(build) for build in _of(architecture, index.table.builds)}
        for line in sorted(lines, key=lambda line: _order(line[0]), reverse=True):
            yield from _section(index, line)


def _section(index: TableIndex, line: Line) -> Iterator[str]:
    """Yields the section of one line of builds."""
    first = line[0]
    yield f"## {release_series(first.package_version)}, {first.flavour}\n"
    changes = series_changes(index, line)
    yield from (f"- {change}" for change in changes)
    if not changes:
        yield "No ending differs between these builds."
    yield "\n| source version | date | release | suites |\n|---|---|---|---|"
    for build in reversed(line):
        suites = ", ".join(build.suites)
        yield f"| {build.package_version} | {build.date} | `{build.release}` | {suites} |"
    yield ""


def _missing(table: KernelTable) -> Iterator[str]:
    """Yields the section of the builds that could not be booted."""
    if not table.not_booted:
        return
    yield "## Not booted\n"
    yield "These builds are in the lists of the archive, and have no endings in the table.\n"
    yield "| package | source version | stage | reason |\n|---|---|---|---|"
    for row in table.not_booted:
        reason = row.reason.replace("|", "\\|")
        yield f"| `{row.package}` | {row.package_version} | {row.stage} | {reason} |"
    yield ""


def _of(architecture: str, rows: Iterable[R]) -> list[R]:
    """Returns the rows of one architecture."""
    return [row for row in rows if row.architecture == architecture]


def _order(build: TableBuild) -> tuple[object, ...]:
    """Returns the sort key of a build: the order of its source versions."""
    return debian_version_key(build.package_version)
