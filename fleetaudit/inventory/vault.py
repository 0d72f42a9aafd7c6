"""Files and values encrypted by ansible-vault: AES256, formats 1.1 and 1.2.

Rules: the password comes from a file, never from a prompt, an option's value or a program. No
message repeats a password or a plain text. `cryptography` is imported where something is decrypted.
"""

from __future__ import annotations

import binascii
import os
import re
import select
import time
from collections.abc import Iterator
from pathlib import Path

from fleetaudit.errors import (
    ConfigError,
    FleetauditError,
    InputError,
    NothingToDoError,
)
from fleetaudit.model import core_dumps
from fleetaudit.text.files import expand_home

MARK = b"$ANSIBLE_VAULT;"
"""What every encrypted file or value begins with."""
_HEADER = re.compile(rb"\$ANSIBLE_VAULT;1\.[12];AES256(?:;[^\s;]*)?\s*")
_LONGEST, _WAIT_S = 65_536, 60.0
_ITERATIONS, _KEY, _IV = 10_000, 32, 16


class VaultError(FleetauditError):
    """Something that cannot be decrypted; whoever needs it says where it was written."""


class Vault:
    """The passwords at hand, tried in turn; none by default."""

    def __init__(self, *passwords: bytes) -> None:
        if passwords:
            core_dumps.disable()
        self._passwords = passwords
        self._plain = dict[bytes, bytes]()

    def decrypt(self, envelope: bytes) -> bytes:
        """Returns the plain text in `envelope`, header and all; raises `VaultError`."""
        if not self._passwords:
            raise VaultError("it is encrypted by ansible-vault, and no password was given")
        if envelope not in self._plain:
            self._plain[envelope] = self._decrypted(envelope)
        return self._plain[envelope]

    def _decrypted(self, envelope: bytes) -> bytes:
        header, _, body = envelope.strip().partition(b"\n")
        if not _HEADER.fullmatch(header):
            raise VaultError(
                "it is encrypted in a format of ansible-vault that is not read (1.1 and 1.2 AES256"
                " are)"
            )
        try:
            salt, digest, text = map(
                binascii.unhexlify, binascii.unhexlify(b"".join(body.split())).split(b"\n", 2)
            )
        except ValueError as e:
            raise VaultError("it is damaged: no text of ansible-vault") from e
        for password in self._passwords:
            plain = _open(password, salt, digest, text)
            if plain is not None:
                return plain
        raise VaultError("it is encrypted by ansible-vault with another password, or damaged")


def _open(password: bytes, salt: bytes, digest: bytes, text: bytes) -> bytes | None:
    """Returns the plain text, or None where the password is another one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, hmac, padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    kdf = PBKDF2HMAC(
        algorithm=hashes.SHA256(), length=2 * _KEY + _IV, salt=salt, iterations=_ITERATIONS
    )
    keys = kdf.derive(password)
    signature = hmac.HMAC(keys[_KEY : 2 * _KEY], hashes.SHA256())
    signature.update(text)
    try:
        signature.verify(digest)
    except InvalidSignature:
        return None
    decryptor = Cipher(algorithms.AES(keys[:_KEY]), modes.CTR(keys[2 * _KEY :])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        return unpadder.update(decryptor.update(text) + decryptor.finalize()) + unpadder.finalize()
    except ValueError as e:
        raise VaultError("it is damaged: its padding is none") from e


def load_vault(password_file: str | Path | None) -> Vault:
    """Returns the vault that the password in `password_file` opens; None opens nothing.

    Raises `NothingToDoError` where the file is missing and `ConfigError` where it has no password
    in it.
    """
    if password_file is None:
        return Vault()
    path = expand_home(password_file)
    try:
        password = _first_bytes(path).strip()
    except FileNotFoundError as e:
        raise NothingToDoError(f"{path}: there is no such vault password file") from e
    except OSError as e:
        raise ConfigError(f"{path}: the vault password cannot be read: {e.strerror}") from e
    if os.access(path, os.X_OK):
        # Ansible would run it; run on a file that holds the password itself, that would look for it
        # as a command.
        raise ConfigError(
            f"{path}: a vault password program is not run: write its output into a file, mode 0600"
        )
    if not password or password.startswith(MARK):
        raise ConfigError(f"{path}: no vault password in it")
    return Vault(password)


def _first_bytes(path: Path) -> bytes:
    """Returns what a file or a pipe, such as a shell's <(PROGRAM), has to say; raises OSError where
    it is silent.
    """
    fd, data = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), b""
    try:
        for part in arriving(fd, _WAIT_S):
            data += part
            if len(data) >= _LONGEST:
                break
    finally:
        os.close(fd)
    return data


def arriving(fd: int, wait_s: float) -> Iterator[bytes]:
    """Yields what a file or a pipe gives as it comes; raises `TimeoutError` where all of it takes
    longer than that.
    """
    until = time.monotonic() + wait_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        part = os.read(fd, _LONGEST)
        if not part:
            return
        yield part
    raise TimeoutError(0, f"nothing came of it within {wait_s:g} s")


def decrypted_file(data: bytes, vault: Vault, *, source: str) -> bytes:
    """Returns `data`, decrypted where it is a vault; raises `InputError` where that cannot be done."""
    if not data.startswith(MARK):
        return data
    try:
        return vault.decrypt(data)
    except VaultError as e:
        message = str(e).removeprefix("it is ")
        raise InputError(
            message,
            source=source,
            line=1,
            hint="name its password with  --vault-password-file FILE",
        ) from e
