"""The signature of an authority: all of it is checked, and nothing may follow."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from fleetaudit.transport.ssh.ca_signature import read_certificate
from fleetaudit.transport.ssh_fields import MalformedFieldsError, string_of

AUTHORITY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
HOST = ed25519.Ed25519PrivateKey.from_private_bytes(b"h" * 32)


def certificate(after: bytes = b"", signed_with: bytes | None = None) -> bytes:
    """Returns a certificate for every host; `after` follows the signature, in its own string."""
    public = AUTHORITY.public_key().public_bytes_raw()
    signed = b"".join(
        (
            string_of(b"ssh-ed25519-cert-v01@openssh.com"),
            string_of(b"nonce"),
            string_of(HOST.public_key().public_bytes_raw()),
            (7).to_bytes(8, "big"),
            (2).to_bytes(4, "big"),
            *map(string_of, (b"id", b"")),
            bytes(8),
            b"\xff" * 8,
            *map(string_of, (b"", b"", b"")),
            string_of(string_of(b"ssh-ed25519") + string_of(public)),
        )
    )
    signature = AUTHORITY.sign(signed_with or signed)
    return signed + string_of(string_of(b"ssh-ed25519") + string_of(signature) + after)


def test_a_signed_certificate_is_verified() -> None:
    assert read_certificate(certificate()).verified


@pytest.mark.parametrize("after", [b"\0", string_of(b""), b"x" * 100])
def test_nothing_may_follow_the_signature(after: bytes) -> None:
    """OpenSSH refuses it, and paramiko does not look."""
    with pytest.raises(MalformedFieldsError, match="the signature of its authority is wrong"):
        read_certificate(certificate(after))


def test_the_signature_of_something_else_is_refused() -> None:
    with pytest.raises(MalformedFieldsError, match="the signature of its authority is wrong"):
        read_certificate(certificate(signed_with=b"something else"))
