"""Runs a command as another user, by sudo, doas or su: the command line, the answer to its
question, its result. No I/O.

Rules: the password is sent once, and only after the program has asked for it; a second question
ends the conversation, because accounts get locked. `stdin` is sent only after the command has
printed who runs it (`wire.READY`), so that neither reaches the wrong reader. sudo asks with our
random prompt. su has a fixed prompt, so its question counts only after a random mark, which is
printed after the start-up files of the login shell and just before su. A refusal is of the stage
"become", never transient; `refusals` has the words.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import Become
from fleetaudit.text.sanitize import printable_line, quote_line

from . import Deadline, Output, StageListener
from .program_start import (
    NOT_STARTED,
    ReadyLine,
    not_started,
    not_started_in_time,
)
from .sudo_errors import (
    BecomeFailure,
    Prompt,
    detect_prompt,
    explain_failure,
    password_expired,
)

PATIENCE_S = 30.0
"""How long sudo or su may take to ask or to run the command, and again after it was answered."""

_OUR_MARK = re.compile(r"\[?fleetaudit-[0-9a-f]+\]?")
_QUESTION_MAX = 400  # bytes at the end of a stream that are looked at for su's question


class BecomeDialogue:
    """One command run by another user; it is the `Talk` with sudo, and then with the command.

    `command` is what a shell is to run; `judged` and `blamed` tell what came of it. `way` returns
    the line that a person types to run a command where this one runs, with a terminal. Raises
    `TransportError` for a password that cannot be typed.
    """

    def __init__(
        self,
        become: Become,
        command: str,
        stdin: bytes,
        on_stage: StageListener,
        way: Callable[[str], str] = str,
    ) -> None:
        self._become, self._stdin, self._passed, self._way = become, stdin, on_stage, way
        self._mark = f"[fleetaudit-{secrets.token_hex(12)}]"
        # doas asks on a terminal only, so a password is of no use to it.
        self._answer = b""
        if become.password and become.method != "doas":
            self._answer = become.password.reveal().encode("utf-8", "surrogateescape") + b"\n"
            if b"\n" in self._answer[:-1] or b"\0" in self._answer:
                reason = (
                    f"the password for {become.method} has a line break or a NUL in it, which"
                    " cannot be typed"
                )
                raise TransportError(
                    "become",
                    reason,
                    hint=rerun_hint("--become-password-file", "FILE"),
                    kind="become not possible",
                )
        self.command = self._line(command)
        self.begin()

    def _line(self, command: str) -> str:
        """Returns the whole command line: it prints the mark, and then becomes the other user.

        In the C locale, because the messages of sudo are parsed. su runs within /bin/sh: a login
        shell may be csh, which cannot print on stderr.
        """
        program, user, mark = self._tool(), shlex.quote(self._become.user), shlex.quote(self._mark)
        if self._become.method == "su":
            words = " ".join(
                (program, *map(shlex.quote, self._become.flags), user, "-c", shlex.quote(command))
            )
            script = f"echo {mark}; echo {mark} >&2; exec env LC_ALL=C {words}"
            return f"/bin/sh -c {shlex.quote(script)}"
        if self._become.method == "doas":
            return f"echo {mark}; env LC_ALL=C {program} -n -u {user} {command}"
        asks = f"-S -p {mark}" if self._answer else "-n"
        return f"echo {mark}; env LC_ALL=C {program} -H {asks} -u {user} {command}"

    # -- the talk
    # --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts from the beginning."""
        self.over = False
        self._state: Literal["shell", "asking", "answered", "refused", "running"] = "shell"
        self._asked = self._asked_again = self._answered = False
        self._ready = ReadyLine()
        self._runs_as: tuple[str, str] | None = None
        self._printed = b"", b""
        self._marks = _Mark(self._mark), _Mark(self._mark)  # in stdout and stderr
        self._answered_at = 0, 0  # bytes of stdout and stderr before the answer
        self._deadline: Deadline | None = None
        self._patience: Deadline | None = None

    def say(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns the password where it is asked for, and `stdin` once the command itself is heard."""
        if self._state not in ("running", "refused"):
            self._listen(stdout, stderr)
        if self.over:
            return b""
        if self._state in ("running", "refused"):
            self.over = True
            return self._stdin if self._state == "running" and self._as_wanted() else b""
        if self._state == "asking" and self._asked:
            self._state, self._answered, self._patience = "answered", True, None
            self._answered_at = len(stdout), len(stderr)
            return self._answer
        return b""

    def _listen(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> None:
        self._printed = bytes(stdout[-4096:]), bytes(stderr[-4096:])
        if self._state == "shell" and self._marks[0].heard(stdout):
            self._state = "asking"
        if found := self._ready.search(stdout):
            self._hear(found)
            return
        asks = self._question(stdout, stderr)
        if asks:
            self._asked, self._asked_again = True, self._answered
            self._state = "asking" if self._state == "shell" else self._state
        if (
            password_expired(stderr)
            or asks == "another"
            or (asks and (self._answered or not self._answer))
        ):
            self._state = "refused"

    def _question(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> Prompt:
        """Returns the question that is not answered yet."""
        if self._become.method != "su":
            return "password" if stderr.count(self._mark.encode()) > self._answered else ""
        # su asks on stderr, that of busybox on stdout.
        return self._question_of_su(0, stdout) or self._question_of_su(1, stderr)

    def _question_of_su(self, number: int, stream: bytes | bytearray) -> Prompt:
        if not self._marks[number].heard(stream):
            return ""
        begin = max(self._marks[number].end, self._answered_at[number], len(stream) - _QUESTION_MAX)
        return detect_prompt(bytes(stream[begin:]).rpartition(b"\n")[2])

    def _hear(self, ready: re.Match[bytes]) -> None:
        self._state = "running"
        self._runs_as = (ready[1].decode(), printable_line(ready[2], 100))
        if self._as_wanted():
            self._passed("become", f"{self._become.user} by {self._become.method}")

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns the deadline for the next output: bounded from the start of sudo until the
        command runs.
        """
        self._deadline = deadline
        if self._state in ("shell", "running"):
            return deadline
        if self._patience is None:
            self._patience = deadline.within(PATIENCE_S)
        return self._patience

    def _as_wanted(self) -> bool:
        number, name = self._runs_as or ("", "")
        user = self._become.user
        if user.startswith("#"):
            return number == user[1:]
        return number == "0" if user == "root" else name == user

    # -- what came of it
    # -------------------------------------------------------------------------------------------

    def judged(self, output: Output) -> Output:
        """Returns the command's own output; raises `TransportError` if it never ran: stage
        "become", or "execute" if not even sudo ran.
        """
        if self._runs_as is None and (found := ReadyLine().search(output.stdout)):
            self._hear(found)
        started = self._mark.encode() in output.stdout
        asked_again = self._asked_again or output.stderr.count(self._mark.encode()) > 1
        output = replace(
            output, stdout=self._unmarked(output.stdout), stderr=self._unmarked(output.stderr)
        )
        if self._runs_as is None and not started:
            raise not_started(output, self._way("true"), self._way("true"))
        if self._runs_as is None:
            raise self._error(self._refusal(output, asked_again=asked_again))
        if not self._as_wanted():
            number, name = self._runs_as
            what = (
                f"the command ran as {name or 'a user without a name'} (uid {number or 'unknown'})"
            )
            other = (
                f"{self._become.user} is another name of that user (become_user:"
                f" {name or f'“#{number}”'})"
            )
            because = (
                f"the program that ran is not {self._become.method}, a forced command runs"
                f" something else, or {other}"
            )
            there = self._to_try() if self._become.method == "su" else f"{self._tool()} -n id"
            raise self._error(
                BecomeFailure(f"{what} where {self._become.user} was asked for: {because}", there)
            )
        return output

    def blamed(self, error: TransportError) -> TransportError:
        """Returns the error of the transport, or one that says whether the login shell or sudo
        hung.
        """
        if error.stage == "execute" and self._runs_as is None:
            if self._answered and error.transient:
                # Not transient: the password was sent, and accounts get locked.
                what = (
                    f"the connection broke off after {self._become.method} was given the password"
                )
                return self._error(BecomeFailure(what, kind="connection lost"))
            if not error.transient and self._late(self._deadline) and self._state == "shell":
                reason = not_started_in_time(*map(self._unmarked, self._printed))
                return TransportError("execute", reason, hint=self._way("true"), kind=NOT_STARTED)
            if not error.transient and self._late(self._patience):
                return self._error(BecomeFailure(self._hung(), kind="timed out"))
        return error.with_reason(_OUR_MARK.sub("", error.reason))

    @staticmethod
    def _late(deadline: Deadline | None) -> bool:
        return deadline is not None and not deadline.remaining()

    def _hung(self) -> str:
        if self._answered:
            what = f"{self._become.method} did not go on in time after it was given the password"
        else:
            what = f"{self._become.method} neither asked for a password nor ran the command in time"
        said = b"\n".join(map(self._unmarked, self._printed)).strip()
        last = said.rpartition(b"\n")[2]
        return what + quote_line(last, "; it asked: " if last.endswith(b":") else "; it said ")

    def _refusal(self, output: Output, *, asked_again: bool) -> BecomeFailure:
        return explain_failure(
            output.stderr[-4096:] + b"\n" + output.stdout[-2048:],
            self._become,
            output.exit_status,
            asked=self._asked,
            answered=self._answered,
            asked_again=asked_again,
            cut=output.cut,
        )

    def _error(self, refused: BecomeFailure) -> TransportError:
        hint = refused.here or self._way(refused.there or self._to_try())
        return TransportError("become", refused.reason, hint=hint, kind=refused.kind)

    def _to_try(self) -> str:
        """Returns the command to type on the host to see what happens."""
        if self._become.method == "su":
            return f"{self._tool()} {shlex.quote(self._become.user)} -c id"
        return f"{self._tool()} -l"

    def _tool(self) -> str:
        return shlex.quote(self._become.program or self._become.method)

    def _unmarked(self, printed: bytes) -> bytes:
        mark = self._mark.encode()
        return printed.replace(mark + b"\n", b"").replace(mark, b"")


class _Mark:
    """Finds a mark in a growing stream; searches each byte once. `end` is the end of the mark, 0
    until it is found.
    """

    def __init__(self, mark: str) -> None:
        self._mark, self._searched, self.end = mark.encode(), 0, 0

    def heard(self, stream: bytes | bytearray) -> bool:
        """Returns whether the mark is in the stream."""
        if not self.end:
            at = stream.find(self._mark, max(0, self._searched - len(self._mark)))
            self._searched = len(stream)
            self.end = at + len(self._mark) if at >= 0 else 0
        return self.end > 0
