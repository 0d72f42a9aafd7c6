"""Private keys, certificates and .pub files of the user: `transport.ssh.key_files`.

What cannot be used is an `Unusable` with a reason, which has nothing of the file in it.
"""

from __future__ import annotations

import atexit
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import fuzz, instrumented

with instrumented("paramiko"):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    from fleetaudit.transport.ssh.key_files import Unusable, _public_key, _read_private_key

_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
KEY = Path(_folder.name) / "id"
PUBLIC = Path(_folder.name) / "id.pub"
WORDS = (
    "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,",
    "-----BEGIN EC PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "ssh-ed25519 ", "AAAA", "\n",
)  # fmt: skip
LONG_WORD = re.compile(r"[A-Za-z0-9+/]{24,}")


def TestOneInput(data: bytes) -> None:
    """Reads a key file, and the one line of a .pub file beside it."""
    public, _, private = data.partition(b"\0")
    KEY.write_bytes(private or public)
    KEY.chmod(0o600)
    PUBLIC.write_bytes(public)
    _public_key(KEY)
    found = _read_private_key(str(KEY), KEY)
    if isinstance(found, Unusable):
        assert found.reason.isprintable()
        shown = found.reason.replace(str(KEY), "")
        secret = private.decode("ascii", "replace")
        assert not any(word in secret for word in LONG_WORD.findall(shown)), shown


def seeds() -> Iterable[bytes]:
    """Yields keys in each format, made from constants, and .pub files."""
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    curve = ec.derive_private_key(12345, ec.SECP256R1())
    formats = serialization.PrivateFormat
    plain = serialization.NoEncryption()
    for key, form in (
        (ed, formats.OpenSSH),
        (ed, formats.PKCS8),
        (curve, formats.OpenSSH),
        (curve, formats.TraditionalOpenSSL),
    ):
        pem = key.private_bytes(serialization.Encoding.PEM, form, plain)
        line = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        yield line + b" c\n\0" + pem
        yield b"\0" + pem
    yield b"\0-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
