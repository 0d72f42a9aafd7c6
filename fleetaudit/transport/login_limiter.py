"""Limits how many connections to one address log in at once, so that sshd's MaxStartups drops none.

Rules: MaxStartups counts connections that are not logged in yet, so these are counted here, not
connections per second. A drop that our own connections may have caused halves the limit of the
address for the rest of the run. No connection waits past its deadline. Those that wait begin in
the order in which they came.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from dataclasses import dataclass, field

from . import Deadline, waiting

INITIAL_LIMIT = 8
"""Maximum number of connections that log in to one address at once, until one is dropped.

OpenSSH's default drops none below 10 (MaxStartups 10:30:100).
"""

_PAUSE_S = (0.05, 0.3)


@dataclass(slots=True)
class _Address:
    limit: int = INITIAL_LIMIT
    active: int = 0
    reductions: int = 0  # drops of connections that began together lower the limit once
    queue: deque[LoginSlot] = field(default_factory=deque)

    def admit(self) -> None:
        """Lets connections log in, those that wait longest first, up to the limit."""
        while self.queue and self.active < self.limit:
            self.active += 1
            slot = self.queue.popleft()
            slot._reductions, slot._active, slot._held = self.reductions, self.active, True
            slot._admitted.set()


@dataclass(slots=True, eq=False)
class LoginSlot:
    """One connection's permission to log in: taken by `acquire`, given back by `release`."""

    limiter: LoginLimiter
    address: tuple[str, int]
    _admitted: waiting.Flag = field(default_factory=waiting.Flag)
    _reductions: int = -1
    _active: int = 0
    _held: bool = False

    def acquire(self, deadline: Deadline) -> bool:
        """Waits until this connection may log in; returns False if the deadline comes first."""
        return self.limiter._acquire(self, deadline)

    def release(self) -> None:
        """Lets the next connection log in: this one is logged in, or closed. May be repeated."""
        self.limiter._release(self)

    def retry_after_drop(self, deadline: Deadline) -> bool:
        """Releases the slot after the host hung up before its greeting.

        Returns True, after a short random pause, if our own connections may have caused it and the
        caller should try again; False if this connection was alone.
        """
        return self.limiter._retry_after_drop(self, deadline)


@dataclass(slots=True)
class LoginLimiter:
    """The addresses of one run; safe to use from many threads."""

    _addresses: dict[tuple[str, int], _Address] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def slot(self, address: str, port: int) -> LoginSlot:
        """Returns the slot for one connection to this address, not acquired yet.

        `address` is a name or an IP address, without regard to case.
        """
        return LoginSlot(self, (address.lower(), port))

    def _acquire(self, slot: LoginSlot, deadline: Deadline) -> bool:
        """Waits until the address is below its limit."""
        slot._admitted = waiting.Flag()
        with self._lock:
            at = self._addresses.setdefault(slot.address, _Address())
            at.queue.append(slot)
            at.admit()
        try:
            slot._admitted.wait(deadline)
        finally:
            with self._lock:
                if not slot._held:
                    at.queue.remove(slot)
        return slot._held

    def _release(self, slot: LoginSlot) -> None:
        """Gives a slot back if it is held."""
        with self._lock:
            if slot._held:
                slot._held = False
                at = self._addresses[slot.address]
                at.active -= 1
                at.admit()

    def _retry_after_drop(self, slot: LoginSlot, deadline: Deadline) -> bool:
        """Lowers the limit if other connections were logging in too, and releases the slot.

        Returns whether the connection may be tried again, after a pause: a host that drops the only
        login does so for another reason. Of several drops at one limit the first lowers it.
        """
        with self._lock:
            at = self._addresses[slot.address]
            reduced_since = slot._reductions != at.reductions
            crowded = reduced_since or max(slot._active, at.active) > 1
            if crowded and not reduced_since:
                at.limit, at.reductions = max(1, at.limit // 2), at.reductions + 1
        self._release(slot)
        if not crowded:
            return False
        # A random pause, so that connections that were dropped together are not retried together.
        waiting.sleep(deadline.within(random.uniform(*_PAUSE_S)))  # noqa: S311
        return True
