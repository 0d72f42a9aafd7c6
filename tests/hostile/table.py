"""Runs the cases of one section and prints them as a table.

    python -m tests.hostile.NAME [--only WORD] [--list]

The exit status is 1 if any case is not as it must be.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

Columns = Sequence[str]


class Seen(NamedTuple):
    """What one case showed.

    Attributes:
        wrong: What is not as it must be, in words; empty if all is.
        cells: The cells of the row, by the name of their column.
    """

    wrong: tuple[str, ...] = ()
    cells: Mapping[str, object] = {}


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        name: Unique within the section; words that `--only` selects by.
        run: Does it, and says what it showed. An exception is a failure of the case, not of the
            section.
        alone: Runs after the others, and never together with one.
    """

    name: str
    run: Callable[[], Seen]
    alone: bool = False


@dataclass
class Table:
    """The rows of a section as they come in.

    Attributes:
        columns: Column names after "case", in order.
        failed: Names of the cases that were not as they must be.
        count: How many cases ran.
    """

    columns: Columns
    failed: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, case: Case) -> Seen:
        """Runs one case and prints its row."""
        return self.show(case, _run(case))

    def show(self, case: Case, seen: Seen) -> Seen:
        """Prints the row of a case that has run."""
        self.count += 1
        if seen.wrong:
            self.failed.append(case.name)
        cells = [str(seen.cells.get(column, "")) for column in self.columns]
        state = "as it must be" if not seen.wrong else "WRONG: " + "; ".join(seen.wrong)
        print(" | ".join([case.name, *cells, state]), flush=True)
        return seen


def _run(case: Case) -> Seen:
    try:
        return case.run()
    except Exception as e:  # one broken case must not hide the others
        traceback.print_exc()
        return Seen(wrong=(f"the case itself failed: {type(e).__name__}: {e}",))


def main(
    section: str,
    columns: Columns,
    cases: Iterable[Case],
    argv: Sequence[str] | None = None,
    *,
    at_once: int = 1,
) -> int:
    """Runs a section from the command line; `at_once` cases run together, where most only wait.

    Returns:
        The exit status: 1 if any case was not as it must be, or if none was selected.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.hostile.{section}")
    parser.add_argument("--only", default="", metavar="WORD", help="only cases with WORD in them")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    options = parser.parse_args(argv)
    chosen = [case for case in cases if options.only in case.name]
    if options.list:
        print("\n".join(case.name for case in chosen))
        return 0
    print(" | ".join(["case", *columns, "state"]))
    table = Table(columns)
    together = [case for case in chosen if not case.alone]
    with ThreadPoolExecutor(at_once) as pool:
        for case, seen in zip(together, pool.map(_run, together), strict=True):
            table.show(case, seen)
    for case in filter(attrgetter("alone"), chosen):
        table.add(case)
    good = table.count - len(table.failed)
    print(f"{section}: {table.count} cases, {good} as they must be, {len(table.failed)} not")
    for name in table.failed:
        print(f"  not as it must be: {name}")
    return int(not table.count or bool(table.failed))
