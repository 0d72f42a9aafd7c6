"""The interface by which a use case passes messages and results to its caller while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fleetaudit.model import HostResult

    from .activity import Activity

Report = Callable[[str], None]
"""Takes one message. The text may contain text of hosts: sanitize it before it is printed."""


def ignore_message(_message: str) -> None:
    """Takes a message and does nothing with it."""


class Reporter(Protocol):
    """Takes the messages and the progress of one use case. All calls come from one thread."""

    def message(self, text: str) -> None:
        """Takes a message that has to be seen, such as a warning."""
        ...

    def note(self, text: str) -> None:
        """Takes a message that matters only to somebody who reads the output anyway."""
        ...

    def progress(
        self, hosts: int, activity: Activity
    ) -> AbstractContextManager[Callable[[HostResult], None]]:
        """Opens the progress of `hosts` hosts; the function that it yields takes each result."""
        ...
