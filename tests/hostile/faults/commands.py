"""How a command ends on a host that misbehaves, and what it prints."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from paramiko import common

from .messages import stall
from .recording import FIRST_LINE
from .server import Command, Exec, Field, message, quietly, run_well

MANY = 1024 * 1024 * 1024
PIECE = 32 * 1024
DATA, EXTENDED = common.MSG_CHANNEL_DATA, common.MSG_CHANNEL_EXTENDED_DATA


def says_nothing(run: Exec) -> None:
    """Runs nothing, and reads all input."""
    while run.channel.recv(65536):
        pass
    time.sleep(600)


def no_status(run: Exec) -> None:
    run.out(run.start())
    run.eof()
    run.close()


def no_status_no_close(run: Exec) -> None:
    run.out(run.start())
    run.eof()


def nothing_at_the_end(run: Exec) -> None:
    run.out(run.start())


def status_first(run: Exec) -> None:
    rest = run.start()
    run.status()
    run.out(rest)
    run.eof()
    run.close()


def no_eof(run: Exec) -> None:
    run.out(run.start())
    run.status()
    run.close()


def no_eof_no_close(run: Exec) -> None:
    run.out(run.start())
    run.status()


def data_after_exit(run: Exec) -> None:
    """Prints the reply, ends, and prints on."""
    run.out(run.start())
    run.status()
    for _ in range(20):
        run.out(b"and another thing\n")
        time.sleep(0.02)
    run.eof()
    run.close()


def endless_after_exit(run: Exec) -> None:
    """Prints the reply, ends, and prints on without end."""
    run.out(run.start())
    run.status()
    while True:
        run.out(b"and another thing\n")
        time.sleep(0.05)


def data_after_close(run: Exec) -> None:
    run.out(run.start())
    run.status()
    run.eof()
    run.close()
    for _ in range(100):
        run.send(DATA, b"x" * 1000)


def signalled(run: Exec) -> None:
    run.send(common.MSG_CHANNEL_REQUEST, "exit-signal", False, "KILL", False, "killed", "")
    run.eof()
    run.close()


def half_then_hang_up(run: Exec) -> None:
    rest = run.start()
    run.out(rest[: len(rest) // 2])
    run.wire.hang_up()


def half_then_stall(run: Exec) -> None:
    rest = run.start()
    run.out(rest[: len(rest) // 2])
    run.wire.silent = True
    time.sleep(600)


def half_then_close(run: Exec) -> None:
    rest = run.start()
    run.out(rest[: len(rest) // 2])
    run.close()


def at_once(*ends: str) -> Command:
    """Returns what ends at once: with an end of the output, a status, a close."""

    def play(run: Exec) -> None:
        for end in ends:
            getattr(run, end)()
        time.sleep(600)

    return play


def prints(*streams: int, piece: bytes = bytes(PIECE), within: bool = True) -> Command:
    """Returns what prints 1 GB on each stream, 1 or 2; `within` the window, or without asking."""

    def one(run: Exec, stream: int) -> None:
        for _ in range(MANY // len(piece)):
            if not within:
                run.send(DATA, piece) if stream == 1 else run.send(EXTENDED, 1, piece)
            elif stream == 1:
                run.channel.sendall(piece)
            else:
                run.channel.sendall_stderr(piece)

    def play(run: Exec) -> None:
        run.start()
        threads = [threading.Thread(target=quietly, args=(one, run, stream)) for stream in streams]
        for thread in threads:
            thread.daemon = True
            thread.start()
        for thread in threads:
            thread.join()

    return play


def other_streams(run: Exec) -> None:
    """Prints on a stream that there is not."""
    run.start()
    while True:
        run.send(EXTENDED, 7, bytes(PIECE))


def then(number: int, *fields: Field) -> Command:
    """Returns what sends one message about the channel while the command runs, and waits."""

    def play(run: Exec) -> None:
        run.send(number, *fields)
        time.sleep(600)

    return play


def without_end(number: int, fields: Sequence[Field], *, channel: bool = True) -> Command:
    """Returns what sends one message again and again while the command runs."""

    def play(run: Exec) -> None:
        while True:
            if channel:
                run.send(number, *fields)
            else:
                run.wire.put(message(number, *fields))

    return play


def reply_then(piece: bytes) -> Command:
    """Returns what prints the line of the shell, and then something, and ends well."""

    def play(run: Exec) -> None:
        run.start()
        run.out(piece)
        run.status()
        run.eof()
        run.close()

    return play


def prints_first(piece: bytes) -> Command:
    """Returns what prints something before the command begins, as a start-up file may."""

    def play(run: Exec) -> None:
        run.out(piece)
        run_well(run)

    return play


def asks_for_keys(*, answers: bool) -> Command:
    """Returns what begins a key exchange while the command runs: again and again if it goes on
    with each, else once.
    """

    def play(run: Exec) -> None:
        transport = run.channel.get_transport()
        run.out(b"x\n")
        if not answers:
            transport._send_kex_init()  # type: ignore[attr-defined]
            stall(run.wire, message(0))
            time.sleep(600)
        while transport.is_active():
            transport.renegotiate_keys()

    return play


def tiny_window(run: Exec) -> None:
    """Lets the client send one byte at a time."""
    run.out(FIRST_LINE)
    while run.channel.recv(1):
        run.send(common.MSG_CHANNEL_WINDOW_ADJUST, 1)
