"""A run under way, on stderr: a bar on a terminal with the hosts that take long, a line a host with
-v.

Rules: what is printed while the bar is shown goes above it; text of hosts is sanitized first.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetaudit.model import HostResult
from . import console
from .colour import has_colour

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from fleetaudit.app.activity import Activity


class Progress:
    """Shows how far a run of `hosts` hosts is, and how many of them are `missing`; a context
    manager.
    """

    def __init__(
        self,
        hosts: int,
        activity: Activity,
        *,
        quiet: bool,
        verbose: bool,
        missing: str = "not audited",
    ) -> None:
        self.missing = 0
        self._verbose, self._activity = verbose, activity
        self._bar = _bar(missing, activity) if sys.stderr.isatty() and not quiet else None
        self._task = self._bar.add_task("", total=hosts, missing=0) if self._bar else None

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def came(self, result: HostResult) -> None:
        """Counts one host more."""
        from fleetaudit.model import NotAudited

        self._activity.ended(result.name)
        self.missing += isinstance(result, NotAudited)
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=1, missing=self.missing)
        if self._verbose:
            from fleetaudit.report.terminal import progress

            console.print_message(progress(result))


def _bar(missing: str, activity: Activity) -> Bar:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class WithWaiting(Progress):
        """The bar, and below it the hosts that take long."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            if waiting := activity.waiting():
                yield Text(waiting, no_wrap=True, overflow="ellipsis")

    return WithWaiting(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"hosts, {{task.fields[missing]}} {missing},"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True, no_color=not has_colour(sys.stderr, os.environ)),
        transient=True,
        refresh_per_second=4,  # a redraw costs CPU that handshakes need
    )
