"""Says in plain words what is wrong with what a host sent. Pure.

Rules: no library's words. Messages have the names of RFC 4250, section 4.1.
"""

from __future__ import annotations

from paramiko.common import MSG_NAMES
from paramiko.ssh_exception import MessageOrderError

_KEY_EXCHANGE = range(30, 50)  # their meaning depends on the method
_NAMES = {
    20: "SSH_MSG_KEXINIT",
    21: "SSH_MSG_NEWKEYS",
    91: "SSH_MSG_CHANNEL_OPEN_CONFIRMATION",
}
"""Those that paramiko calls otherwise."""


def message_name(number: int) -> str:
    """Returns the name of a message, such as "SSH_MSG_IGNORE"; "message 192" if it has none."""
    if number in _KEY_EXCHANGE:
        return f"message {number} of the key exchange"
    name = _NAMES.get(number) or MSG_NAMES.get(number, "")
    if not name:
        return f"message {number}"
    return "SSH_MSG_" + name.removeprefix("SSH_MSG_").upper().replace("-", "_")


def packet_problem(error: Exception) -> str:
    """Returns what is wrong with a packet that cannot be opened."""
    if type(error).__name__ == "InvalidTag" or "MAC" in str(error):  # AEAD ciphers, and others
        return "a packet is damaged: its authentication code (MAC) is wrong"
    return "a packet has an impossible length or padding"


def message_problem(number: int, error: Exception) -> str:
    """Returns what is wrong with a message that was opened, and cannot be used."""
    if isinstance(error, MessageOrderError):
        return f"{message_name(number)} came where a strict key exchange allows none"
    if "ignature" in str(error):
        return "the host's signature of the key exchange does not fit its key"
    return f"{message_name(number)} cannot be decoded"
