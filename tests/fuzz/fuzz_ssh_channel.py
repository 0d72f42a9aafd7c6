"""What an SSH host sends while a command runs, or while it forwards to the next host:
`transport.ssh.channel`, `channel_end`, `tunnel`.

The input is messages, as if a user were logged in. A success keeps to the limits of both streams,
and to the window that the host gave.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented("paramiko"):
    from fleetaudit.transport import Deadline, Limits
    from fleetaudit.transport.ssh.channel import Channel, CommandRefused
    from fleetaudit.transport.ssh.link import LinkError
    from fleetaudit.transport.ssh.session import Session
    from fleetaudit.transport.ssh.tunnel import ForwardRefused, TunnelLink
    from fleetaudit.transport.stdin_dialogue import FixedStdin
    from tests.fuzz.wire import MARK, messages_of, session_with

LIMITS = Limits(stdout=20_000, stderr=2_000)
STDIN = b"program" * 1000
TUNNEL = 7
WORDS = (
    MARK, "exit-status", "exit-signal", "KILL", b"\x5b", b"\x5c", b"\x5d", b"\x5e", b"\x5f",
    b"\x60", b"\x61", b"\x62", b"\x63", b"\x64", b"\0\0\0\0", b"\0\0\0\x01", b"\0\0\0\x07",
    b"\xff\xff\xff\xff", b"\0\x20\0\0",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Runs a command, or reads through a tunnel."""
    is_tunnel, messages = data[:1] > b"\x80", messages_of(data[1:])
    session, link = session_with(messages)
    if is_tunnel:
        _read_through_tunnel(session)
    else:
        _run_command(session)
    session.disconnect()
    # 32 bytes for each message, in packets of 32 KiB: nothing of ours grows beyond what is sent.
    assert len(link.sent) < 2 * len(STDIN) + 200 * (len(messages) + 10) + 40 * len(STDIN)


def _run_command(session: Session) -> None:
    """Runs a command whose output is bounded."""
    channel = Channel(session, Deadline.after(30), LIMITS)
    try:
        output = channel.run("command", FixedStdin(STDIN))
    except (LinkError, CommandRefused) as e:
        assert str(e).isprintable(), str(e)
    else:
        assert output.cut in ("", "stdout", "stderr")
        assert output.exit_status is None or 0 <= output.exit_status < 2**32
    assert len(channel.stdout) <= LIMITS.stdout
    assert len(channel.stderr) <= LIMITS.stderr


def _read_through_tunnel(session: Session) -> None:
    """Reads through a tunnel until it ends."""
    tunnel = TunnelLink(session, TUNNEL, "gate")
    try:
        tunnel.open("inner", 22, Deadline.after(30))
        out = bytearray(STDIN)
        while True:
            assert tunnel.exchange(out, Deadline.after(30), lambda: 1.0)
    except (LinkError, ForwardRefused) as e:
        assert str(e).isprintable(), str(e)
    tunnel.close()


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def seeds() -> Iterable[bytes]:
    """Yields commands that end in each way, and tunnels."""
    for first, number in ((b"\0", bytes(4)), (b"\xff", TUNNEL.to_bytes(4, "big"))):
        opened = b"\x5b" + number + b"\0\0\0\x01" + b"\0\x20\0\0" + b"\0\0\x80\0"
        refused = b"\x5c" + number + b"\0\0\0\x01" + _string(b"no") + _string(b"")
        data = b"\x5e" + number + _string(b"out")
        error = b"\x5f" + number + b"\0\0\0\x01" + _string(b"err")
        window = b"\x5d" + number + b"\0\0\0\x10"
        status = b"\x62" + number + _string(b"exit-status") + b"\0" + b"\0\0\0\x02"
        killed = b"\x62" + number + _string(b"exit-signal") + b"\1" + _string(b"KILL")
        end, close = b"\x60" + number, b"\x61" + number
        yield first + MARK.join([opened, b"\x63" + number, data, error, window, status, end, close])
        yield first + MARK.join([opened, b"\x64" + number])
        yield first + MARK.join([opened, killed, data, close])
        yield first + MARK.join([refused])
        yield first + MARK.join(
            [opened, *[data] * 50, window, b"\x62" + number + _string(b"x") + b"\1"]
        )


if __name__ == "__main__":
    fuzz(TestOneInput)
