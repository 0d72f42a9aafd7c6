"""The rows of "Services": per service over the fleet, with its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fleetaudit.model import ServiceCheckName
from fleetaudit.model.base import Frozen
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.phrases import surround

from .servers import Cure

ANSWER_CHECKS: tuple[ServiceCheckName, ...] = ("early answer", "pipelined")
"""The checks in which a client can lose its answer."""


class CheckRow(Frozen, frozen=True, kw_only=True):
    """The tries of one check, and of one way of writing for "early answer" (else `writing` is "").

    `answered` of the `tries` clients got a status, `resets` ended in RST, `fins` in FIN, and `open`
    were still open when the time was over. `statuses` are the HTTP statuses with their counts, the
    most frequent first. `seconds` are the least and the greatest wait for the server's close, None
    if it never closed. `unread` is how many clients lost an answer that had arrived: they gave up
    when they could not send. `error` is the first error of a client.
    """

    check: ServiceCheckName
    writing: str = ""
    tries: int
    answered: int
    resets: int
    open: int
    unread: int = 0
    fins: int = 0
    statuses: tuple[tuple[int, int], ...] = ()
    seconds: tuple[float, float] | None = None
    error: str = ""

    @property
    def asks_answer(self) -> bool:
        """Whether a client can lose its answer in this check."""
        return self.check in ANSWER_CHECKS

    @property
    def lost(self) -> int:
        """How many clients lost their answer; 0 for checks that are not about answers."""
        return (self.tries - self.answered) * self.asks_answer

    @property
    def needs_cure(self) -> bool:
        """Whether a reader wants to know what can be changed: answers are lost, or of "idle"."""
        return self.lost > 0 or self.check == "idle"

    @property
    def title(self) -> str:
        """What was done: the way of writing, or else the check."""
        return self.writing or self.check

    def __str__(self) -> str:
        """Returns what was seen, for a reader: "1 of 4 with 413", "closed after 75 s"."""
        return _TEXTS[self.check](self)


def _answers_text(row: CheckRow) -> str:
    """Returns how many clients got an answer, and with which statuses."""
    statuses = ", ".join(str(status) for status, _ in row.statuses)
    return f"{row.answered} of {row.tries}{surround(' with ', statuses)}"


def _idle_text(row: CheckRow) -> str:
    """Returns after how many whole seconds an idle connection was closed."""
    if row.seconds is None:
        return "open when the time was over"
    low, high = map(int, row.seconds)
    return f"closed after {low} s" if low == high else f"closed after {low} to {high} s"


def _ending_text(row: CheckRow) -> str:
    """Returns how many clients were reset."""
    return f"{row.resets} of {row.tries} reset"


_TEXTS: Mapping[ServiceCheckName, Callable[[CheckRow], str]] = {
    "early answer": _answers_text,
    "idle": _idle_text,
    "pipelined": _answers_text,
    "unread request": _ending_text,
}


class ServiceRow(Frozen, frozen=True, kw_only=True):
    """One service on the hosts on which it did the same.

    `target` is the URL, or the address and the port. `server` is what the service calls itself
    (the Server header), `executable` the path of the listening program, `units` are its systemd
    units or containers; each is empty if unknown. `product` is the server that these two name, ""
    if none is known. `cures` are for the checks that lost answers, and for "idle". `names` are the
    hosts one by one.
    """

    service: str
    target: str
    server: str
    executable: str
    product: str
    units: tuple[str, ...]
    hosts: HostRanges
    checks: tuple[CheckRow, ...]
    cures: tuple[Cure, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        """How many clients lost their answer, over all checks and hosts."""
        return sum(check.lost for check in self.checks)

    @property
    def tries(self) -> int:
        """How many clients asked for an answer, over all checks and hosts."""
        return sum(check.tries for check in self.checks if check.asks_answer)

    def of(self, name: ServiceCheckName) -> tuple[CheckRow, ...]:
        """Returns the rows of one check: one for each way of writing, () if it was not made."""
        return tuple(check for check in self.checks if check.check == name)


class NotAsked(Frozen, frozen=True, kw_only=True):
    """A service, or one check of it, that could not be asked on these hosts.

    `check` is "" for the whole service; `hint` is the next command to type. `names` are the hosts
    one by one.
    """

    service: str
    target: str
    check: ServiceCheckName | str
    problem: str
    hint: str
    hosts: HostRanges
    names: tuple[str, ...] = ()


class ServiceTable(Frozen, frozen=True, kw_only=True):
    """The services of a run: those that lose most answers first.

    `asked` is how many audited hosts had services to ask.
    """

    asked: int
    rows: tuple[ServiceRow, ...]
    not_asked: tuple[NotAsked, ...]

    @property
    def lost(self) -> int:
        """How many clients lost their answer."""
        return sum(row.lost for row in self.rows)

    @property
    def tries(self) -> int:
        """How many clients asked for an answer."""
        return sum(row.tries for row in self.rows)
