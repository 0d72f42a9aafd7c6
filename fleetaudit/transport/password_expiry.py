"""Recognizes messages that a password or an account has expired. Pure."""

from __future__ import annotations

import re

from fleetaudit.errors import FailureKind

_ACCOUNT = re.compile(r"(?i)account (?:has |is )?expired")
_PASSWORD = re.compile(
    r"(?i)password (?:has |is |change |was )*(?:expired|aged|required)|new password|current(?:"
    r" unix)?\)? password"
    r"|(?:change|choose|changing) (?:your|a|the) (?:\w+ )?password"
)


def classify_expiry(message: str) -> FailureKind:
    """Returns "account expired" or "password expired" if the message means that, else "".

    `message` is what the host printed during a login, as one line: sshd and PAM (pam_unix(8)) have
    no other way to report it. An account that has expired needs an administrator, a password only
    its user, so the account goes first. "You are required to change your password immediately" is
    "password expired".
    """
    if _ACCOUNT.search(message):
        return "account expired"
    if _PASSWORD.search(message):
        return "password expired"
    return ""
