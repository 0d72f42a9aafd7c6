"""Host certificates, and files of revoked keys: `transport.host_certificates`, `revoked_keys`.

The first byte says which. Only what its authority signed is verified, and a change unmakes it.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented("paramiko"):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    from fleetaudit.transport.host_certificates import parse_certificate, why_refused
    from fleetaudit.transport.revoked_keys import parse_revoked_keys
    from fleetaudit.transport.ssh.ca_signature import read_certificate
    from fleetaudit.transport.ssh_fields import MalformedFieldsError

AUTHORITY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
HOST = ed25519.Ed25519PrivateKey.from_private_bytes(b"h" * 32)
WORDS = (
    "ssh-ed25519-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com", "ssh-ed25519",
    "force-command", "SSHKRL\n\0", b"\0\0\0\x01", b"\0\0\0\x02", b"\0\0\0\0", b"\xff" * 8,
    b"\x20", b"\x21", b"\x22",
    "# ", "ssh-ed25519 AAAA", "\n",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Reads a certificate, or a file of revoked keys and what it says about a certificate."""
    kind, body = data[:1], data[1:]
    if kind == b"r":
        _read_revoked(body)
        return
    with contextlib.suppress(MalformedFieldsError):
        certificate = parse_certificate(body)
        assert body.startswith(certificate.signed)
        for now in (0.0, 2e9):
            assert isinstance(why_refused(certificate, "web1", now, ("ssh-ed25519",)), str)
    with contextlib.suppress(MalformedFieldsError):
        certificate = read_certificate(body)
        if certificate.verified and certificate.authority == _public(AUTHORITY):
            assert body in _certificates(), "nobody signed this"


def _read_revoked(body: bytes) -> None:
    """Reads a file, and looks up a certificate in it."""
    with contextlib.suppress(MalformedFieldsError):
        revoked = parse_revoked_keys(body)
        for blob in _certificates():
            certificate = parse_certificate(blob)
            assert revoked.revokes(certificate.key, certificate) in (True, False)
            assert not revoked.revokes(certificate.key) or revoked.revokes(
                certificate.key, certificate
            )


def _public(key: ed25519.Ed25519PrivateKey) -> bytes:
    line = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return base64.b64decode(line.split()[1])


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _certificates() -> Iterable[bytes]:
    """Yields certificates for a host, with and without names."""
    for names in (b"", _string(b"web1") + _string(b"web2")):
        signed = b"".join((
            _string(b"ssh-ed25519-cert-v01@openssh.com"), _string(b"nonce"),
            _string(HOST.public_key().public_bytes_raw()), (7).to_bytes(8, "big"),
            (2).to_bytes(4, "big"), _string(b"id"), _string(names), bytes(8), b"\x7f" * 8,
            _string(b""), _string(b""), _string(b""), _string(_public(AUTHORITY)),
        ))  # fmt: skip
        signature = _string(b"ssh-ed25519") + _string(AUTHORITY.sign(signed))
        yield signed + _string(signature)


def seeds() -> Iterable[bytes]:
    """Yields certificates, a list of keys and a key revocation list with every section."""
    for blob in _certificates():
        yield b"c" + blob
    key = base64.b64encode(_public(HOST))
    yield b"r# comment\nssh-ed25519 " + key + b" c\n"
    head = b"SSHKRL\n\0" + (1).to_bytes(4, "big") + bytes(8) * 3 + _string(b"") * 2
    serials = b"\x20" + _string((7).to_bytes(8, "big"))
    span = b"\x21" + _string(bytes(8) + (9).to_bytes(8, "big"))
    bitmap = b"\x22" + _string(bytes(8) + _string(b"\x80"))
    ids = b"\x23" + _string(_string(b"id"))
    inner = _string(_public(AUTHORITY)) + _string(b"") + serials + span + bitmap + ids
    yield b"r" + head + b"\x01" + _string(inner) + b"\x02" + _string(_string(_public(HOST)))
    yield (
        b"r" + head + b"\x03" + _string(_string(bytes(20))) + b"\x05" + _string(_string(bytes(32)))
    )


if __name__ == "__main__":
    fuzz(TestOneInput)
