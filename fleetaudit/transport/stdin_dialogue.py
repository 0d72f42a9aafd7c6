"""What is written to a command's standard input: all at once, or in answer to its output. No I/O.

Rules: whoever runs the command calls `start` when it starts, and `next_input` with all output so
far before each wait. It closes the command's standard input when the dialogue is `finished` and
everything was written.
"""

from __future__ import annotations

from typing import Protocol

from . import Deadline


class StdinDialogue(Protocol):
    """Our side of a dialogue with one command."""

    def start(self) -> None:
        """Begins anew: a command is about to start, perhaps again after a dropped connection."""
        ...

    @property
    def finished(self) -> bool:
        """Whether no more input will follow."""
        ...

    def next_input(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns the next bytes to write, given all output so far; b"" to wait for more output."""
        ...

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns the deadline for the next output, at most `deadline`, which covers everything."""
        ...


class FixedStdin:
    """Writes a fixed text at once, whatever the command prints."""

    def __init__(self, text: bytes) -> None:
        self._text, self.finished = text, False

    def start(self) -> None:
        """Begins anew."""
        self.finished = False

    def next_input(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns the whole text, the first time."""
        if self.finished:
            return b""
        self.finished = True
        return self._text

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns `deadline` itself."""
        return deadline
