"""How many connections to one address may be logging in at once, so that sshd's MaxStartups drops
none of ours.

Rules: MaxStartups counts connections that are not logged in yet, so those are what is counted here,
not connections a second. A drop that may be our own crowd's doing halves what the address is given;
nothing raises it again in one run. Nobody waits past their deadline, and a deadline that comes
early (a run that stops) is noticed within `_LOOK_S`.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from . import Deadline

INITIAL_LIMIT = 8
"""Connections that one address gets at first: OpenSSH's own default lets 10 log in before it drops
any.
"""

_LOOK_S = 0.25
_PAUSE_S = (0.05, 0.3)


@dataclass(slots=True)
class _Address:
    most: int = INITIAL_LIMIT
    busy: int = 0
    era: int = 0  # how often `most` was lowered: drops of one crowd lower it once


@dataclass(slots=True)
class LoginSlot:
    """One connection's right to log in. `wait` takes it and `done` gives it back, as often as it
    was taken.
    """

    login_limiter: LoginLimiter
    address: tuple[str, int]
    _era: int = -1
    _crowd: int = 0
    _held: bool = False

    def wait(self, deadline: Deadline) -> bool:
        """Returns True once this connection may begin, False where the deadline came first."""
        return self.login_limiter._wait(self, deadline)

    def done(self) -> None:
        """Lets the next one begin: this one is logged in, or over. Doing it twice is doing it once."""
        self.login_limiter._done(self)

    def dropped(self, deadline: Deadline) -> bool:
        """Takes note that the host hung up before its greeting, and gives the turn back.

        Returns True, after a short random pause, where our own crowd may be why and another try is
        in order; False where this connection was alone.
        """
        return self.login_limiter._dropped(self, deadline)


@dataclass(slots=True)
class LoginLimiter:
    """The addresses of one run; safe to use from many threads."""

    _addresses: dict[tuple[str, int], _Address] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def turn(self, address: str, port: int) -> LoginSlot:
        """Returns what one connection to this address asks before it begins."""
        return LoginSlot(self, (address.lower(), port))

    def _wait(self, turn: LoginSlot, deadline: Deadline) -> bool:
        with self._changed:
            at = self._addresses.setdefault(turn.address, _Address())
            while at.busy >= at.most:
                if not deadline.remaining():
                    return False
                self._changed.wait(min(deadline.remaining(), _LOOK_S))
            at.busy += 1
            turn._era, turn._crowd, turn._held = at.era, at.busy, True
            return True

    def _done(self, turn: LoginSlot) -> None:
        with self._changed:
            if turn._held:
                turn._held = False
                self._addresses[turn.address].busy -= 1
                self._changed.notify_all()

    def _dropped(self, turn: LoginSlot, deadline: Deadline) -> bool:
        with self._changed:
            at = self._addresses[turn.address]
            crowded = max(turn._crowd, at.busy) > 1 or turn._era != at.era
            if crowded and turn._era == at.era:
                at.most, at.era = max(1, at.most // 2), at.era + 1
        self._done(turn)
        if not crowded:
            return False
        # At random, so that what was dropped together does not come back together.
        return not threading.Event().wait(min(random.uniform(*_PAUSE_S), deadline.remaining()))  # noqa: S311
