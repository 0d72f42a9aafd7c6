"""Explains why a host's output has no reply, and which Python of the inventory did not work.
Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleetaudit.errors import ReplyError
from fleetaudit.model import HostPlan, Interpreter, NoTarget, ProbeChoice
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import QUOTE_MAX, printable_line

from .command import NO_PYTHON, PYTHON_MARK
from .native_errors import explain_native, native_line
from .result_line import result_beginning

_NEW_COMMAND = "replace its forced command by what this prints:  fleetaudit probe --command"
MAX_QUOTED = 400
"""Maximum number of characters of a host's output that a reason quotes."""
MAX_BEGINNING = 200
"""Maximum number of bytes of a reply that a reason quotes."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_CUT_CHARACTER = re.compile("(?:\ufffd|\\\\(?:u[0-9a-fA-F]{0,3})?)$")
_FAILED_PYTHON = re.compile(
    rb"^" + re.escape(PYTHON_MARK.encode()) + rb"(\d{1,3})\r?$", re.MULTILINE
)
_OWN_LINES = tuple(f"fleetaudit-{name}/" for name in ("shell", "python", "native", "folders"))
_EARLIER_COMMAND = re.compile(rb"^fleetaudit-shell/1 ", re.MULTILINE)
_SHELL_STATUSES = {b"126": "it is not executable", b"127": "there is no such program"}


@dataclass(frozen=True)
class ProbeOutput:
    """What a host printed, its exit status, and which stream was cut off at its limit ("" if
    none).
    """

    stdout: bytes
    stderr: bytes = b""
    exit_status: int | None = None
    cut: str = ""


def invalid_reply(e: Exception) -> ReplyError:
    """Returns the error for a result line that does not decode.

    The decoder's text quotes a value of the host in full, before its place in the reply.
    """
    problem, at, place = str(e).rpartition(" - at ")
    text = f"{printable_line(problem, QUOTE_MAX)}{at}{printable_line(place, QUOTE_MAX)}"
    return ReplyError(f"the result line is not what the probe sends: {text}")


def interpreter_of(plan: HostPlan) -> Interpreter | None:
    """Returns the Python that the inventory names for a host, None if there is none.

    A host that cannot be reached, or that no play matches, has none.
    """
    if isinstance(plan.target, NoTarget):
        return None
    return plan.target.interpreter


def choice_of(plan: HostPlan) -> ProbeChoice:
    """Returns which probe a host is to run, "auto" for one that cannot be reached."""
    if isinstance(plan.target, NoTarget):
        return "auto"
    return plan.target.probe


def unused_interpreter(plan: HostPlan, stdout: bytes) -> str:
    """Returns why the Python of the inventory was not used, "" if it was used or none is set.

    `stdout` is what the host printed: `COMMAND` prints the exit status of a Python that does not
    work, of which POSIX shells define 126 and 127 (sh(1p), "Exit Status for Commands"). A value
    with a `problem` was never tried: the problem is the reason.
    """
    interpreter = interpreter_of(plan)
    if interpreter is None or not interpreter.origin or choice_of(plan) == "native":
        return ""
    if interpreter.problem:
        return interpreter.problem
    failed = _FAILED_PYTHON.search(stdout)
    if not failed:
        return ""
    why = _SHELL_STATUSES.get(failed[1], f"status {failed[1].decode()}")
    return f"{_describe(interpreter)} does not work: {why}"


def tried_first(plan: HostPlan) -> str:
    """Returns which Python of the inventory is tried first, as the end of a reason; "" if none is
    set.

    A program that takes the options of Python need not be one: /bin/true takes them, too.
    """
    interpreter = interpreter_of(plan)
    if interpreter is None or not interpreter.origin or interpreter.problem:
        return ""
    return f"; {_describe(interpreter)} is tried first, and may be no Python"


def _describe(interpreter: Interpreter) -> str:
    """Returns the variable, its value and where it is set."""
    return f"{interpreter.name} {interpreter.value} ({interpreter.origin})"


def explain_missing_reply(plan: HostPlan, output: ProbeOutput) -> ReplyError:
    """Returns the error for an output without a result line.

    The likeliest cause comes first: the output was cut off (kind "no reply"), no Python works ("no
    python"), the native probe could not be run, the command failed ("command failed"). In all other
    cases ("no reply") only what the host printed can explain it.
    """
    unused = unused_interpreter(plan, output.stdout)
    tried = "" if unused else tried_first(plan)
    if output.cut:
        return ReplyError(
            f"the host sent more on {output.cut} than is read, and no result line came before"
            f" that{tried}",
            kind="no reply",
        )
    if output.exit_status == NO_PYTHON:
        return _no_python(plan, unused, output)
    if error := _no_native(plan, unused, output):
        return error
    printed = _printed(output)
    if output.exit_status:
        return ReplyError(
            f"the command ended with status {output.exit_status} and no result line"
            f"{printed}{tried}",
            stage="execute",
            kind="command failed",
        )
    return ReplyError(f"no result line{printed}{tried}", kind="no reply")


def describe_beginning(stdout: bytes) -> str:
    r"""Returns the first bytes of a reply as the end of a reason, as one printable line; "" without
    a reply.

    What JSON escapes (\u0041) is shown as its character, so that masking finds a password in it.
    """
    line = result_beginning(stdout, MAX_BEGINNING + 1)
    text = line[:MAX_BEGINNING].decode("utf-8", "replace")
    end = ""
    if len(line) > MAX_BEGINNING:
        text, end = _CUT_CHARACTER.sub("", text), "…"
    shown = printable_line(_ESCAPED.sub(_unescape, text), MAX_BEGINNING)
    return surround("; it begins “", shown, f"{end}”")


def _unescape(escape: re.Match[str]) -> str:
    """Returns the character of an escape in JSON."""
    return chr(int(escape[1], 16))


def _no_python(plan: HostPlan, unused: str, output: ProbeOutput) -> ReplyError:
    """Returns the error for a host on which no Python works, with what those that are there
    printed: the host may lack memory rather than a Python.
    """
    reason = _without_python(unused) + surround(": “", _last_text(output.stderr), "”")
    hint = "install python3 (python3-minimal will do) on the host, then run again"
    if choice_of(plan) == "python":
        hint += "; or let it run the native probe:  fleetaudit_probe: auto"
    elif _EARLIER_COMMAND.search(output.stdout):
        hint += f"; or, for the native probe, {_NEW_COMMAND}"
    return ReplyError(reason, hint=hint, stage="execute", kind="no python")


def _without_python(unused: str) -> str:
    """Returns that no Python works, beginning with the one of the inventory."""
    if unused:
        return f"{unused}; nor does any other Python from 2.7 on"
    return "no Python from 2.7 on that works"


def _no_native(plan: HostPlan, unused: str, output: ProbeOutput) -> ReplyError | None:
    """Returns the error for a host that was to run the native probe, None for any other."""
    native = choice_of(plan) == "native"
    if native and _EARLIER_COMMAND.search(output.stdout):
        return ReplyError(
            "a forced command of an earlier fleetaudit runs there, which starts no native probe",
            hint=_NEW_COMMAND,
            stage="execute",
            kind="command refused",
        )
    asked = native_line(output.stdout)
    if not asked:
        return None
    without = "no Python is tried (fleetaudit_probe: native)" if native else _without_python(unused)
    printed = surround(": “", _last_text(output.stderr), "”")
    return explain_native(asked, output.stdout, output.exit_status, without, printed)


def _printed(output: ProbeOutput) -> str:
    """Returns what the host printed, as part of a reason; "" if it printed nothing."""
    quotes = (
        surround("“", _last_text(output.stdout), "”"),
        surround("on stderr “", _last_text(output.stderr), "”"),
    )
    return surround("; it printed ", " and ".join(filter(None, quotes)))


def _last_text(printed: bytes) -> str:
    """Returns the end of a stream without fleetaudit's own lines, as one printable line.

    At most the last `MAX_QUOTED` characters of the last 4,096 bytes: an error comes last.
    """
    lines = printed[-4096:].decode("utf-8", "replace").splitlines()
    text = " ".join(line for line in lines if not line.startswith(_OWN_LINES))
    return printable_line(text, 4096)[-MAX_QUOTED:]
