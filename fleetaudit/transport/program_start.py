"""Sends the program after the host's shell has started our command; otherwise explains why it did
not. No I/O.

Rules: before our command, the login shell, its start-up files and a forced command run, and each of
them may read standard input. So nothing is sent before `protocol.SHELL_MARK` has arrived, which
costs one round trip. What is sent then, `program_input` knows.
"""

from __future__ import annotations

import re
from typing import SupportsBytes

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.probe.protocol import SHELL_MARK
from fleetaudit.text.sanitize import QUOTE_MAX, printable_line, quote_line

from . import Deadline, Output
from .program_input import ProgramInput
from .unanswered import BY_THE_HOST

# Bounded, and without a second mark in it: the search must stay linear for a hostile host that
# repeats the mark.
_READY = re.compile(
    SHELL_MARK.encode().replace(b"2", b"(?P<version>[12])")
    + rb"(?P<number>\d{0,10}) ?(?P<name>[^\r\n/]{0,256})\r?\n"
)
_READY_MAX = 600  # maximum bytes of that line, so how far a search looks back
_KEPT = 4096  # bytes of each stream that are kept for a reason

# In order: a pattern of the output, and the reason. {line} is the line that matched, {status} the
# exit status.
_CAUSES: tuple[tuple[FailureKind, str, str], ...] = (
    ("no shell", r"[Tt]his account is (?:currently )?not available",
     "the login shell of the account is nologin, which runs no command: {line}"),
    ("command refused", r"(?i)allows sftp connections only",
     "the account may use SFTP only, and run no command: {line}"),
    # bash, rbash, dash, fish, csh; then zsh. A /bin/sh that runs does not print this about itself.
    ("no shell",
     r"/bin/sh: (?:not found|[Cc]ommand not found|[Nn]o such file|[Pp]ermission"
     r" denied|restricted|cannot execute)"
     r"|[Uu]nknown command:? .?/bin/sh|(?:no such file or directory|permission denied): /bin/sh",
     "/bin/sh is missing or may not be run on this host ({status}): {line}"),
    # sshd's own words; the line before them is PAM's.
    ("password expired",
     r"^WARNING: Your password has expired|^Password change required but no TTY available",
     "the password of the account has expired, and the host runs no command before it is changed:"
     " {line}"),
)  # fmt: skip
NOT_STARTED: FailureKind = "command not started"
_LOGIN_PROGRAMS = "the login shell, one of its start-up files (~/.bashrc) or a forced command"


class ReadyLine:
    """Finds the first line of `protocol.COMMAND` in growing output; searches each byte once."""

    def __init__(self) -> None:
        self._searched = 0

    def search(self, stdout: bytes | bytearray) -> re.Match[bytes] | None:
        """Returns the match, with the groups "version", "number" and "name" (of the user); None
        until the line is whole.
        """
        found = _READY.search(stdout, max(0, self._searched - _READY_MAX))
        self._searched = len(stdout)
        return found


class ReadyDialogue:
    """The `StdinDialogue` with a command of the login user: sends `stdin`, an `Offer` or a text,
    after its ready line.

    `deadline` is the deadline of the host. `hint` is the next command to type if the command never
    ran, `on_terminal` the one that asks for a new password if that has expired.
    """

    def __init__(
        self, stdin: SupportsBytes, deadline: Deadline, hint: str, on_terminal: str = ""
    ) -> None:
        self._stdin, self._deadline = stdin, deadline
        self._hint, self._on_terminal = hint, on_terminal
        self.start()

    def start(self) -> None:
        """Begins anew."""
        self.finished = False
        self._ready_line = ReadyLine()
        self._ready: re.Match[bytes] | None = None
        self._program = ProgramInput(self._stdin)
        self._printed = b"", b""

    def next_input(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns what the command reads next, once it is ready."""
        if self.finished:
            return b""
        if not self._ready:
            self._printed = bytes(stdout[-_KEPT:]), bytes(stderr[-_KEPT:])
            self._ready = self._ready_line.search(stdout)
        if not self._ready:
            return b""
        data = self._program.next_input(stdout, self._ready)
        self.finished = self._program.finished
        return data

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns `deadline` itself."""
        return deadline

    def check_output(self, output: Output) -> Output:
        """Returns the output; raises `TransportError` ("execute") if the command never ran."""
        if self._ready or ReadyLine().search(output.stdout):
            return output
        raise not_started(output, self._hint, self._on_terminal)

    def explain_error(self, error: TransportError) -> TransportError:
        """Returns the error, or a clearer one if the command had not started by the deadline."""
        timed_out = error.stage == "execute" and not error.transient
        if error.kind in BY_THE_HOST or self._ready or not timed_out or self._deadline.remaining():
            return error
        reason = not_started_in_time(*self._printed)
        return TransportError("execute", reason, hint=self._hint, kind=NOT_STARTED)


def not_started(output: Output, hint: str, on_terminal: str = "") -> TransportError:
    """Returns why our command never ran, from the exit status and output of what ran instead.

    The stage is "execute". `hint` is the command to type, `on_terminal` the one that asks for a new
    password, used if the old one has expired.
    """
    kind, reason = _cause(output)
    if kind == "password expired" and on_terminal:
        hint = on_terminal
    return TransportError("execute", reason, hint=hint, kind=kind)


def _cause(output: Output) -> tuple[FailureKind, str]:
    """Returns the kind and the reason for output without a ready line.

    The first row of `_CAUSES` that fits a line of either stream goes before a stream that was cut,
    and that before whatever was printed last.
    """
    text = b"\n".join((output.stderr[-_KEPT:], output.stdout[-_KEPT:])).decode("utf-8", "replace")
    status = "no exit status"
    if output.exit_status is not None:
        status = f"status {output.exit_status}"
    for kind, pattern, cause in _CAUSES:
        if line := first_line(pattern, text):
            return kind, cause.format(line=quote_line(line), status=f"exit {status}")
    if output.cut:
        return NOT_STARTED, (
            f"the host sent more on {output.cut} than the limit, before it started our command"
        )
    tail = describe_printed(output.stdout, output.stderr)
    tail = tail or "; nothing was printed (a login shell /bin/false, for example)"
    return NOT_STARTED, f"our command was not started: {_LOGIN_PROGRAMS} ended with {status}{tail}"


def first_line(pattern: str, text: str) -> str:
    """Returns the first line of `text` in which the pattern is found, or ""."""
    return next((line for line in text.splitlines() if re.search(pattern, line)), "")


def not_started_in_time(stdout: bytes, stderr: bytes) -> str:
    """Returns why our command never ran, if the deadline came first."""
    waits = f"{_LOGIN_PROGRAMS} waits for input, hangs or runs something else"
    return f"our command was not started in time: {waits}" + describe_printed(stdout, stderr)


def describe_printed(stdout: bytes, stderr: bytes) -> str:
    """Returns the last output of both streams as the end of a sentence, "" if there is none."""
    parts = [quote_line(_last(stdout)), quote_line(_last(stderr), "on stderr ")]
    printed = " and ".join(filter(None, parts))
    if not printed:
        return ""
    return f"; it printed {printed}"


def _last(printed: bytes) -> str:
    """Returns the end of a stream as one line."""
    return printable_line(printed[-_KEPT:], _KEPT)[-QUOTE_MAX:]
