"""One fault: what a server does, and what must be reported about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .server import Script

AUDITED = "audited"


@dataclass(frozen=True)
class Says:
    """Where a host is lost, or `AUDITED`, and words that the reason has: one of `words`. `or_stage`
    is right as well, where nobody can know.
    """

    stage: str
    words: tuple[str, ...] = ()
    or_stage: str = ""


@dataclass(frozen=True)
class Fault:
    """A server's fault, with what the built-in client must say, and ssh's.

    `jump` is what must be reported if the server is a jump host; None if the fault cannot happen
    there. `login` are fields of the target.
    """

    name: str
    script: Script
    says: Says
    openssh: Says
    jump: Says | None
    login: dict[str, str] = field(default_factory=dict)
