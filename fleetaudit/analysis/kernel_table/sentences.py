"""What the table of kernels says about a kernel, in sentences for people. Pure.

Rules: a sentence about a build that the table does not have says so first, and says what the builds
of its series were measured to do, never what this one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fleetaudit.model import Family, Kernel
from fleetaudit.text.kernel_releases import release_series

from .index import Cell, EndingChange, Line, TableIndex
from .model import TableBuild

MOST_CHANGES = 3
"""How many changes a sentence names; it counts the others."""
_FAMILIES: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6", "unix": "AF_UNIX"}


def describe_build(index: TableIndex, build: TableBuild) -> str:
    """Returns since when builds like this one of the table behave as it does."""
    line = index.line_of(build)
    place = line.index(build)
    series = release_series(build.package_version)
    changes = [change for change in index.changes(line) if change.place <= place]
    if not changes:
        return _describe_unchanged(series, line, place)
    latest = changes[-1].place
    of_latest = [change for change in changes if change.place == latest]
    return (
        f"known to behave like this since Debian {version_and_date(line[latest])};"
        f" before that, {_join_changes(index, line, of_latest, _describe_before)}"
    )


def _describe_unchanged(series: str, line: Line, place: int) -> str:
    """Returns that no ending changes before a build of a line."""
    if not place:
        return f"known; the table has no earlier build of {series}"
    first = _named(line[0])
    return f"known to behave like every earlier build of {series} in the table, from {first} on"


def describe_same_source(index: TableIndex, build: TableBuild) -> str:
    """Returns what is known of another flavour of the same source."""
    return (
        f"not in the table; another flavour of its source, Debian {build.package_version}, is:"
        f" {build.flavour}, {describe_build(index, build)}"
    )


def describe_series(index: TableIndex, line: Line) -> str:
    """Returns what the builds of a series do, of a kernel that is not among them."""
    first, last = line[0], line[-1]
    series = release_series(first.package_version)
    if len(line) == 1:
        return f"not in the table; of {series} it has only {_named(first)}"
    count = f"not in the table; of {series} it has {len(line)} builds, {_named(first)} to"
    changes = index.changes(line)
    if not changes:
        return f"{count} {_named(last)}, and no ending differs between them"
    return f"{count} {_named(last)}; {_join_changes(index, line, changes, _describe_both_sides)}"


def series_changes(index: TableIndex, line: Line) -> list[str]:
    """Returns every change of an ending in a line, in its order."""
    return _change_texts(index, line, index.changes(line), _describe_both_sides)


def describe_unknown(kernel: Kernel) -> str:
    """Returns that the table has no build of the series of a kernel."""
    series = release_series(kernel.release) or "its series"
    return f"not in the table, which has no build of {series} for this machine"


def version_and_date(build: TableBuild) -> str:
    """Returns the source version of a build with its date: "6.12.57-1 (2025-11-05)"."""
    if not build.date:
        return build.package_version
    return f"{build.package_version} ({build.date})"


def _named(build: TableBuild) -> str:
    """Returns the source version of a build as a sentence names it."""
    return f"Debian {build.package_version}"


def _describe_before(change: EndingChange, line: Line) -> str:
    """Returns what the builds before a change do."""
    return f"{change.before} up to {change.last.package_version}, not {change.after}"


def _describe_both_sides(change: EndingChange, line: Line) -> str:
    """Returns what the builds before and after a change do."""
    later = line[change.place].package_version
    before = f"{change.before} up to {change.last.package_version}"
    return f"{before}, {change.after} from {later} on"


def _join_changes(
    index: TableIndex,
    line: Line,
    changes: Iterable[EndingChange],
    describe: Callable[[EndingChange, Line], str],
) -> str:
    """Returns the first changes in one text, and how many more there are."""
    texts = _change_texts(index, line, changes, describe)
    more = len(texts) - MOST_CHANGES
    if more > 0:
        texts[MOST_CHANGES:] = [f"and {more} more"]
    return "; ".join(texts)


def _change_texts(
    index: TableIndex,
    line: Line,
    changes: Iterable[EndingChange],
    describe: Callable[[EndingChange, Line], str],
) -> list[str]:
    """Returns a text for each change; a change of several families of a scenario is one."""
    cells = dict[tuple[str, str], list[Cell]]()
    for change in changes:
        key = change.cell.scenario, describe(change, line)
        cells.setdefault(key, []).append(change.cell)
    return [f"{name}{_over(index, of_text)}: {text}" for (name, text), of_text in cells.items()]


def _over(index: TableIndex, cells: Sequence[Cell]) -> str:
    """Returns the families of some cells of one scenario, "" if they are all that it has."""
    all_cells = [cell for cell in index.cells if cell.scenario == cells[0].scenario]
    if len(all_cells) == len(cells):
        return ""
    return " over " + " and ".join(_FAMILIES[cell.family] for cell in cells)
