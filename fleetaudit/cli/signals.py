"""SIGINT, SIGTERM and SIGHUP during a run: the first ends it early with a report, the second at
once.

Rules: a handler only sets a flag and wakes the audit, because it runs between any two bytecodes of
the main thread. SIGHUP stays ignored if it was at the start (nohup), and is never the second
signal: when a terminal closes, the kernel sends one, and the shell may send another.
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

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Requests `stop` at the first signal; a context manager.

    `status` is 128 and the number of the signal, 0 without one.
    """

    def __init__(self, stop: StopRequest) -> None:
        self.stop, self.status = stop, 0
        self._handlers_before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers_before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal.signal gave it

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Ignores, after a signal, that output cannot be written: the terminal may be gone."""
        try:
            yield
        except OutputError:
            if not self.status:
                raise

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Requests the end of the run; at the second signal, ends the process."""
        if self.status and number == signal.SIGHUP:
            return
        if self.status:
            # No clean-up: that is what a second signal means. The journal is on the disk.
            os._exit(128 + number)
        self.status = 128 + number
        with contextlib.suppress(OSError):  # stderr may be gone with the terminal
            os.write(
                2, b"interrupted: closing what runs, then the report; once more ends at once\n"
            )
        self.stop.request()
