"""Files and values encrypted by ansible-vault: AES256, formats 1.1 and 1.2.

Rules: the password comes from a file, never from a prompt, an option's value or a program. No
message repeats a password or a decrypted text. `cryptography` is imported only to decrypt.
"""

from __future__ import annotations

import binascii
import os
import re
from pathlib import Path

from fleetaudit.errors import (
    ConfigError,
    FleetauditError,
    InputError,
    NothingToDoError,
)
from fleetaudit.model import core_dumps
from fleetaudit.text.files import expand_home
from fleetaudit.text.pipes import read_chunks

MARK = b"$ANSIBLE_VAULT;"
"""What every encrypted file or value begins with."""
_HEADER = re.compile(rb"\$ANSIBLE_VAULT;1\.[12];AES256(?:;[^\s;]*)?\s*")
_MAX_PASSWORD_BYTES = 65_536
_WAIT_S = 60.0
_ITERATIONS, _KEY_BYTES, _IV_BYTES = 10_000, 32, 16


class VaultError(FleetauditError):
    """Something that cannot be decrypted; the caller adds where it is written."""


class Vault:
    """The known passwords, tried in turn; none by default.

    A text that several hosts share is decrypted once. Vault IDs in the header are ignored: every
    password is tried, as Ansible does unless DEFAULT_VAULT_ID_MATCH is set.
    """

    def __init__(self, *passwords: bytes) -> None:
        """Keeps the passwords in memory only: with any, this process leaves no core dump."""
        if passwords:
            core_dumps.disable()
        self._passwords = passwords
        self._decrypted = dict[bytes, bytes]()

    def decrypt(self, envelope: bytes) -> bytes:
        """Returns the plain text of `envelope`, which begins with the header.

        The envelope is what ansible-vault writes: a line `$ANSIBLE_VAULT;1.1;AES256`, or 1.2 with
        a vault ID, and lines of hexadecimal digits. Raises `VaultError` without a password, for a
        wrong one, for another format, and for a damaged envelope. Ansible: "Encrypting content with
        Ansible Vault: ansible-vault payload format", and `VaultAES256` in parsing/vault.
        """
        if not self._passwords:
            raise VaultError("it is encrypted by ansible-vault, and no password was given")
        if envelope not in self._decrypted:
            self._decrypted[envelope] = self._decrypt(envelope)
        return self._decrypted[envelope]

    def _decrypt(self, envelope: bytes) -> bytes:
        """Returns the plain text of an envelope that is decrypted for the first time."""
        salt, digest, ciphertext = _parse_envelope(envelope)
        for password in self._passwords:
            plain = _try_password(password, salt, digest, ciphertext)
            if plain is not None:
                return plain
        raise VaultError("it is encrypted by ansible-vault with another password, or damaged")


def _parse_envelope(envelope: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns the salt, the HMAC digest and the ciphertext of an envelope."""
    header, _, body = envelope.strip().partition(b"\n")
    if not _HEADER.fullmatch(header):
        raise VaultError(
            "it is encrypted in an unsupported format of ansible-vault; expected 1.1 or 1.2 with"
            " AES256"
        )
    try:
        parts = binascii.unhexlify(b"".join(body.split())).split(b"\n", 2)
        salt, digest, ciphertext = map(binascii.unhexlify, parts)
    except ValueError as e:
        raise VaultError("it is damaged: not a text of ansible-vault") from e
    return salt, digest, ciphertext


def _try_password(password: bytes, salt: bytes, digest: bytes, ciphertext: bytes) -> bytes | None:
    """Returns the plain text, None if the password is another one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, hmac
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    kdf = PBKDF2HMAC(
        algorithm=hashes.SHA256(),
        length=2 * _KEY_BYTES + _IV_BYTES,
        salt=salt,
        iterations=_ITERATIONS,
    )
    keys = kdf.derive(password)
    signature = hmac.HMAC(keys[_KEY_BYTES : 2 * _KEY_BYTES], hashes.SHA256())
    signature.update(ciphertext)
    try:
        signature.verify(digest)
    except InvalidSignature:
        return None
    return _decrypt_aes(ciphertext, key=keys[:_KEY_BYTES], iv=keys[2 * _KEY_BYTES :])


def _decrypt_aes(ciphertext: bytes, *, key: bytes, iv: bytes) -> bytes:
    """Returns the plain text of AES in counter mode, without its PKCS#7 padding."""
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as e:
        raise VaultError("it is damaged: its padding is not valid") from e


def load_vault(password_file: str | Path | None) -> Vault:
    """Returns the vault that the password in `password_file` decrypts; None decrypts nothing.

    The path may begin with `~`, and may be a pipe, such as a shell's <(PROGRAM), from which a
    password comes within 60 s. Blanks around the password do not count, as in Ansible. Raises
    `NothingToDoError` if the file is missing, and `ConfigError` if it cannot be read, has no
    password in it, is itself encrypted, or is a program, which Ansible would run.
    """
    if password_file is None:
        return Vault()
    core_dumps.disable()
    path = expand_home(password_file)
    password = _read_password(path)
    if os.access(path, os.X_OK):
        # Ansible would run it; run on a file that holds the password itself, that would look for it
        # as a command.
        raise ConfigError(
            f"{path}: a vault password program is not run: write its output into a file, mode 0600"
        )
    if not password or password.startswith(MARK):
        raise ConfigError(f"{path}: no vault password in it")
    return Vault(password)


def _read_password(path: Path) -> bytes:
    """Returns the password in a file, without blanks around it.

    Raises `NothingToDoError` if the file is missing and `ConfigError` if it cannot be read.
    """
    try:
        return _read_start(path).strip()
    except FileNotFoundError as e:
        raise NothingToDoError(f"{path}: there is no such vault password file") from e
    except OSError as e:
        raise ConfigError(f"{path}: the vault password cannot be read: {e.strerror}") from e


def _read_start(path: Path) -> bytes:
    """Returns the first bytes of a file or a pipe, such as a shell's <(PROGRAM).

    Raises OSError, also if a pipe has nothing to read in time.
    """
    fd, data = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), b""
    try:
        for chunk in read_chunks(fd, _WAIT_S):
            data += chunk
            if len(data) >= _MAX_PASSWORD_BYTES:
                break
    finally:
        os.close(fd)
    return data


def decrypt_file(data: bytes, vault: Vault, *, source: str) -> bytes:
    """Returns the bytes of a file, decrypted if the whole file is encrypted.

    `source` is the name of the file in messages. Raises `InputError` at its first line if the
    password is missing or wrong, with the option that names it.
    """
    core_dumps.disable_for(data)
    if not data.startswith(MARK):
        return data
    try:
        return vault.decrypt(data)
    except VaultError as e:
        raise InputError(
            str(e).removeprefix("it is "),
            source=source,
            line=1,
            hint="name its password with  --vault-password-file FILE",
        ) from e
