"""The progress of a run on stderr: on a terminal a bar with the hosts that take long; with -v a
line for each host.

Rules: what is printed while the bar is shown goes above it; text of hosts is sanitized first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import console
from .colour import has_colour

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from fleetaudit.app.activity import Activity
    from fleetaudit.model import HostResult

REDRAWS_PER_S = 4
"""How often the bar is drawn: each time costs CPU that handshakes need."""


class Progress:
    """Shows how many of the `hosts` have a result, and how many of these are `missing`; a context
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
        self._verbose = verbose
        self._bar = _make_bar(missing, activity) if sys.stderr.isatty() and not quiet else None
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

    def add_result(self, result: HostResult) -> None:
        """Counts one more host, and prints its line."""
        from fleetaudit.model import NotAudited

        self.missing += isinstance(result, NotAudited)
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=1, missing=self.missing)
        if self._verbose:
            from fleetaudit.app.render import render_result

            console.print_message(render_result(result))


def _make_bar(missing: str, activity: Activity) -> Bar:
    """Returns the bar."""
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

    class BarWithWaitingHosts(Progress):
        """The bar, and below it the hosts that take long."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            if waiting := activity.waiting():
                yield Text(waiting, no_wrap=True, overflow="ellipsis")

    stream: Any = console.LenientStream(sys.stderr)
    return BarWithWaitingHosts(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"hosts, {{task.fields[missing]}} {missing},"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(file=stream, no_color=not has_colour(sys.stderr, os.environ)),
        transient=True,
        refresh_per_second=REDRAWS_PER_S,
    )
