"""Reasons for a host that does not answer a message of ours after the login.

Rules: both clients report the same. Messages have the names of RFC 4250, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleetaudit.errors import FailureKind

NOT_ANSWERED: FailureKind = "not answered"
BY_THE_HOST: tuple[FailureKind, ...] = (NOT_ANSWERED, "protocol error")
"""The kinds of failures that say nothing about the login shell and the command."""

KEYS = "the host began a key exchange and did not finish it (SSH_MSG_NEWKEYS)"
SESSION = "the host did not answer the request to open a session (SSH_MSG_CHANNEL_OPEN)"
COMMAND = "the host did not answer the request to run the command (SSH_MSG_CHANNEL_REQUEST)"
ROOM = "the host takes no input: it left no room for it (SSH_MSG_CHANNEL_WINDOW_ADJUST)"
CLOSE = (
    "the command ended, but its output did not (SSH_MSG_CHANNEL_CLOSE): a process that it left may"
    " hold it"
)
END = "the output ended, but no exit status and no SSH_MSG_CHANNEL_CLOSE came"


def first_owed(owed: Mapping[str, bool]) -> str:
    """Returns the first reason that holds, "" if none does."""
    return next((reason for reason, is_owed in owed.items() if is_owed), "")
