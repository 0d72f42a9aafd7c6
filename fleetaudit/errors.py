"""Everything that can go wrong and is not a bug: one root, and a child for each party whose matter
it is.

Rules: a message says where, what was found, what was wanted and what to do next. The exit status
belongs to the class, so that the command line needs no table. A bug is not in here: it stays a
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
    "connection lost",
    "no scenario ran",
    "no reply",
    "reply not valid",
    "reply to another call",
    "interrupted",
    "bug in fleetaudit",
]
"""The cause of a failure as a short stable name; "" if a failure has none.

Hosts with the same stage and kind are reported together, whatever their addresses are. It is set
where an error is raised. New kinds may be added; a kind that is in a release keeps its name.
"""

_REPEAT = "fleetaudit run "


def rerun_hint(*options: str) -> str:
    """Returns the hint that repeats the command with these options; `engine.audit` makes a whole
    line of it.
    """
    return _REPEAT + shlex.join(options)


def rerun_options(hint: str) -> tuple[str, ...]:
    """Returns the options of a hint that `rerun_hint` made, () for any other hint."""
    return tuple(shlex.split(hint.removeprefix(_REPEAT))) if hint.startswith(f"{_REPEAT}-") else ()


class FleetauditError(Exception):
    """What a user can be told; `exit_status` is what the command then ends with (sysexits.h)."""

    exit_status = 70


class UsageError(FleetauditError):
    """The command line makes no sense."""

    exit_status = 64


class InputError(FleetauditError):
    """A file of the user's does not parse or makes no sense; `line` and `column` count from 1, 0 is
    "unknown".
    """

    exit_status = 65

    def __init__(
        self, message: str, *, source: str, line: int = 0, column: int = 0, hint: str = ""
    ) -> None:
        self.message, self.source, self.line, self.column, self.hint = (
            message,
            source,
            line,
            column,
            hint,
        )
        where = ":".join([source, *(str(n) for n in (line, column) if n)])
        super().__init__(f"{where}: {message}" + (f"\n  {hint}" if hint else ""))


class NothingToDoError(FleetauditError):
    """A file that was named is missing, or no host matches."""

    exit_status = 66


class OutputError(FleetauditError):
    """The output cannot be written."""

    exit_status = 73


class LockedError(FleetauditError):
    """Another run holds the output folder."""

    exit_status = 75


class ConfigError(FleetauditError):
    """fleetaudit's own configuration makes no sense."""

    exit_status = 78


class TransportError(FleetauditError):
    """The way to one host failed; the engine turns it into that host's `NotAudited`.

    `stage` is one of `model.Stage`; `hint` is the next command to type; `transient` says that
    trying again may help (never true for a refused authentication: accounts get locked). `kind`
    groups the hosts that fail in the same way, and `at` names what failed if that is not the host
    itself, such as "jump host gate". `changed_key` are the host key that was known, and where, and
    the one that was shown, where these differ.
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
        self.stage, self.reason, self.hint, self.transient = stage, reason, hint, transient
        self.kind, self.at, self.changed_key = kind, at, changed_key
        super().__init__(f"{stage}: {reason}")

    def attributed_to(self, whom: str, hint: str = "") -> TransportError:
        """Returns the same error, told of another one on the way; `hint` is for one that has none."""
        return self.with_reason(f"{whom}: {self.reason}", hint, at=whom)

    def with_reason(self, reason: str, hint: str = "", *, at: str = "") -> TransportError:
        """Returns the same error in other words; `hint` is for one that has none."""
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
    """What a host answered is no reply; the engine turns it into that host's `NotAudited` at
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
        self.reason, self.hint, self.stage, self.kind = reason, hint, stage, kind
        super().__init__(reason)
