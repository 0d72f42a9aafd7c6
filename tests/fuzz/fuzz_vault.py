"""ansible-vault: the envelope, its padding, and values that are encrypted.

A success is what was encrypted: only `VaultError` is right for anything else.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Iterable

from tests.fuzz.harness import changed, fuzz, instrumented

with instrumented():
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    from fleetaudit.inventory import vault
    from fleetaudit.inventory.vault import Vault, VaultError

PASSWORD = b"open sesame"
SALT = b"s" * 32
WORDS = ("$ANSIBLE_VAULT;1.1;AES256", "$ANSIBLE_VAULT;1.2;AES256;id", "\n", "0a", "3132", "\r\n")


def TestOneInput(data: bytes) -> None:
    """Decrypts the input as an envelope, and then what the input is encrypted to."""
    # The derivation of a key is the library's, and would be all that is measured.
    with changed(vault, "_ITERATIONS", 1):
        _decrypt(data)


def _decrypt(data: bytes) -> None:
    try:
        Vault(PASSWORD).decrypt(data)
    except VaultError as e:
        assert PASSWORD.decode() not in str(e)
    assert Vault(PASSWORD).decrypt(encrypt(data)) == data
    envelope = bytearray(encrypt(data))
    at = 30 + sum(data) % (len(envelope) - 30)
    envelope[at] = ord("0") if envelope[at] != ord("0") else ord("1")
    try:
        assert Vault(PASSWORD).decrypt(bytes(envelope)) == data  # a line end that does not count
    except VaultError:
        return


def encrypt(plain: bytes) -> bytes:
    """Returns an envelope as ansible-vault writes it."""
    derived = hashlib.pbkdf2_hmac("sha256", PASSWORD, SALT, vault._ITERATIONS, 80)
    padding = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(derived[:32]), modes.CTR(derived[64:])).encryptor()
    ciphertext = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    digest = hmac.digest(derived[32:64], ciphertext, "sha256")
    body = binascii.hexlify(b"\n".join(map(binascii.hexlify, (SALT, digest, ciphertext))))
    lines = [body[at : at + 80] for at in range(0, len(body), 80)]
    return b"\n".join([b"$ANSIBLE_VAULT;1.1;AES256", *lines]) + b"\n"


def seeds() -> Iterable[bytes]:
    """Yields envelopes of texts of several lengths."""
    with changed(vault, "_ITERATIONS", 1):
        envelopes = [encrypt(text) for text in (b"", b"secret", b"x" * 16, b"x" * 200)]
    yield from envelopes
    yield b"$ANSIBLE_VAULT;1.2;AES256;prod\n3132\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
