"""All errors that are not bugs: one root class, and a subclass per cause with its exit status.

Rules: a message says what went wrong, where, what was expected, and what to do next. The class has
the exit status, so that the command line needs no table. A bug has no class here: it ends with a
traceback and status 1.
"""

from __future__ import annotations

import shlex
from typing import Literal

FailureKind = Literal[
    "",
    "name not found",
    "connection refused",
    "no route to host",
    "network unreachable",
    "connection reset",
    "hung up",
    "timed out",
    "not an SSH server",
    "no common algorithm",
    "protocol error",
    "not answered",
    "ProxyCommand failed",
    "jump host refused",
    "ssh_config not usable",
    "program not installed",
    "host key unknown",
    "host key changed",
    "host key revoked",
    "host key not trusted",
    "known_hosts not usable",
    "permission denied",
    "no usable key",
    "password not sent",
    "password expired",
    "account expired",
    "become password missing",
    "become password refused",
    "become not permitted",
    "become not possible",
    "kernel image not usable",
    "guest did not boot",
    "no python",
    "no shell",
    "command not started",
    "command refused",
    "command failed",
    "machine not supported",
    "no executable folder",
    "transfer cut short",
    "program not executable",
    "connection lost",
    "no scenario ran",
    "no reply",
    "reply not valid",
    "reply to another call",
    "interrupted",
    "worker lost",
    "worker missing",
    "too many failures",
    "bug in fleetaudit",
]
"""The cause of a failure as a short stable name; "" if a failure has none.

Hosts with the same stage and kind are reported together, whatever their addresses are. The code
that raises an error sets it. New kinds may be added; a kind that is in a release keeps its name.
"""

_RERUN = "fleetaudit run "


def rerun_hint(*options: str) -> str:
    """Returns the hint that repeats the command with these options; `engine.audit` completes it."""
    return _RERUN + shlex.join(options)


def rerun_options(hint: str) -> tuple[str, ...]:
    """Returns the options of a hint of `rerun_hint`, () for any other hint."""
    if not hint.startswith(f"{_RERUN}-"):
        return ()
    return tuple(shlex.split(hint.removeprefix(_RERUN)))


class FleetauditError(Exception):
    """An error for the user; `exit_status` is the status of the command (sysexits.h)."""

    exit_status = 70


class UsageError(FleetauditError):
    """The command line is not valid."""

    exit_status = 64


class InputError(FleetauditError):
    """A file of the user cannot be parsed or is not valid.

    `line` and `column` count from 1; 0 means unknown. `hint` says how to correct it.
    """

    exit_status = 65

    def __init__(
        self, message: str, *, source: str, line: int = 0, column: int = 0, hint: str = ""
    ) -> None:
        self.message = message
        self.source = source
        self.line = line
        self.column = column
        self.hint = hint
        where = ":".join([source, *map(str, filter(None, (line, column)))])
        text = f"{where}: {message}"
        super().__init__(f"{text}\n  {hint}" if hint else text)


class NothingToDoError(FleetauditError):
    """A named file is missing, or no host matches."""

    exit_status = 66


class MissingProgramError(FleetauditError):
    """The native probe for an architecture is not built; the message ends with what to type."""

    exit_status = 66


class OutputError(FleetauditError):
    """The output cannot be written."""

    exit_status = 73


class LockedError(FleetauditError):
    """Another run uses the output folder."""

    exit_status = 75


class ConfigError(FleetauditError):
    """fleetaudit's own configuration is not valid."""

    exit_status = 78


class TransportError(FleetauditError):
    """One host cannot be reached; the engine turns it into that host's `NotAudited`.

    `stage` is one of `model.Stage`; `hint` is the next command to type. `transient` says that a
    retry may help (never true for a refused authentication, because accounts get locked). `kind`
    groups the hosts that fail in the same way. `at` names what failed if that is not the host
    itself, such as "jump host gate". `changed_key` has the host key that was known, with its place,
    and the one that the host presented, if these differ.
    """

    def __init__(
        self,
        stage: str,
        reason: str,
        *,
        hint: str,
        kind: FailureKind = "",
        at: str = "",
        transient: bool = False,
        changed_key: tuple[str, str] | None = None,
    ) -> None:
        self.stage = stage
        self.reason = reason
        self.hint = hint
        self.kind = kind
        self.at = at
        self.transient = transient
        self.changed_key = changed_key
        super().__init__(f"{stage}: {reason}")

    def attributed_to(self, what: str, hint: str = "") -> TransportError:
        """Returns the error, attributed to a jump host; `hint` replaces only an empty one."""
        return self.with_reason(f"{what}: {self.reason}", hint, at=what)

    def with_reason(self, reason: str, hint: str = "", *, at: str = "") -> TransportError:
        """Returns the error with a changed reason; `hint` and `at` replace only empty values."""
        if reason == self.reason and (self.hint or not hint):
            return self
        return TransportError(
            self.stage,
            reason,
            hint=self.hint or hint,
            kind=self.kind,
            at=self.at or at,
            transient=self.transient,
            changed_key=self.changed_key,
        )


class ReplyError(FleetauditError):
    """The output of a host is not a reply; the engine turns it into that host's `NotAudited` at
    `stage`.
    """

    def __init__(
        self,
        reason: str,
        *,
        hint: str = "",
        stage: str = "decode",
        kind: FailureKind = "reply not valid",
    ) -> None:
        self.reason = reason
        self.hint = hint
        self.stage = stage
        self.kind = kind
        super().__init__(reason)
