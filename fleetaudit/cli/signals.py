"""SIGINT and SIGTERM during a run: the first asks for an early end with a report, the second ends
at once.

Rules: a handler only sets a flag and wakes the audit; it runs between any two bytecodes of the main
thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from fleetaudit.errors import OutputError

if TYPE_CHECKING:
    from fleetaudit.app.audit import StopRequest

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """While it lasts, `stop` is asked by the first signal; `status` is then 128 and the signal's
    number, else 0.
    """

    def __init__(self, stop: StopRequest) -> None:
        self.stop, self.status = stop, 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal.signal gave it

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Ignores, after a signal, that output cannot be written: the terminal may be gone."""
        try:
            yield
        except OutputError:
            if not self.status:
                raise

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self.status:
            os._exit(
                128 + number
            )  # no clean-up: that is what was just asked twice; the journal is on the disk
        self.status = 128 + number
        with contextlib.suppress(OSError):  # stderr may be gone with the terminal
            os.write(
                2, b"interrupted: closing what runs, then the report; once more ends at once\n"
            )
        self.stop.request()
