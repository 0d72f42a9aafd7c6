"""What is wrong with a host's messages is reported in the words of the RFCs, not in a library's."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from paramiko.ssh_exception import MessageOrderError, SSHException

from fleetaudit.transport.ssh.message_errors import (
    message_name,
    message_problem,
    packet_problem,
)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (2, "SSH_MSG_IGNORE"),
        (20, "SSH_MSG_KEXINIT"),
        (21, "SSH_MSG_NEWKEYS"),
        (31, "message 31 of the key exchange"),
        (52, "SSH_MSG_USERAUTH_SUCCESS"),
        (91, "SSH_MSG_CHANNEL_OPEN_CONFIRMATION"),
        (192, "message 192"),
    ],
)
def test_messages_have_the_names_of_the_rfc(number: int, name: str) -> None:
    assert message_name(number) == name


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (InvalidTag(), "(MAC) is wrong"),
        (SSHException("Mismatched MAC"), "(MAC) is wrong"),
        (SSHException("Invalid packet blocking"), "impossible length"),
        (IndexError("index out of range"), "impossible length"),
    ],
)
def test_a_packet_that_cannot_be_opened_is_damaged_or_has_an_impossible_length(
    error: Exception, problem: str
) -> None:
    assert problem in packet_problem(error)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MessageOrderError("In strict-kex mode"), "SSH_MSG_IGNORE came where a strict"),
        (SSHException("Signature verification (ssh-ed25519) failed."), "signature"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "SSH_MSG_IGNORE cannot be decoded"),
        (ValueError("Error computing shared key."), "SSH_MSG_IGNORE cannot be decoded"),
    ],
)
def test_a_message_that_cannot_be_used_is_named(error: Exception, problem: str) -> None:
    assert problem in message_problem(2, error)
