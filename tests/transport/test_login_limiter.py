"""Many hosts behind one server: connections that are not logged in yet are counted, and none is
lost to MaxStartups.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.login_limiter import INITIAL_LIMIT, LoginLimiter
from fleetaudit.transport.registry import Transports
from tests.support.sshd import Start
from tests.support.timing import BUSY_S


def test_sixty_hosts_behind_one_server_that_drops_connections_are_all_reached(
    start_sshd: Start,
) -> None:
    server = start_sshd("MaxStartups 3:50:10")
    transports = Transports()

    def one(number: int) -> bytes:
        return transports.run(
            server.target(), f"echo {number}", b"", Deadline.after(60), Limits()
        ).stdout

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(one, range(60))) == [f"{n}\n".encode() for n in range(60)]
    # The server did drop some: without that the test would show nothing.
    assert "drop connection" in server.log.read_text()


def test_an_address_gets_so_many_at_once_and_another_address_has_its_own() -> None:
    login_limiter = LoginLimiter()
    turns = [login_limiter.turn("web", 22) for _ in range(INITIAL_LIMIT + 1)]
    assert [turn.wait(Deadline.after(0)) for turn in turns] == [True] * INITIAL_LIMIT + [False]
    assert login_limiter.turn("web", 2222).wait(Deadline.after(0))
    assert login_limiter.turn("db", 22).wait(Deadline.after(0))
    turns[0].done()
    turns[0].done()
    assert turns[-1].wait(Deadline.after(0))
    assert not login_limiter.turn("WEB", 22).wait(Deadline.after(0))


def test_the_drops_of_one_crowd_halve_it_once_and_each_may_try_again() -> None:
    login_limiter = LoginLimiter()
    crowd = [login_limiter.turn("web", 22) for _ in range(INITIAL_LIMIT)]
    assert all(turn.wait(Deadline.after(0)) for turn in crowd)
    assert all(turn.dropped(Deadline.after(5)) for turn in crowd)
    again = [login_limiter.turn("web", 22) for _ in range(INITIAL_LIMIT)]
    assert sum(turn.wait(Deadline.after(0)) for turn in again) == INITIAL_LIMIT // 2


def test_a_drop_of_a_connection_that_was_alone_is_told_and_not_tried_again() -> None:
    turn = LoginLimiter().turn("web", 22)
    assert turn.wait(Deadline.after(0))
    assert not turn.dropped(Deadline.after(5))
    assert turn.wait(Deadline.after(0))


def test_whoever_waits_begins_as_soon_as_another_is_done() -> None:
    login_limiter = LoginLimiter()
    first = [login_limiter.turn("web", 22) for _ in range(INITIAL_LIMIT)]
    assert all(turn.wait(Deadline.after(0)) for turn in first)
    threading.Timer(0.1, first[0].done).start()
    began = time.monotonic()
    assert login_limiter.turn("web", 22).wait(Deadline.after(20))
    assert time.monotonic() - began < 5 + BUSY_S


def test_a_turn_that_does_not_come_in_time_is_a_reason_of_its_own(start_sshd: Start) -> None:
    server, transports = start_sshd(), Transports()
    holders = [
        transports.login_limiter.turn("127.0.0.1", server.port) for _ in range(INITIAL_LIMIT)
    ]
    assert all(turn.wait(Deadline.after(0)) for turn in holders)
    with pytest.raises(TransportError, match="other connections to") as e:
        transports.run(server.target(), "true", b"", Deadline.after(0.5), Limits())
    assert (e.value.stage, bool(e.value.hint)) == ("connect", True)
