"""Logs a user in: with the available keys, then the password; and the reason if the host accepts
none.

Rules: a password is never sent to a host whose key was not checked, and is in no log and no error.
"""

from __future__ import annotations

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline
from fleetaudit.transport.password_expiry import classify_expiry
from fleetaudit.transport.ssh_command import ssh_command_line
from fleetaudit.transport.ssh_options import config_of

from .identities import Identities, select_identities
from .key_files import KeyFiles, Unusable
from .keyboard_interactive import LoginRefused
from .link import LinkError
from .session import Session
from .userauth import UserAuth

# Of a `LinkError`; others hung up.
_KINDS: dict[str, FailureKind] = {
    "late": "timed out",
    "garbled": "protocol error",
    "flood": "protocol error",
}


def authenticate(
    session: Session, target: SshTarget, user: str, files: KeyFiles, deadline: Deadline
) -> str:
    """Returns what the user was let in with, in a few words.

    The result is the user and what the host accepted: "audit by ~/.ssh/id_ed25519". `files` are
    those of this target. The session's host key was checked, as its `host_key_policy` says. Raises
    `TransportError` (stage "authenticate"), which is never transient: accounts get locked.
    """
    identities = select_identities(target, files, deadline)
    if not identities.usable and target.private_keys and not target.password:
        raise _no_usable_key(identities.unusable)
    attempt = _Attempt(target, user, identities, UserAuth(session, user, deadline))
    return attempt.run()


class _Attempt:
    """One attempt of one user to log in."""

    def __init__(
        self, target: SshTarget, user: str, identities: Identities, login: UserAuth
    ) -> None:
        self._target, self._user = target, user
        self._identities, self._login = identities, login
        self._withheld = _why_withheld(target, user)

    def run(self) -> str:
        """Returns what the user was let in with; raises `TransportError`."""
        methods = config_of(self._target).password_methods
        password = self._target.password
        if self._withheld:
            password = None
        try:
            self._login.run(self._identities.usable, password, methods)
        except LoginRefused as e:
            raise self._refused(e) from e
        except LinkError as e:
            raise self._broke_off(e) from e
        proofs = " and ".join(self._login.proofs)
        if not proofs:
            return f"{self._user} without a key"
        return f"{self._user} by {proofs}"

    def _refused(self, refused: LoginRefused) -> TransportError:
        """Returns the error for a host that refused the login."""
        if self._withheld:
            return self._error(*self._withheld, "password not sent")
        unusable = [key.reason for key in self._identities.unusable]
        if self._target.password:
            self._login.problems += unusable
            return self._error(str(refused), self._hint_after_password(refused), refused.kind)
        if self._identities.usable:
            self._login.problems += unusable
            reason = str(refused) or f"the host does not let {self._user} in"
            return self._error(reason, self._command_line("-v"), "permission denied")
        return self._without_key()

    def _hint_after_password(self, refused: LoginRefused) -> str:
        """Returns the command that shows what the host asks."""
        if refused.kind == "password expired":
            return self._command_line("-t", prompts=True)
        return self._command_line("-v", prompts=True)

    def _without_key(self) -> TransportError:
        """Returns the error of a login for which there was neither a key nor a password."""
        reason = (
            f"there is no key to log in with as {self._user}: none is named, none is in an agent,"
            " and there is no default key file"
        )
        unusable = self._identities.unusable
        if not unusable:
            return self._error(reason, "ssh-add -l", "no usable key")
        reason = f"{reason}; {_no_usable_key(unusable).reason}"
        return self._error(reason, unusable[0].hint, "no usable key")

    def _broke_off(self, error: LinkError) -> TransportError:
        """Returns the error for a connection that ended during the login."""
        user, login = self._user, self._login
        reasons = {
            "flood": f"the host sent {error.text} while {user} was logging in",
            "late": f"the host stalled while {user} was logging in{error.text}",
            "jump": f"the connection broke off while {user} was logging in ({error.text})",
            "dropped": f"the host hung up while {user} was logging in ({error.text})",
            "proxy": f"the connection broke off while {user} was logging in ({error.text})",
            "disconnected": (
                f"the host hung up while {user} was logging in{quote_line(error.text, ': ')}"
            ),
        }
        reason = reasons.get(
            error.kind, f"what the host sent in the login is not valid SSH: {error.text}"
        )
        kind = classify_expiry(login.messages) or _KINDS.get(error.kind, "hung up")
        if error.kind in ("disconnected", "dropped") and len(login.offered) > 1:
            reason += "; name the one key to use (--private-key)"
            return self._error(reason, self._command_line("-o", "IdentitiesOnly=yes"), kind)
        prompts = bool(self._target.password)
        return self._error(reason, self._command_line("-v", prompts=prompts), kind)

    def _error(self, reason: str, hint: str, kind: FailureKind) -> TransportError:
        """Returns an error with a summary of the login."""
        summary = self._login.summary()
        if summary:
            reason += f"; {summary}"
        return TransportError("authenticate", reason, hint=hint, kind=kind)

    def _command_line(self, *options: str, prompts: bool = False) -> str:
        """Returns the ssh command line for this login."""
        return ssh_command_line(self._target, self._user, *options, prompts=prompts)


def _why_withheld(target: SshTarget, user: str) -> tuple[str, str] | None:
    """Returns why the password is not sent, and the command to type; None if it may be."""
    if not target.password:
        return None
    if target.host_key_policy == "off":
        reason = "a password is never sent to a host whose key was not checked"
        return reason, rerun_hint("--host-key-policy", "accept-new")
    if not target.password.reveal():
        return "the given password is empty, and an empty one is never sent", rerun_hint("-k")
    if not config_of(target).password_methods:
        reason = (
            "a password was given, but ssh_config allows none for this host (PasswordAuthentication"
            " and the like)"
        )
        return reason, ssh_command_line(target, user, "-v", prompts=True)
    return None


def _no_usable_key(unusable: tuple[Unusable, ...]) -> TransportError:
    """Returns the error for keys that cannot be offered."""
    reason = "; ".join(key.reason for key in unusable)
    return TransportError("authenticate", reason, hint=unusable[0].hint, kind="no usable key")
