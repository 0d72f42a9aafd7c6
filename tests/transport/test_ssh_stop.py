"""A run that stops: its deadlines come early, and every SSH wait notices that soon."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from fleetaudit.engine.control import start_host_deadline
from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Limits
from fleetaudit.transport.login_limiter import INITIAL_LIMIT
from fleetaudit.transport.registry import Transports
from tests.support.sshd import Server, require, wait_for
from tests.support.timing import BUSY_S


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_a_running_command_is_abandoned_soon_after_the_stop(sshd: Server, client: str) -> None:
    require("ssh")
    closing, ends = threading.Event(), list[float]()
    arguments = ("-F", "none") if client == "openssh" else ()
    target = sshd.target(client=client, arguments=arguments)

    def one() -> None:
        with pytest.raises(TransportError):
            Transports().run(
                target, "echo here; sleep 620.5", b"", start_host_deadline(600, closing), Limits()
            )
        ends.append(time.monotonic())

    before = sshd.log.read_text().count("Accepted publickey")
    thread = threading.Thread(target=one)
    thread.start()
    wait_for(lambda: sshd.log.read_text().count("Accepted publickey") > before, "the login")
    stopped = time.monotonic()
    closing.set()
    thread.join(300)
    assert ends
    assert ends[0] - stopped < BUSY_S


@pytest.mark.parametrize("holds", ["greeting", "connection"])
def test_a_silent_host_is_abandoned_soon_after_the_stop(holds: str) -> None:
    closing, transports = threading.Event(), Transports()
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = silent.getsockname()
        if (
            holds == "connection"
        ):  # the queue of those that nobody accepts is full: what comes now is dropped
            stack.enter_context(socket.create_connection(address))
        target = SshTarget(
            address="127.0.0.1", port=address[1], user="nobody", connect_timeout_s=600.0
        )
        stops = list[float]()

        def stop() -> None:
            stops.append(time.monotonic())
            closing.set()

        timer = threading.Timer(2.0, stop)
        timer.start()
        with pytest.raises(TransportError):
            transports.run(target, "true", b"", start_host_deadline(600, closing), Limits())
        assert stops, "it did not wait until the stop"
        assert time.monotonic() - stops[0] < 3 + BUSY_S


def test_a_host_that_waits_for_a_slot_stops_waiting(sshd: Server) -> None:
    closing, transports = threading.Event(), Transports()
    # The first connection imports the client.
    transports.run(sshd.target(), "true", b"", start_host_deadline(600, closing), Limits())
    holders = [
        transports.shared.login_limiter.slot("127.0.0.1", sshd.port) for _ in range(INITIAL_LIMIT)
    ]
    assert all(slot.acquire(start_host_deadline(5, closing)) for slot in holders)
    stops = list[float]()

    def stop() -> None:
        stops.append(time.monotonic())
        closing.set()

    threading.Timer(1.0, stop).start()
    with pytest.raises(TransportError, match="other connections"):
        transports.run(sshd.target(), "true", b"", start_host_deadline(600, closing), Limits())
    assert time.monotonic() - stops[0] < 3 + BUSY_S
