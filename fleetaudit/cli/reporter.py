"""The reporter of a command that audits or checks hosts: messages on stderr, a progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from . import console

if TYPE_CHECKING:
    from fleetaudit.app.activity import Activity
    from fleetaudit.model import HostResult


class ConsoleReporter:
    """Prints messages at once; prints notes at once, or keeps them if nobody reads along.

    `missing` is the word for hosts without a result: "not audited".
    """

    def __init__(
        self,
        *,
        quiet: bool,
        verbose: bool = False,
        keeps_notes: bool = False,
        missing: str = "not audited",
    ) -> None:
        self._quiet, self._verbose, self._missing = quiet, verbose, missing
        self._keeps_notes = keeps_notes
        self._notes = list[str]()

    def message(self, text: str) -> None:
        """Prints a message."""
        console.print_message(text)

    def note(self, text: str) -> None:
        """Prints a note, or keeps it for `print_notes`."""
        if self._keeps_notes:
            self._notes.append(text)
        else:
            console.print_message(text)

    def print_notes(self) -> None:
        """Prints the notes that were kept."""
        for note in self._notes:
            console.print_message(note)

    @contextlib.contextmanager
    def progress(self, hosts: int, activity: Activity) -> Iterator[Callable[[HostResult], None]]:
        """Shows a progress bar on a terminal, and a line for each host with -v."""
        from .progress import Progress

        with Progress(
            hosts, activity, quiet=self._quiet, verbose=self._verbose, missing=self._missing
        ) as progress:
            yield progress.add_result
