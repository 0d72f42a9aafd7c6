"""A playbook: scenarios with their steps, and expectations."""

from __future__ import annotations

from typing import Literal

from .base import Frozen
from .condition import Condition
from .service import Service
from .watch import Watch

Ending = Literal[
    "FIN", "RST", "FIN, then RST", "nothing", "sent, not delivered", "inconclusive", "not run"
]
"""What close() put on the wire. AF_UNIX has no segments: there RST is ECONNRESET at the peer, and
FIN is end of file.
"""

EXPECTABLE_ENDINGS: tuple[Ending, ...] = ("FIN", "RST", "FIN, then RST", "nothing")
"""The endings that a playbook may expect. The other ones mean that the ending is unknown."""

Family = Literal["ipv4", "ipv6", "unix"]
Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
Isolation = Literal["auto", "namespace", "host"]


class Step(Frozen, frozen=True, kw_only=True):
    """One step: its text in the playbook, and the tuple (actor, verb, arguments…) for the probe."""

    text: str
    call: tuple[str | int, ...]

    @property
    def actor(self) -> str:
        """Who acts: "closer", "peer", "both", "listener", "others" or "namespace"."""
        return str(self.call[0])

    @property
    def verb(self) -> str:
        """What the actor does, by the probe's name."""
        return str(self.call[1])


class Scenario(Frozen, frozen=True, kw_only=True):
    """One experiment.

    `expect` has the endings that are correct; it is empty if the scenario is only observed, and
    then no ending is a finding. `control` names a scenario that must end differently. `trials`
    overrides the play's number. `because` is the reason with its source, and `fix` the remedy for a
    different ending. `families` follow from the steps and the play.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    expect: tuple[Ending, ...]
    severity: Severity = "warning"
    control: str | None = None
    because: str = ""
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    trials: int | None = None
    fix: str = ""
    tags: tuple[str, ...] = ()
    when: Condition = Condition()

    @property
    def is_positive_control(self) -> bool:
        """Whether this is a positive control: the only kind that expects RST and has no control."""
        return self.control is None and self.expect == ("RST",)


class Expectation(Frozen, frozen=True, kw_only=True):
    """What every expectation has: severity, reason, remedy, tags, and where it applies.

    By itself it is an expectation of the fleet's kernels, which needs nothing beyond its name.
    """

    severity: Severity = "warning"
    because: str = ""
    fix: str = ""
    tags: tuple[str, ...] = ()
    when: Condition = Condition()


class SysctlExpectation(Expectation, frozen=True, kw_only=True):
    """What a playbook expects of one sysctl; only the tests that are set apply.

    `position`, from 1, selects one of several numbers, as in tcp_rmem. `matches` is a regular
    expression for the whole value. `is_default` expects the value that this kernel gives a new
    namespace. `present` expects that the kernel has the sysctl, or that it does not.
    """

    equals: str | None = None
    one_of: tuple[str, ...] | None = None
    at_least: int | None = None
    at_most: int | None = None
    matches: str | None = None
    is_default: bool = False
    present: bool | None = None
    position: int | None = None

    @property
    def is_about_presence_only(self) -> bool:
        """Whether it says `present: true` and nothing about the value."""
        if not self.present or self.is_default:
            return False
        tests = {self.equals, self.one_of, self.at_least, self.at_most, self.matches}
        return tests == {None}


class ExposureExpectation(Expectation, frozen=True, kw_only=True):
    """What a playbook expects of one number of production; only the tests that are set apply."""

    at_least: float | None = None
    at_most: float | None = None


class Play(Frozen, frozen=True, kw_only=True):
    """One play of a playbook: which hosts (a pattern) run which scenarios, which sysctls are read,
    and what is expected.

    A sysctl, exposure number or kernel property may have several expectations; all of them apply.
    `tags` belong to everything in the play. `hosts_line` is the line of `hosts`, 0 if unknown.
    """

    name: str
    hosts: str
    hosts_line: int = 0
    trials: int = 3
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    isolation: Isolation = "auto"
    scenarios: tuple[Scenario, ...] = ()
    sysctls_collect: tuple[str, ...] = ()
    sysctls_expect: dict[str, tuple[SysctlExpectation, ...]] = {}
    exposure_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    kernels_expect: dict[str, tuple[Expectation, ...]] = {}
    watch: Watch | None = None
    watch_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    services: tuple[Service, ...] = ()
    tags: tuple[str, ...] = ()


class Playbook(Frozen, frozen=True, kw_only=True):
    """A playbook file.

    `lines` has the line of each expectation by the id of its findings without a family
    ("scenario:NAME", "sysctl:KEY", "exposure:NAME", "watch:NAME", "service:NAME", "kernel:"); the
    first of several lines.
    """

    source: str
    plays: tuple[Play, ...]
    lines: dict[str, int] = {}
