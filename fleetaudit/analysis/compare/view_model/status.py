"""The view of the first screen: whether somebody must act, and the evidence."""

from __future__ import annotations

from typing import Literal

import msgspec

from .summary import Sentence
from .traces import TraceSide

StatusLevel = Literal["act", "watch", "as expected", "unknown"]
"""Whether somebody must act now, should plan something, or needs to do nothing; or nobody knows."""


class NextStep(msgspec.Struct, frozen=True, kw_only=True):
    """What to do first.

    `text` is a command to type if `is_command`, else a sentence without its full stop. If `explain`
    is not empty, the step is `fleetaudit explain RUN` with these arguments instead, a host and
    perhaps a scenario. `hosts` names or counts the hosts that the step is for, "" if it names them.
    """

    text: str = ""
    is_command: bool = False
    explain: tuple[str, ...] = ()
    hosts: str = ""

    @property
    def is_typed(self) -> bool:
        """Whether the step is a command."""
        return self.is_command or bool(self.explain)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a run: a level, its label, and one sentence with numbers that follows it.

    `first` is what to do first, None if nobody needs to act. `meaning` says what the severities
    mean.
    """

    level: StatusLevel
    label: str
    sentence: Sentence
    first: NextStep | None
    meaning: str


class Highlight(msgspec.Struct, frozen=True, kw_only=True):
    """The traces that matter most: two to compare, or the one of the worst finding.

    `link` is the anchor of the scenario, `anchor` that of the whole traces: those of `sides` are
    cut so that they fit on the first screen.
    """

    anchor: str
    scenario: str
    link: str
    families: str
    expect: str
    sides: tuple[TraceSide, ...]
