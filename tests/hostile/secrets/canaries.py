"""The secrets of the tests, and the search for them in any form."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KINDS = ("login", "become", "vault", "vaulted", "passphrase", "wrong")
_LEAST_KEY_LINE = 40


class Canaries:
    """The texts by kind; random in each instance, so that nothing of an earlier one is found."""

    def __init__(self) -> None:
        self.texts = {kind: f"{secrets.token_hex(9)}-“{kind}” &" for kind in KINDS}
        self._patterns = dict[str, re.Pattern[bytes]]()
        for kind, text in self.texts.items():
            self._add(kind, text.partition("-")[0].encode())

    def __getitem__(self, kind: str) -> str:
        return self.texts[kind]

    def add_key(self, path: Path) -> None:
        """Adds the contents of a private key, line by line."""
        lines = [line for line in path.read_text().splitlines() if "--" not in line]
        raw = base64.b64decode("".join(lines))
        inner = [line for line in lines[2:] if len(line) > _LEAST_KEY_LINE]
        parts = [re.escape(line.encode()) for line in inner]
        parts.append(re.escape(raw[-80:-16]))
        self._patterns["private key"] = re.compile(b"|".join(parts))

    def _add(self, kind: str, core: bytes) -> None:
        """Adds a canary by its core, which is letters and digits alone: it is the same as it is
        escaped for JSON, HTML, XML, URLs, shells and Python.
        """
        forms = dict.fromkeys(_forms(core))
        self._patterns[kind] = re.compile(b"|".join(map(re.escape, forms)))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are searched for."""
        return tuple(self._patterns)

    def found_in(self, data: bytes) -> list[str]:
        """Returns the kinds of the canaries that are in some bytes, in any form."""
        return [kind for kind, pattern in self._patterns.items() if pattern.search(data)]


def _forms(core: bytes) -> Iterator[bytes]:
    """Yields the forms of a text: as it is, in UTF-16, backwards, in hex and in base64."""
    wide = core.decode().encode("utf-16-le")
    for plain in (core, core[::-1], wide, wide[::-1]):
        yield plain
        yield binascii.hexlify(plain)
        yield binascii.hexlify(plain).upper()
        yield from _base64(plain)
    yield "".join(f"\\x{byte:02x}" for byte in core).encode()
    yield "".join(f"%{byte:02X}" for byte in core).encode()
    yield "".join(f"\\u{byte:04x}" for byte in core).encode()


def _base64(plain: bytes) -> Iterator[bytes]:
    """Yields what is the same of a text in base64, whatever stands around it."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + plain)
        yield text[4 if before else 0 : -4]


def vault_encrypt(plain: str, password: str) -> str:
    """Returns a text as ansible-vault encrypts it."""
    salt = secrets.token_bytes(32)
    derived = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 10_000, 80)
    data = plain.encode()
    data += bytes([16 - len(data) % 16]) * (16 - len(data) % 16)
    encryptor = Cipher(algorithms.AES(derived[:32]), modes.CTR(derived[64:])).encryptor()
    ciphertext = encryptor.update(data) + encryptor.finalize()
    digest = hmac.digest(derived[32:64], ciphertext, "sha256")
    body = binascii.hexlify(b"\n".join(map(binascii.hexlify, (salt, digest, ciphertext)))).decode()
    lines = [body[at : at + 80] for at in range(0, len(body), 80)]
    return "\n".join(["$ANSIBLE_VAULT;1.1;AES256", *lines])
