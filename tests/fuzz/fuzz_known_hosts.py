"""known_hosts files: `transport.known_hosts`.

The first line is the name that is looked up. A success finds the same lines by name, by key, and
with the hashed names left out.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable

from tests.fuzz.harness import as_text, fuzz, instrumented

with instrumented():
    from fleetaudit.transport.known_hosts import KnownHosts, decode_key, fingerprint

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ5rnZ4Xc6TRmMxMVYMUVAJg6sgBYlXcTKXFdHgpBFcY"
WORDS = (
    "ssh-ed25519", "ssh-rsa", "@revoked ", "@cert-authority ", "|1|", "*", "?", "!", ",", "[h]:22",
    " ", "\n", "#", KEY,
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Reads a file, and looks up a name in each way."""
    name, _, text = as_text(data).partition("\n")
    name = name.encode("utf-8", "replace").decode()
    hosts = KnownHosts()
    hosts.add(text, source="known_hosts")
    lines = text.count("\n") + 1
    by_key = {key: hosts.of_key(name, key) for key in [*hosts.hashed_by_key][:20]}
    found = hosts.of(name)
    assert not name.isascii() or hosts.of(name.upper()) == found
    clear = hosts.in_clear(name)
    assert set(clear) <= set(found)
    for entry in found:
        assert 1 <= entry.line <= lines
        assert entry in hosts.of_key(name, entry.text)
        assert not entry.has_whole_key or decode_key(entry.text)
        assert fingerprint(decode_key(entry.text)).startswith("SHA256:")
        assert not (entry.trusts(entry.text) and entry.revokes(entry.text))
    for key, entries in by_key.items():
        assert set(entries) == {entry for entry in found if entry.text == key}


def seeds() -> Iterable[bytes]:
    """Yields files with every kind of line."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, b"h", "sha1")
    hashed = "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))
    yield f"h\nh ssh-ed25519 {KEY} comment\n@revoked * ssh-ed25519 {KEY}\n".encode()
    yield f"h\n{hashed} ssh-ed25519 {KEY}\n|1|x|y ssh-rsa AAAA\n".encode()
    yield f"[h]:22\n@cert-authority *.a,!b.a,[h]:22 ssh-ed25519 {KEY}\n# c\nh ssh-rsa\n".encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
