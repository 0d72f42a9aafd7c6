"""Everything that can go wrong and is not a bug: one root, and a child for each party whose matter it is.

Rules: a message says where, what was found, what was wanted and what to do next. The exit status belongs to the
class, so that the command line needs no table. A bug is not in here: it stays a traceback and status 1.
"""

from __future__ import annotations


class FleetauditError(Exception):
    """What a user can be told; `exit_status` is what the command then ends with (sysexits.h)."""

    exit_status = 70


class UsageError(FleetauditError):
    """The command line makes no sense."""

    exit_status = 64


class InputError(FleetauditError):
    """A file of the user's does not parse or makes no sense; `line` and `column` count from 1, 0 is "unknown"."""

    exit_status = 65

    def __init__(self, message: str, *, source: str, line: int = 0, column: int = 0, hint: str = "") -> None:
        self.message, self.source, self.line, self.column, self.hint = message, source, line, column, hint
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

    `stage` is one of `model.Stage`; `hint` is the next command to type; `transient` says that trying again may help
    (never true for a refused authentication: accounts get locked). `changed_key` are the host key that was known, and
    where, and the one that was shown, where these differ.
    """

    def __init__(
        self,
        stage: str,
        reason: str,
        *,
        hint: str,
        transient: bool = False,
        changed_key: tuple[str, str] | None = None,
    ) -> None:
        self.stage, self.reason, self.hint, self.transient = stage, reason, hint, transient
        self.changed_key = changed_key
        super().__init__(f"{stage}: {reason}")

    def said_of(self, whom: str, hint: str = "") -> TransportError:
        """Returns the same error, told of another one on the way; `hint` is for one that has none."""
        return self.told_as(f"{whom}: {self.reason}", hint)

    def told_as(self, reason: str, hint: str = "") -> TransportError:
        """Returns the same error in other words; `hint` is for one that has none."""
        if reason == self.reason and (self.hint or not hint):
            return self
        return TransportError(
            self.stage, reason, hint=self.hint or hint, transient=self.transient, changed_key=self.changed_key
        )


class ReplyError(FleetauditError):
    """What a host answered is no reply; the engine turns it into that host's `NotAudited` at `stage`."""

    def __init__(self, reason: str, *, hint: str = "", stage: str = "decode") -> None:
        self.reason, self.hint, self.stage = reason, hint, stage
        super().__init__(reason)
