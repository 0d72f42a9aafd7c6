"""Services: what a playbook asks of a listener."""

from __future__ import annotations

from typing import Literal

from .base import Frozen
from .condition import Condition

ServiceCheckName = Literal["early answer", "idle", "pipelined", "unread request"]
SERVICE_CHECKS: tuple[ServiceCheckName, ...] = (
    "early answer",
    "idle",
    "pipelined",
    "unread request",
)
Writing = Literal[
    "send all, then read",
    "read while sending",
    "Expect: 100-continue",
    "chunked",
    "half-close",
]
WRITINGS: tuple[Writing, ...] = (
    "send all, then read",
    "read while sending",
    "Expect: 100-continue",
    "chunked",
    "half-close",
)
"""The ways in which a client writes a request with a large body."""


class Service(Frozen, frozen=True, kw_only=True):
    """What a play asks of one listener of a host.

    `url` is "" for a service that does not speak HTTP: then `address` and `port` are those of the
    listener and `payload` is what is sent. `address` is an IP address of the host itself, by
    default of its loopback. `body` is how many bytes a large request has, at most, and `tries` how
    often each way of writing is tried. `idle_at_least` is for how many seconds an idle connection
    is expected to stay open, null for no expectation; `idle_at_most` is when to stop waiting.
    `statuses` are the early answer's expected ones, () for any. `ending` is the expected one of
    "unread request", "" for no expectation. `when` is where the expectations apply.
    """

    name: str
    url: str = ""
    address: str = "127.0.0.1"
    port: int
    method: str = "POST"
    body: int = 20_000_000
    tries: int = 4
    payload: str = ""
    checks: tuple[ServiceCheckName, ...] = SERVICE_CHECKS
    writings: tuple[Writing, ...] = WRITINGS
    statuses: tuple[int, ...] = ()
    idle_at_least: float | None = None
    idle_at_most: float = 120.0
    ending: Literal["FIN", "RST", ""] = ""
    severity: Literal["info", "warning", "error"] = "warning"
    because: str = ""
    fix: str = ""
    tags: tuple[str, ...] = ()
    when: Condition = Condition()

    @property
    def target(self) -> str:
        """What is asked: the URL, or the address and the port, with an IPv6 address in brackets."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return self.url or f"{address}:{self.port}"

    @property
    def longest_s(self) -> float:
        """The seconds after which it is not asked any more; its checks run one after the other."""
        waits = self.idle_at_most if "idle" in self.checks else 0.0
        return waits + SERVICE_BUDGET_S


SERVICE_BUDGET_S = 60.0
"""The seconds that all checks of a service may take, without the wait of "idle"."""
