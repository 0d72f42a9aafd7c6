"""What an SSH host sends while a user logs in: `transport.ssh.userauth`, keyboard-interactive, and
the session's own messages, rekeying too.

The input is messages, as if the keys were agreed on. A success needs the host's word for it, and
the password is sent once for each method at most.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented("paramiko"):
    from fleetaudit.model import Secret, SshConfig
    from fleetaudit.transport import Deadline
    from fleetaudit.transport.ssh.identities import Identity
    from fleetaudit.transport.ssh.keyboard_interactive import LoginRefused
    from fleetaudit.transport.ssh.link import LinkError
    from fleetaudit.transport.ssh.paramiko_transport import offer_for
    from fleetaudit.transport.ssh.userauth import UserAuth
    from tests.fuzz.wire import MARK, messages_of, session_with

PASSWORD = "correct-horse-battery"
SUCCESS = 52
WORDS = (
    MARK, "publickey", "password", "keyboard-interactive", "server-sig-algs", "ssh-ed25519",
    "keepalive@openssh.com", "ssh-userauth", "Password: ", "Account locked", "Verification code",
    b"\x33", b"\x34", b"\x35", b"\x3c", b"\x06", b"\x07", b"\x01", b"\x14", b"\x50", b"\x5a",
    b"\0\0\0\x01", b"\xff\xff\xff\xff",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Logs in with a key and a password, to a host that answers with these messages."""
    way, messages = data[:1], messages_of(data[1:])
    session, link = session_with(messages)
    session._paramiko._offer = offer_for(SshConfig(), ())
    login = UserAuth(session, "audit", Deadline.after(30))
    keys = (Identity("a key", b"\0\0\0\x0bssh-ed25519" + bytes(36), lambda *_: b"signature"),)
    password = Secret(PASSWORD) if way > b"\x40" else None
    sent_in_time = True
    try:
        login.run(keys if way > b"\x20" else (), password)
        assert any(message[0] == SUCCESS for message in messages), "logged in without the host"
    except (LinkError, LoginRefused) as e:
        sent_in_time = not isinstance(e, LoginRefused)
        assert PASSWORD not in str(e)
    summary = login.summary()
    assert summary.isprintable()
    assert len(summary) < 8000
    session.disconnect()
    assert link.sent.count(PASSWORD.encode()) <= 2
    assert sent_in_time or link.sent or not messages


def _string(text: str) -> bytes:
    return len(text).to_bytes(4, "big") + text.encode()


def seeds() -> Iterable[bytes]:
    """Yields logins that end in each way."""
    service = b"\x06" + _string("ssh-userauth")
    extensions = b"\x07\0\0\0\x01" + _string("server-sig-algs") + _string("ssh-ed25519")
    refusal = b"\x33" + _string("publickey,password,keyboard-interactive") + b"\0"
    partial = b"\x33" + _string("password") + b"\1"
    banner = b"\x35" + _string("Account locked\r\n") + _string("")
    question = b"\x3c" + _string("") * 3 + b"\0\0\0\x01" + _string("Password: ") + b"\0"
    messages = b"\x3c" + _string("hello") + _string("") * 2 + b"\0\0\0\0"
    success = b"\x34"
    ignore, debug = b"\x02" + _string("x"), b"\x04\1" + _string("x") + _string("")
    kexinit = b"\x14" + bytes(16) + offer_for(SshConfig(), ()).lists
    global_request = b"\x50" + _string("keepalive@openssh.com") + b"\1"
    disconnect = b"\x01\0\0\0\x02" + _string("too many") + _string("")
    open_ = b"\x5a" + _string("session") + b"\0\0\0\1" * 3
    for messages_ in (
        [extensions, service, success],
        [service, refusal, question, success],
        [service, banner, refusal, messages, question, refusal, refusal],
        [service, partial, question, success],
        [service, refusal, refusal, refusal],
        [ignore, debug, global_request, open_, service, disconnect],
        [kexinit, b"\x1f" + _string("x") * 3, success],
        [b"\x3c" + _string("ssh-ed25519") + _string("blob"), success],
    ):
        yield b"\x80" + MARK.join(messages_)
        yield b"\x30" + MARK.join(messages_)
    yield b"\x10" + success


if __name__ == "__main__":
    fuzz(TestOneInput)
