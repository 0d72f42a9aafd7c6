"""Says in plain words what is wrong with what a host sent. Pure.

Rules: no library's words. Messages have the names of RFC 4250, section 4.1.
"""

from __future__ import annotations

import re

from paramiko.common import MSG_NAMES

_NAMES = {
    **{
        number: "SSH_MSG_" + name.removeprefix("SSH_MSG_").upper().replace("-", "_")
        for number, name in MSG_NAMES.items()
    },
    # Their meaning depends on the method.
    **{number: f"message {number} of the key exchange" for number in range(30, 50)},
    # paramiko calls these otherwise.
    20: "SSH_MSG_KEXINIT",
    21: "SSH_MSG_NEWKEYS",
    91: "SSH_MSG_CHANNEL_OPEN_CONFIRMATION",
}

# In order: what an exception of paramiko or cryptography is called or says, and the problem.
_PACKET_PROBLEMS = (
    ("InvalidTag|MAC", "a packet is damaged: its authentication code (MAC) is wrong"),
    ("", "a packet has an impossible length or padding"),
)
_MESSAGE_PROBLEMS = (
    ("MessageOrderError", "{name} came where a strict key exchange allows none"),
    ("[Ss]ignature", "the host's signature of the key exchange does not fit its key"),
    ("", "{name} cannot be decoded"),
)


def message_name(number: int) -> str:
    """Returns the name of a message, such as "SSH_MSG_IGNORE"; "message 192" if it has none."""
    return _NAMES.get(number, f"message {number}")


def packet_problem(error: Exception) -> str:
    """Returns what is wrong with a packet that cannot be opened."""
    return _problem(_PACKET_PROBLEMS, error)


def message_problem(number: int, error: Exception) -> str:
    """Returns what is wrong with a message that was opened, and cannot be used."""
    return _problem(_MESSAGE_PROBLEMS, error).format(name=message_name(number))


def _problem(problems: tuple[tuple[str, str], ...], error: Exception) -> str:
    """Returns the first problem whose pattern an error has in its name or its text."""
    text = f"{type(error).__name__}: {error}"
    return next(problem for pattern, problem in problems if re.search(pattern, text))
