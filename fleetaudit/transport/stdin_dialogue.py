"""What a command is told on its standard input: all at once, or piece by piece as it answers. No
I/O.

Rules: whoever runs the command calls `begin` when it starts, `say` with all that was heard so far
before each wait, and closes the command's standard input once everything was said and the talk is
`over`.
"""

from __future__ import annotations

from typing import Protocol

from . import Deadline


class StdinDialogue(Protocol):
    """One side of a conversation with one command."""

    def begin(self) -> None:
        """Starts from the beginning: a command is about to run, or once more where it never came to
        run.
        """
        ...

    @property
    def over(self) -> bool:
        """Whether nothing more will be said."""
        ...

    def say(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns what is to be said next by one who heard this much, b"" where it is the command's
        turn.
        """
        ...

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns until when the next word of the command is awaited, at most the `deadline` of
        everything.
        """
        ...


class FixedStdin:
    """Says everything at once, whatever the command answers."""

    def __init__(self, text: bytes) -> None:
        self._text, self.over = text, False

    def begin(self) -> None:
        """Has everything still to say."""
        self.over = False

    def say(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns all of the text, the first time."""
        said, self.over = self.over, True
        return b"" if said else self._text

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns the deadline itself."""
        return deadline
