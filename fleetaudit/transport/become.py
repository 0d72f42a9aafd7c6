"""Running a command as another user, by sudo or doas: what is typed and answered, and whether it came to run. No I/O.

Rules: the password goes once, and only after our own random prompt was heard; a second prompt ends the conversation,
because accounts get locked. Where a password is given, `stdin` goes only after the command itself said who runs it
(`wire.READY`), so that neither reaches the wrong reader; where none is, nothing can ask, and all goes at once.
A refusal is of the stage "become", never transient; `refusals` has the words.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from ..errors import TransportError, repeat
from ..model import Become
from ..wire import READY
from . import Deadline, Output, Passed
from .refusals import Refusal, hopeless, refusal
from .words import clean, quoted

PATIENCE_S = 30.0
"""How long sudo may take to ask or to run the command, and again after it was answered."""

# Bounded, and without a second mark in it: what a hostile host repeats must cost no more than it is long.
_READY = re.compile(re.escape(READY.encode()) + rb"(\d{0,10}) ?([^\r\n/]{0,256})\r?\n")
_OUR_PROMPT = re.compile(r"\[fleetaudit-[0-9a-f]*\]?")
_READY_MAX = 600  # bytes of that line, at most, that a search must look back for


class Escalation:
    """One command run by another user; it is the `Talk` with sudo, and then with the command.

    `command` is what a shell is to run; `judged` and `blamed` tell what came of it. `way` returns the line that a
    person types to run a command where this one runs, with a terminal; `on_the_way_s` are the seconds that may pass
    between `begin` and the first moment at which sudo can run. Raises `TransportError` for a password that
    cannot be typed.
    """

    def __init__(
        self,
        become: Become,
        command: str,
        stdin: bytes,
        passed: Passed,
        way: Callable[[str], str] = str,
        on_the_way_s: float = 0.0,
    ) -> None:
        self._become, self._stdin, self._passed, self._way = become, stdin, passed, way
        self._on_the_way_s = on_the_way_s
        self._prompt = f"[fleetaudit-{secrets.token_hex(12)}]"
        # doas asks on a terminal only, so a password is of no use to it.
        self._answer = b""
        if become.password and become.method == "sudo":
            self._answer = become.password.reveal().encode("utf-8", "surrogateescape") + b"\n"
            if b"\n" in self._answer[:-1] or b"\0" in self._answer:
                reason = "the password for sudo has a line break or a NUL in it, which sudo cannot be told"
                raise TransportError(
                    "become", reason, hint=repeat("--become-password-file", "FILE"), kind="become not possible"
                )
        self.command = f"{self._words()} {command}"
        self.begin()

    def _words(self) -> str:
        """Returns how the command line begins. In C, because reasons are told apart by what sudo says."""
        program, user = self._tool(), shlex.quote(self._become.user)
        if self._become.method == "doas":
            return f"env LC_ALL=C {program} -n -u {user}"
        if self._answer:
            return f"env LC_ALL=C {program} -H -S -p {shlex.quote(self._prompt)} -u {user}"
        return f"env LC_ALL=C {program} -H -n -u {user}"

    # -- the talk --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts from the beginning."""
        self.over = False
        self._state: Literal["asking", "answered", "refused", "running"] = "asking"
        self._answered = False
        self._seen = 0  # bytes of stdout that hold no whole ready line
        self._runs_as: tuple[str, str] | None = None
        self._said = b""
        self._patience: Deadline | None = None

    def say(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns the password where it is asked for, and `stdin` once the command itself is heard."""
        if self._state not in ("running", "refused"):
            self._listen(stdout, stderr)
        if self.over:
            return b""
        if not self._answer or (self._state == "running" and self._as_wanted()):
            self.over = True
            return self._stdin
        if self._state in ("running", "refused"):
            self.over = True
            return b""
        if self._state == "asking" and self._prompt.encode() in stderr:
            self._state, self._answered, self._patience = "answered", True, None
            return self._answer
        return b""

    def _listen(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> None:
        self._said = bytes(stderr[-4096:])
        if found := _READY.search(stdout, max(0, self._seen - _READY_MAX)):
            self._hear(found)
        self._seen = len(stdout)
        if self._state != "running" and (hopeless(stderr) or stderr.count(self._prompt.encode()) > 1):
            self._state = "refused"

    def _hear(self, ready: re.Match[bytes]) -> None:
        self._state = "running"
        self._runs_as = (ready[1].decode(), clean(ready[2], 100))
        if self._as_wanted():
            self._passed("become", f"{self._become.user} by {self._become.method}")

    def patience(self, deadline: Deadline) -> Deadline:
        """Returns until when the next word is awaited: bounded until the command itself was heard."""
        if self._state == "running":
            return deadline
        if self._patience is None:
            on_the_way = 0.0 if self._answered else self._on_the_way_s
            self._patience = deadline.within(PATIENCE_S + on_the_way)
        return self._patience

    def _as_wanted(self) -> bool:
        number, name = self._runs_as or ("", "")
        user = self._become.user
        if user.startswith("#"):
            return number == user[1:]
        return number == "0" if user == "root" else name == user

    # -- what came of it -------------------------------------------------------------------------------------------

    def judged(self, output: Output) -> Output:
        """Returns the command's own output; raises `TransportError` (stage "become") where it never ran."""
        if self._runs_as is None and (found := _READY.search(output.stdout)):
            self._hear(found)
        said = self._without_prompts(output.stderr)
        if self._runs_as is None:
            raise self._error(self._refusal(said, output))
        if not self._as_wanted():
            number, name = self._runs_as
            what = f"the command ran as {name or 'a user without a name'} (uid {number or 'unknown'})"
            other = f"{self._become.user} is another name of that user (become_user: {name or f'“#{number}”'})"
            because = f"what answers is no sudo, a forced command goes another way, or {other}"
            raise self._error(
                Refusal(
                    f"{what} where {self._become.user} was asked for: {because}",
                    f"{self._tool()} -n id",
                    kind="become not possible",
                )
            )
        return replace(output, stderr=said)

    def blamed(self, error: TransportError) -> TransportError:
        """Returns the error of the transport, or one of the stage "become" where that was what it broke off in."""
        if self._answered and self._runs_as is None and error.stage == "execute" and error.transient:
            # Never again by itself: the password was sent, and accounts get locked.
            what = f"the connection broke off after {self._become.method} was given the password"
            return self._error(Refusal(what, "", kind="connection lost"))
        late = self._patience is not None and not self._patience.remaining()
        if error.stage != "execute" or error.transient or self._runs_as is not None or not late:
            return error.told_as(_OUR_PROMPT.sub("", error.reason))
        said = self._without_prompts(self._said)
        if self._answered:
            what = f"{self._become.method} did not go on in time after it was given the password"
        else:
            what = f"{self._become.method} neither asked for a password nor ran the command in time"
        last = said.strip().rpartition(b"\n")[2]
        return self._error(
            Refusal(what + quoted(last, "; it asked: " if last.endswith(b":") else "; it said "), "", kind="timed out")
        )

    def _refusal(self, said: bytes, output: Output) -> Refusal:
        return refusal(
            said[-4096:] + b"\n" + output.stdout[-2048:],
            self._become,
            output.exit_status,
            answered=self._answered,
            asked_again=output.stderr.count(self._prompt.encode()) > 1,
            cut=output.cut,
        )

    def _error(self, refused: Refusal) -> TransportError:
        hint = refused.here or self._way(refused.there or f"{self._tool()} -l")
        return TransportError("become", refused.reason, hint=hint, kind=refused.kind)

    def _tool(self) -> str:
        return shlex.quote(self._become.program or self._become.method)

    def _without_prompts(self, stderr: bytes) -> bytes:
        return stderr.replace(self._prompt.encode(), b"")
