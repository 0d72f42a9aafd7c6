"""Running a command as another user, by sudo or doas: what is typed and answered, and why it was refused. No I/O."""

from __future__ import annotations

from ..errors import TransportError
from ..model import Become
from . import Deadline, Output, Passed


class Escalation:
    """One command run by another user; it is the `Talk` with sudo, and then with the command.

    `command` is what a shell is to run; `judged` and `blamed` tell what came of it.
    """

    def __init__(self, become: Become, command: str, stdin: bytes, passed: Passed) -> None:
        self.command = command
        self.over = False

    def begin(self) -> None:
        """Starts from the beginning."""

    def say(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns the password where it is asked for, and `stdin` once the command itself is heard."""
        raise NotImplementedError

    def patience(self, deadline: Deadline) -> Deadline:
        """Returns until when the next word is awaited."""
        return deadline

    def judged(self, output: Output) -> Output:
        """Returns the command's own output; raises `TransportError` (stage "become") where it never ran."""
        raise NotImplementedError

    def blamed(self, error: TransportError) -> TransportError:
        """Returns the error of the transport, or one of the stage "become" where that was what it broke off in."""
        raise NotImplementedError
