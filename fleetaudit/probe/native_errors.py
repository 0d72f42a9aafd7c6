"""Explains why a host that was asked to run the native probe sent no reply. Pure.

Rules: the host printed `NATIVE_LINE`, so everything up to its shell works. What else it printed,
its exit status, and which programs are built show the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fleetaudit.errors import FailureKind, ReplyError, rerun_hint
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import QUOTE_MAX, printable_line

from .command import CUT_SHORT, FOLDERS_MARK, NATIVE_LINE, NO_FOLDER
from .native_program import architecture_of, has_native

MAKE_NATIVE = "make native"
"""What builds the native programs in a checkout."""
_INSTALL_PYTHON = "install python3 (python3-minimal will do) on the host, then run again"
_FOLDERS = re.compile(rb"^" + re.escape(FOLDERS_MARK.encode()) + rb"(.{0,1000})$", re.MULTILINE)
_SIGNALS = 128  # what sh(1p) adds to the number of a signal
_STEPS = {
    "find": "is not mounted",
    "run": "does not work",
    "create": "no file can be created",
    "execute": "execution is not allowed",
    "fill": "there is no room",
}
"""What the steps of `COMMAND` mean for a folder."""
_HINTS = {
    "/proc:find": "mount it on the host:  mount -t proc proc /proc",
    "rm:run": "find out on the host why:  rm -f /nothing",
}
"""What to type if it is no folder that is at fault."""
_OF_FOLDERS = "give one of them room, or mount it without noexec:  mount -o remount,exec /dev/shm"


def explain_native(
    asked: re.Match[bytes], stdout: bytes, exit_status: int | None, without: str, printed: str
) -> ReplyError | None:
    """Returns why the native probe sent no reply, None if only what the host printed can say it.

    `asked` is the host's line. `without` tells why there is no other way ("no Python works"), and
    `printed` is the end of the reason, what the host printed on stderr.
    """
    machine = printable_line(asked["machine"], QUOTE_MAX)
    architecture = architecture_of(machine)
    if not architecture:
        return _error(
            f"{without}, and there is no native probe for the machine “{machine}”",
            _INSTALL_PYTHON,
            "machine not supported",
        )
    if not has_native(architecture):
        return _error(
            f"{without}, and the native probe for {architecture} is not built",
            MAKE_NATIVE,
            "no python",
        )
    explanation = _BY_STATUS.get(exit_status, _killed if (exit_status or 0) > _SIGNALS else None)
    if not explanation:
        return None
    return explanation(machine, stdout, printed)


def native_line(stdout: bytes) -> re.Match[bytes] | None:
    """Returns the line by which a host asked for the native program."""
    return NATIVE_LINE.search(stdout)


def _no_folder(_machine: str, stdout: bytes, printed: str) -> ReplyError:
    """Returns the error for a host without a folder for the program."""
    found = _FOLDERS.search(stdout)
    folders = found[1].decode("utf-8", "replace").split() if found else []
    each = "; ".join(map(_folder, folders))
    hints = [_HINTS[word] for word in folders if word in _HINTS]
    return _error(
        f"no folder can take the native probe, even for a moment{surround(': ', each)}{printed}",
        next(iter(hints), _OF_FOLDERS),
        "no executable folder",
    )


def _folder(word: str) -> str:
    """Returns what failed in one folder."""
    folder, _, step = word.rpartition(":")
    return f"{printable_line(folder, QUOTE_MAX)} ({_STEPS.get(step, 'unknown')})"


def _cut_short(_machine: str, _stdout: bytes, printed: str) -> ReplyError:
    """Returns the error for a program that arrived in part, which never runs."""
    return _error(
        f"the native probe did not arrive whole, so it was not started{printed}",
        rerun_hint("--retries", "3"),
        "transfer cut short",
    )


def _not_executable(machine: str, _stdout: bytes, printed: str) -> ReplyError:
    """Returns the error for a program that the host's kernel refuses, by its format or a policy."""
    return _error(
        f"the host does not execute the native probe for {machine}, which is what `uname -m`"
        f" prints there{printed}",
        _INSTALL_PYTHON,
        "program not executable",
    )


def _killed(_machine: str, _stdout: bytes, printed: str) -> ReplyError:
    """Returns the error for a program that a signal ended: nothing in it does that to itself."""
    return _error(
        "the native probe, or the shell that starts it, was killed by a signal, as a host without"
        f" memory does{printed}",
        "look into the kernel log of the host:  dmesg | tail",
        "command failed",
    )


_BY_STATUS: dict[int | None, Callable[[str, bytes, str], ReplyError]] = {
    NO_FOLDER: _no_folder,
    CUT_SHORT: _cut_short,
    126: _not_executable,
    127: _not_executable,
}
"""The error by the exit status; 126 and 127 are those of sh(1p)."""


def _error(reason: str, hint: str, kind: FailureKind) -> ReplyError:
    """Returns an error of the stage "execute"."""
    return ReplyError(reason, hint=hint, stage="execute", kind=kind)
