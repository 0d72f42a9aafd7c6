"""The view of services: which lose answers, how they close, and the cures."""

from __future__ import annotations

import msgspec

from .kernels import Verdict
from .listed import ListedHosts
from .summary import Sentence
from .traces import Trace


class CheckLine(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a service, and one way of writing the request.

    `answered` is how many of the `tries` clients got the answer, None for a check that is not about
    answers. `seen` is what was seen, `error` the first error of a client. `expected` is "" if the
    expectation is met, or if there is none.
    """

    check: str
    writing: str
    answered: int | None
    tries: int
    seen: str
    error: str
    expected: str
    verdict: Verdict
    verdict_text: str


class CureView(msgspec.Struct, frozen=True, kw_only=True):
    """What helps in one check, and its sources: each a text, and an address or ""."""

    check: str
    text: str
    sources: tuple[tuple[str, str], ...]


class ServiceCard(msgspec.Struct, frozen=True, kw_only=True):
    """One service on the hosts on which it did the same.

    `server` is what it calls itself, `units` are the first units or containers. `closes` says after
    how long it closes an idle connection, "" if that was not asked.
    """

    anchor: str
    name: str
    target: str
    product: str
    server: str
    executable: str
    units: tuple[str, ...]
    answered: int
    tries: int
    closes: str
    verdict: Verdict
    verdict_text: str
    checks: tuple[CheckLine, ...]
    cures: tuple[CureView, ...]
    traces: tuple[Trace, ...]
    at: ListedHosts

    @property
    def loses(self) -> bool:
        """Whether some client lost its answer."""
        return self.answered < self.tries


class NotAskedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A service, or one check of it, that could not be asked; `hint` is what to do next."""

    service: str
    check: str
    problem: str
    hint: str
    is_command: bool
    at: ListedHosts


class ServicesView(msgspec.Struct, frozen=True, kw_only=True):
    """What the services did, those that lose most answers first; what is not listed is counted."""

    headline: Sentence
    cards: tuple[ServiceCard, ...]
    more_cards: int
    not_asked: tuple[NotAskedLine, ...]
    more_not_asked: int
