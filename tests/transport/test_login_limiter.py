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


def test_each_address_has_its_own_limit_of_logins() -> None:
    limiter = LoginLimiter()
    slots = [limiter.slot("web", 22) for _ in range(INITIAL_LIMIT + 1)]
    assert [slot.acquire(Deadline.after(0)) for slot in slots] == [True] * INITIAL_LIMIT + [False]
    assert limiter.slot("web", 2222).acquire(Deadline.after(0))
    assert limiter.slot("db", 22).acquire(Deadline.after(0))
    slots[0].release()
    slots[0].release()
    assert slots[-1].acquire(Deadline.after(0))
    assert not limiter.slot("WEB", 22).acquire(Deadline.after(0))


def test_drops_of_connections_that_began_together_halve_the_limit_once_and_each_may_retry() -> None:
    limiter = LoginLimiter()
    crowd = [limiter.slot("web", 22) for _ in range(INITIAL_LIMIT)]
    assert all(slot.acquire(Deadline.after(0)) for slot in crowd)
    assert all(slot.retry_after_drop(Deadline.after(5)) for slot in crowd)
    again = [limiter.slot("web", 22) for _ in range(INITIAL_LIMIT)]
    assert sum(slot.acquire(Deadline.after(0)) for slot in again) == INITIAL_LIMIT // 2


def test_a_dropped_connection_that_was_alone_is_not_retried() -> None:
    slot = LoginLimiter().slot("web", 22)
    assert slot.acquire(Deadline.after(0))
    assert not slot.retry_after_drop(Deadline.after(5))
    assert slot.acquire(Deadline.after(0))


def test_a_waiting_connection_begins_as_soon_as_another_is_logged_in() -> None:
    limiter = LoginLimiter()
    first = [limiter.slot("web", 22) for _ in range(INITIAL_LIMIT)]
    assert all(slot.acquire(Deadline.after(0)) for slot in first)
    threading.Timer(0.1, first[0].release).start()
    began = time.monotonic()
    assert limiter.slot("web", 22).acquire(Deadline.after(20))
    assert time.monotonic() - began < 5 + BUSY_S


def test_a_slot_that_is_not_free_in_time_has_its_own_reason(start_sshd: Start) -> None:
    server, transports = start_sshd(), Transports()
    holders = [
        transports.shared.login_limiter.slot("127.0.0.1", server.port) for _ in range(INITIAL_LIMIT)
    ]
    assert all(slot.acquire(Deadline.after(0)) for slot in holders)
    with pytest.raises(TransportError, match="other connections to") as e:
        transports.run(server.target(), "true", b"", Deadline.after(0.5), Limits())
    assert (e.value.stage, bool(e.value.hint)) == ("connect", True)
