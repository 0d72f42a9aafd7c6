"""What an SSH host sends before the keys are agreed on: version line, KEXINIT, its key.

Without a server's private key no input can succeed: only `LinkError` is right, or nothing more to
read.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented("paramiko"):
    from fleetaudit.model import SshConfig
    from fleetaudit.transport import Deadline
    from fleetaudit.transport.ssh.link import LinkError
    from fleetaudit.transport.ssh.paramiko_transport import offer_for
    from fleetaudit.transport.ssh.session import Session
    from tests.fuzz.wire import InputLink, other_key, packets_of

VERSION = b"SSH-2.0-OpenSSH_9.2\r\n"
WORDS = (
    "SSH-2.0-", "SSH-1.99-", "\r\n", "curve25519-sha256@libssh.org", "ssh-ed25519", "aes128-ctr",
    "diffie-hellman-group-exchange-sha256", "kex-strict-s-v00@openssh.com", "none", "rsa-sha2-512",
    b"\x14", b"\x1f", b"\x15", b"\x00\x00\x00\x0b",
)  # fmt: skip
MOST_SENT = 64 * 1024


def TestOneInput(data: bytes) -> None:
    """Reads a greeting and a key exchange."""
    link = InputLink(data)
    session = Session(link, SshConfig(), other_key)
    session.stream.until = Deadline.after(30)
    try:
        session.propose(())
        session.greet()
        session.agree_on_keys()
    except LinkError as e:
        assert e.text.isprintable(), e.text
        assert len(e.text) < 2000
        session.disconnect()
        assert len(link.sent) < MOST_SENT
        return
    raise AssertionError("keys were agreed on with a host that has none")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def seeds() -> Iterable[bytes]:
    """Yields a whole key exchange with a wrong signature, parts of it, and other protocols."""
    lists = offer_for(SshConfig(), ()).lists
    kexinit = b"\x14" + bytes(16) + lists
    key = _string(_string(b"ssh-ed25519") + _string(bytes(32)))
    signature = _string(_string(b"ssh-ed25519") + _string(bytes(64)))
    reply = b"\x1f" + key + _string(b"\x09" + bytes(31)) + signature
    yield VERSION + packets_of([kexinit, reply, b"\x15"])
    yield VERSION + packets_of(
        [b"\x02" + _string(b"x"), kexinit, b"\x01\0\0\0\x02" + _string(b"y")]
    )
    groups = kexinit.replace(b"curve25519-sha256@libssh.org,", b"")
    for method in (b"diffie-hellman-group-exchange-sha256", b"ecdh-sha2-nistp256"):
        only = b"\x14" + bytes(16) + _string(method) + lists[4 + int.from_bytes(lists[:4], "big") :]
        group = b"\x1f" + _string(b"\x17") + _string(b"\x02")
        yield VERSION + packets_of([only, group, b"\x21" + key + _string(b"\x05") + signature])
        yield VERSION + packets_of([only, reply])
    yield b"banner\r\n" + VERSION + packets_of([groups])
    yield b"HTTP/1.1 400 Bad Request\r\n\r\n"
    yield b"SSH-1.5-x\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
