"""Runs a command as a different user by sudo, doas or su: command line, password prompt and result.
No I/O.

Rules: the password is sent once, and only after the program has asked for it; a second prompt ends
the dialogue, because accounts get locked. `stdin` is sent only after the command has printed who
runs it (`protocol.SHELL_MARK`), so that neither reaches the wrong reader. sudo asks with our random
prompt. su has a fixed prompt, so its prompt counts only after a random mark, which is printed after
the start-up files of the login shell and just before su. A refusal has the stage "become" and is
never transient; `sudo_errors` explains it.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, SupportsBytes

import msgspec

from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import Become
from fleetaudit.text.sanitize import printable_line, quote_line

from . import Deadline, Output, StageListener
from .program_input import ProgramInput
from .program_start import NOT_STARTED, ReadyLine, not_started, not_started_in_time
from .sudo_errors import (
    BecomeFailure,
    Prompt,
    PromptHistory,
    detect_prompt,
    explain_failure,
    password_expired,
)
from .unanswered import BY_THE_HOST

STEP_TIMEOUT_S = 30.0
"""How long sudo or su may take to ask or to run the command, and again after the answer."""

_OUR_MARK = re.compile(r"\[?fleetaudit-[0-9a-f]+\]?")
_PROMPT_MAX = 400  # bytes at the end of a stream that are searched for the prompt of su
_KEPT = 4096  # bytes at the end of each stream that are kept for a reason

_UNTYPABLE = re.compile(rb"[\n\0]")  # a line ends at either

State = Literal["shell", "started", "asking", "answered", "refused", "running"]
"""How far the command line came.

