"""Who logs in and with what: the keys there are, then the password, and a reason where the host
takes none of them.

Rules: a password goes to nobody whose host key was not checked, and neither to a log nor into an
error.
"""

from __future__ import annotations

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.model import SshConfig, SshTarget
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline
from fleetaudit.transport.password_expiry import classify_expiry
from fleetaudit.transport.ssh_command import ssh_command_line

from .identities import (
    Identities,
    KeyFiles,
    Unusable,
    select_identities,
)
from .keyboard_interactive import LoginRefused
from .link import LinkError
from .session import Session
from .userauth import UserAuth


def authenticate(
    session: Session, target: SshTarget, user: str, files: KeyFiles, deadline: Deadline
) -> str:
    """Returns with what the user was let in, in a few words; raises `TransportError` (stage
    "authenticate").

    `files` are those of this target. The session's host key was checked, as its `host_key_policy`
    says.
    """
    found = select_identities(target, files, deadline)
    if not found.usable and target.private_keys and not target.password:
        raise _no_key(found.unusable)
    withheld = _withheld(target, user)
    config = target.ssh_config or SshConfig()
    kind: FailureKind = "permission denied"
    login = UserAuth(session, user, deadline)
    try:
        login.run(found.usable, None if withheld else target.password, config.password_methods)
    except LoginRefused as e:
        if withheld:
            reason, hint = withheld
            kind = "password not sent"
        elif target.password:
            kind = e.kind
            reason, hint = (
                str(e),
                ssh_command_line(
                    target, user, "-t" if kind == "password expired" else "-v", prompts=True
                ),
            )
        else:
            reason, hint = _without_password(str(e), found, target, user)
            kind = "permission denied" if found.usable else "no usable key"
        if not withheld and (target.password or found.usable):
            login.problems += [u.reason for u in found.unusable]
        cause: Exception = e
    except LinkError as e:
        reason, hint = _broken(e, login, target, user)
        kind = classify_expiry(login.said) or ("timed out" if e.kind == "late" else "hung up")
        cause = e
    else:
        return (
            f"{user} by {' and '.join(login.proofs)}" if login.proofs else f"{user} without a key"
        )
    story = login.story()
    raise TransportError(
        "authenticate", reason + (f"; {story}" if story else ""), hint=hint, kind=kind
    ) from cause


def _withheld(target: SshTarget, user: str) -> tuple[str, str] | None:
    """Returns why a password that there is goes to nobody, and the next command to type."""
    if target.password and target.host_key_policy == "off":
        reason = "a password is never sent to a host whose key was not checked"
        return reason, rerun_hint("--host-key-policy", "accept-new")
    if target.password and not target.password.reveal():
        return "the password that was given is empty, and an empty one is never sent", rerun_hint(
            "-k"
        )
    if target.password and target.ssh_config and not target.ssh_config.password_methods:
        reason = (
            "a password was given, and ssh_config allows none for this host (PasswordAuthentication"
            " and the like)"
        )
        return reason, ssh_command_line(target, user, "-v", prompts=True)
    return None


def _without_password(
    said: str, found: Identities, target: SshTarget, user: str
) -> tuple[str, str]:
    if found.usable:
        return said or f"the host does not let {user} in", ssh_command_line(target, user, "-v")
    reason = (
        f"there is no key to log in with as {user}: none named, none in an agent, no default key"
        " file"
    )
    if found.unusable:
        return f"{reason}; {_no_key(found.unusable).reason}", found.unusable[0].hint
    return reason, "ssh-add -l"


def _broken(e: LinkError, login: UserAuth, target: SshTarget, user: str) -> tuple[str, str]:
    reason = {
        "late": f"the host stalled while {user} was logging in",
        "dropped": f"the host hung up while {user} was logging in ({e.text})",
        "proxy": f"the connection broke off while {user} was logging in ({e.text})",
        "disconnected": f"the host hung up while {user} was logging in{quote_line(e.text, ': ')}",
    }.get(e.kind, f"the login made no sense: {e.text}")
    if e.kind in ("disconnected", "dropped") and len(login.offered) > 1:
        reason += "; name the one key that is meant (--private-key)"
        return reason, ssh_command_line(target, user, "-o", "IdentitiesOnly=yes")
    return reason, ssh_command_line(target, user, "-v", prompts=bool(target.password))


def _no_key(unusable: tuple[Unusable, ...]) -> TransportError:
    reason = "; ".join(u.reason for u in unusable)
    return TransportError("authenticate", reason, hint=unusable[0].hint, kind="no usable key")