The login shell starts; sudo was started; it asks for the password; it got the password; it, or we,
gave up; the command runs.
"""
_AFTER_PROMPT: dict[State, State] = {"shell": "asking", "started": "asking"}
_DECIDED = frozenset[State](("running", "refused"))


class _RunningUser(msgspec.Struct, frozen=True):
    """The user that runs the command, as its first line says; what it does not say is ""."""

    number: str
    name: str

    def is_user(self, user: str) -> bool:
        """Returns whether this is `user`, a name or "#" and a number (sudo(8), -u).

        Every name of the number 0 counts as root.
        """
        if user.startswith("#"):
            return self.number == user[1:]
        if user == "root":
            return self.number == "0"
        return self.name == user

    @property
    def as_become_user(self) -> str:
        """The value for become_user, as YAML has it."""
        if self.name:
            return self.name
        return f"“#{self.number}”"

    def __str__(self) -> str:
        return f"{self.name or 'a user without a name'} (uid {self.number or 'unknown'})"


class BecomeDialogue:
    """The `StdinDialogue` with sudo, doas or su, and then with the command that they run.

    `command` is what a shell is to run. `check_output` and `explain_error` say what the result
    means. `on_terminal` returns the line that a person types to run a command on the same target,
    on a terminal. Raises `TransportError` for a password that cannot be typed.
    """

    def __init__(
        self,
        become: Become,
        command: str,
        stdin: SupportsBytes,
        on_stage: StageListener,
        on_terminal: Callable[[str], str] = str,
    ) -> None:
        self._become, self._stdin, self._on_stage = become, stdin, on_stage
        self._on_terminal = on_terminal
        self._mark = f"[fleetaudit-{secrets.token_hex(12)}]"
        self._answer = _typed_password(become)
        self.command = _become_command(become, command, self._mark, asks=bool(self._answer))
        self.start()

    # -- the dialogue

    def start(self) -> None:
        """Begins anew, for a connection that is tried again."""
        self.finished = False
        self._state: State = "shell"
        self._asked = self._asked_again = self._answered = False
        self._ready_line = ReadyLine()
        self._ready: re.Match[bytes] | None = None
        self._program = ProgramInput(self._stdin)
        self._runs_as: _RunningUser | None = None
        self._printed = b"", b""
        self._marks = _Mark(self._mark), _Mark(self._mark)  # in stdout and stderr
        self._answered_at = 0, 0  # bytes of stdout and stderr before the answer
        self._deadline: Deadline | None = None
        self._step_deadline: Deadline | None = None

    def next_input(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bytes:
        """Returns the password when it is asked for, and what the command reads once it runs.

        `stdout` and `stderr` are all that was printed so far. After the command has its program, or
        is known never to run, `finished` is True and nothing more is sent.
        """
        if self._state not in _DECIDED:
            self._update_state(stdout, stderr)
        if self.finished:
            return b""
        if self._state in _DECIDED:
            return self._stdin_of_command(stdout)
        if self._state != "asking":
            return b""
        self._state, self._answered, self._step_deadline = "answered", True, None
        self._answered_at = len(stdout), len(stderr)
        return self._answer

    def _stdin_of_command(self, stdout: bytes | bytearray) -> bytes:
        """Returns what the command reads next, b"" if it does not run as the `become` user."""
        if not self._ready or not self._runs_as_requested():
            self.finished = True
            return b""
        data = self._program.next_input(stdout, self._ready)
        self.finished = self._program.finished
        return data

    def read_deadline(self, deadline: Deadline) -> Deadline:
        """Returns the deadline for the next output, `deadline` at the latest.

        From the start of sudo until the command runs, it is `STEP_TIMEOUT_S` after the start or
        after the password was sent.
        """
        self._deadline = deadline
        if self._state in ("shell", "running"):
            return deadline
        if self._step_deadline is None:
            self._step_deadline = deadline.within(STEP_TIMEOUT_S)
        return self._step_deadline

    def _update_state(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> None:
        """Follows the output up to the start of the command, or to a refusal."""
        self._printed = bytes(stdout[-_KEPT:]), bytes(stderr[-_KEPT:])
        if self._state == "shell" and self._marks[0].found_in(stdout):
            self._state = "started"
        self._ready = self._ready_line.search(stdout)
        if self._ready:
            self._command_runs(self._ready)
            return
        prompt = self._open_prompt(stdout, stderr)
        if prompt:
            self._asked, self._asked_again = True, self._answered
            self._state = _AFTER_PROMPT.get(self._state, self._state)
        if self._is_refused(prompt, stderr):
            self._state = "refused"

    def _is_refused(self, prompt: Prompt, stderr: bytes | bytearray) -> bool:
        """Returns whether no answer of ours could make the host run the command."""
        if password_expired(stderr):
            return True
        if prompt == "password":
            return self._answered or not self._answer
        return prompt == "new password"

    def _open_prompt(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> Prompt:
        """Returns the prompt that is not answered yet."""
        if self._become.method != "su":
            return self._prompt_of_sudo(stderr)
        # su asks on stderr, that of busybox on stdout.
        return self._prompt_of_su(0, stdout) or self._prompt_of_su(1, stderr)

    def _prompt_of_sudo(self, stderr: bytes | bytearray) -> Prompt:
        """Returns the open prompt of sudo: it has our mark, once for each time that sudo asks."""
        if stderr.count(self._mark.encode()) > self._answered:
            return "password"
        return ""

    def _prompt_of_su(self, number: int, stream: bytes | bytearray) -> Prompt:
        """Returns the open prompt of su in stdout (0) or stderr (1)."""
        if not self._marks[number].found_in(stream):
            return ""
        begin = max(self._marks[number].end, self._answered_at[number], len(stream) - _PROMPT_MAX)
        return detect_prompt(bytes(stream[begin:]).rpartition(b"\n")[2])

    def _command_runs(self, ready: re.Match[bytes]) -> None:
        """Remembers who runs the command, from its first line."""
        self._state = "running"
        self._runs_as = _RunningUser(ready["number"].decode(), printable_line(ready["name"], 100))
        if self._runs_as_requested():
            self._on_stage("become", f"{self._become.user} by {self._become.method}")

    def _runs_as_requested(self) -> bool:
        """Returns whether the command runs as the `become` user."""
        return self._runs_as is not None and self._runs_as.is_user(self._become.user)

    # -- the result

    def check_output(self, output: Output) -> Output:
        """Returns the output of the command itself, without our mark.

        Raises `TransportError` if it never ran, or runs as another user: stage "become", or
        "execute" if not even sudo ran.
        """
        if not self._runs_as:
            self._find_ready_line(output.stdout)
        mark = self._mark.encode()
        started = mark in output.stdout
        self._asked_again |= output.stderr.count(mark) > 1
        output = replace(
            output,
            stdout=self._without_mark(output.stdout),
            stderr=self._without_mark(output.stderr),
        )
        if not self._runs_as:
            raise self._not_run(output, started=started)
        if not self._runs_as_requested():
            raise self._error(self._wrong_user(self._runs_as))
        return output

    def _find_ready_line(self, stdout: bytes) -> None:
        """Finds the first line of a command that ended before its output was read."""
        if ready := ReadyLine().search(stdout):
            self._command_runs(ready)

    def _not_run(self, output: Output, *, started: bool) -> TransportError:
        """Returns why the command never ran; `started` is False if not even sudo did."""
        if started:
            return self._error(self._explain_failure(output))
        by_hand = self._on_terminal("true")
        return not_started(output, by_hand, by_hand)

    def explain_error(self, error: TransportError) -> TransportError:
        """Returns the error of the transport, or a clearer one if the login shell or sudo hung.

        The clearer one has the stage "become", or "execute" for the login shell. Our mark is in no
        reason.
        """
        clearer = self._error_before_command(error)
        if clearer:
            return clearer
        return error.with_reason(_OUR_MARK.sub("", error.reason))

    def _error_before_command(self, error: TransportError) -> TransportError | None:
        """Returns the error for what ended before the command ran, None if nothing is known."""
        if self._runs_as or error.stage != "execute" or error.kind in BY_THE_HOST:
            return None
        if error.transient:
            return self._dropped()
        return self._too_late()

    def _dropped(self) -> TransportError | None:
        """Returns the error of a connection that broke off after the password was sent.

        It is not transient, because accounts get locked.
        """
        if not self._answered:
            return None
        reason = f"the connection broke off after the password was sent to {self._become.method}"
        return self._error(BecomeFailure(reason, kind="connection lost"))

    def _too_late(self) -> TransportError | None:
        """Returns the error of a login shell, or of a sudo, that did not get to the command in
        time.
        """
        if self._state == "shell" and _is_over(self._deadline):
            reason = not_started_in_time(*map(self._without_mark, self._printed))
            hint = self._on_terminal("true")
            return TransportError("execute", reason, hint=hint, kind=NOT_STARTED)
        if _is_over(self._step_deadline):
            return self._error(BecomeFailure(self._hung(), kind="timed out"))
        return None

    def _hung(self) -> str:
        """Returns the reason if sudo neither asked nor ran the command in time."""
        method = self._become.method
        if self._answered:
            what = f"{method} did not run the command in time after it got the password"
        else:
            what = f"{method} neither asked for a password nor ran the command in time"
        last = b"\n".join(map(self._without_mark, self._printed)).strip().rpartition(b"\n")[2]
        before = "; it printed "
        if last.endswith(b":"):
            before = "; it asked: "
        return what + quote_line(last, before)

    def _wrong_user(self, actual: _RunningUser) -> BecomeFailure:
        """Returns why the command runs as another user than requested."""
        method, user = self._become.method, self._become.user
        there = f"{_tool(self._become)} -n id"
        if method == "su":
            there = self._to_try()
        return BecomeFailure(
            f"the command ran as {actual} instead of {user}: the program that ran is not"
            f" {method}, a forced command runs something else, or {user} is a second name of that"
            f" user (become_user: {actual.as_become_user})",
            there=there,
        )

    def _explain_failure(self, output: Output) -> BecomeFailure:
        """Returns why the command did not run."""
        prompts = PromptHistory(
            asked=self._asked, answered=self._answered, asked_again=self._asked_again
        )
        printed = output.stderr[-_KEPT:] + b"\n" + output.stdout[-2048:]
        return explain_failure(printed, self._become, output, prompts)

    def _error(self, failure: BecomeFailure) -> TransportError:
        """Returns a failure as the error of the stage "become"."""
        hint = failure.here or self._on_terminal(failure.there or self._to_try())
        return TransportError("become", failure.reason, hint=hint, kind=failure.kind)

    def _to_try(self) -> str:
        """Returns the command to type on the host to see what happens."""
        tool = _tool(self._become)
        if self._become.method == "su":
            return f"{tool} {shlex.quote(self._become.user)} -c id"
        return f"{tool} -l"

    def _without_mark(self, printed: bytes) -> bytes:
        """Returns output without our own mark."""
        mark = self._mark.encode()
        return printed.replace(mark + b"\n", b"").replace(mark, b"")


def _typed_password(become: Become) -> bytes:
    """Returns the password as a line to type, b"" if none is to be typed.

    Raises `TransportError` (stage "become") for one that cannot be typed as one line.
    """
    # doas asks on a terminal only, so it cannot be given one.
    if not become.password or become.method == "doas":
        return b""
    password = become.password.reveal().encode("utf-8", "surrogateescape")
    if _UNTYPABLE.search(password):
        raise TransportError(
            "become",
            f"the password for {become.method} contains a line break or a NUL, which cannot be"
            " typed",
            hint=rerun_hint("--become-password-file", "FILE"),
            kind="become not possible",
        )
    return password + b"\n"


def _become_command(become: Become, command: str, mark: str, *, asks: bool) -> str:
    """Returns the whole command line: it prints the mark, and then becomes the other user.

    In the C locale, because the messages of sudo are parsed. su runs within /bin/sh: a login shell
    may be csh, which cannot print on stderr.
    """
    program, user, mark = _tool(become), shlex.quote(become.user), shlex.quote(mark)
    if become.method == "su":
        words = (program, *map(shlex.quote, become.flags), user, "-c", shlex.quote(command))
        script = f"echo {mark}; echo {mark} >&2; exec env LC_ALL=C {' '.join(words)}"
        return f"/bin/sh -c {shlex.quote(script)}"
    if become.method == "doas":
        return f"echo {mark}; env LC_ALL=C {program} -n -u {user} {command}"
    prompt = "-n"
    if asks:
        prompt = f"-S -p {mark}"
    return f"echo {mark}; env LC_ALL=C {program} -H {prompt} -u {user} {command}"


def _tool(become: Become) -> str:
    """Returns the program as a word for a shell."""
    return shlex.quote(become.program or become.method)


def _is_over(deadline: Deadline | None) -> bool:
    """Returns whether there is a deadline and it has passed."""
    return deadline is not None and not deadline.remaining()


class _Mark:
    """Finds a mark in a growing stream; searches each byte once. `end` is the end of the mark, 0
    until it is found.
    """

    def __init__(self, mark: str) -> None:
        self._mark, self._searched, self.end = mark.encode(), 0, 0

    def found_in(self, stream: bytes | bytearray) -> bool:
        """Returns whether the mark is in the stream, of which nothing before was removed."""
        if self.end:
            return True
        at = stream.find(self._mark, max(0, self._searched - len(self._mark)))
        self._searched = len(stream)
        if at < 0:
            return False
        self.end = at + len(self._mark)
        return True
