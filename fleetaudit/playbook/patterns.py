"""Regular expressions that are safe to try on a host's values: they fail as quickly as they match.
Pure.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, field

MAX_PATTERN = 200
"""Maximum length of a regular expression, in characters."""
MAX_REPEATS = 4
"""Maximum number of repetitions, and of groups, of a regular expression: with more, a failing match
may practically never end.
"""
MAX_MATCHED = 128
"""Maximum length of a value that a regular expression is tried on; a longer one does not match."""
MAX_WAYS = 4 * math.comb(MAX_MATCHED + MAX_REPEATS, MAX_REPEATS)
"""Maximum number of ways in which a failing match may divide the longest value: four repetitions,
and four alternatives. It took 1.5 s on a slow machine of 2026.
"""

_TOKEN = re.compile(
    r"(?P<escape>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<open>\((?:\?(?:P<\w+>|[:=!<a-zA-Z#(-]))?)|(?P<close>\))"
    r"|(?P<repeat>(?:[*+?]|\{[0-9]*(?:,[0-9]*)?\})[?+]?)|(?P<choice>\|)|.",
    re.DOTALL,
)


def pattern_fault(pattern: str) -> str:
    """Returns why a regular expression is refused, "" if it is not.

    It must compile without a warning and have at most `MAX_PATTERN` characters. A repeated group
    that itself repeats or chooses, or many repetitions in a row, take time that grows without
    bound: "(a+)+" and "(a|b)*" are refused, "(ab)+" is not. References back, assertions and flags
    are refused, because their cost is not counted.
    """
    if len(pattern) > MAX_PATTERN:
        return f"longer than {MAX_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            # A warning says that a later Python may read the pattern differently.
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as e:
        return f"not a regular expression: {e}"
    return _cost_fault(pattern)


def _cost_fault(pattern: str) -> str:
    """Returns why a match may take too long, "" if it cannot."""
    cost = _Cost()
    for token in _TOKEN.finditer(pattern):
        if fault := cost.add(token.lastgroup or "", token[0]):
            return fault
    if max(cost.repeats, cost.groups) > MAX_REPEATS:
        return f"more than {MAX_REPEATS} repetitions or groups"
    if cost.ways() > MAX_WAYS:
        return "too many alternatives for its repetitions"
    return ""


@dataclass
class _Cost:
    """What was met in a pattern so far.

    `varies` has an entry for each open group, the outermost first: whether it repeats or chooses
    somewhere inside. `closed_varies` is that of a group that was closed by the previous token.
    `alternatives` has the number of alternatives of each open group, `combinations` the product of
    those of the closed ones.
    """

    repeats: int = 0
    groups: int = 0
    varies: list[bool] = field(default_factory=lambda: [False])
    alternatives: list[int] = field(default_factory=lambda: [1])
    combinations: int = 1
    closed_varies: bool = False

    def ways(self) -> int:
        """Returns in how many ways a failing match may divide a value, at most.

        Each repetition may end anywhere after the one before it, and each alternative be tried with
        each of every other group.
        """
        divisions = math.comb(MAX_MATCHED + self.repeats, self.repeats)
        return divisions * self.combinations * math.prod(self.alternatives)

    def add(self, kind: str, text: str) -> str:
        """Counts one token; returns why it is refused, "" if it is not.

        `kind` is the name of its group in `_TOKEN`, "" for a character that stands for itself.
        """
        if kind == "close":
            self._close()
            return ""
        fault = _HANDLERS.get(kind, _Cost._character)(self, text)
        self.closed_varies = False
        return fault

    def _close(self) -> None:
        """Closes a group: the one around it varies if this one does."""
        self.combinations *= self.alternatives.pop()
        self.closed_varies = self.varies.pop()
        self.varies[-1] |= self.closed_varies

    def _character(self, _: str) -> str:
        """Accepts what stands for itself, and a set of characters."""
        return ""

    def _escape(self, text: str) -> str:
        r"""Refuses \1 to \9; \0 is a character, \d a set."""
        if text[1] in "123456789":
            return "it refers back to a group"
        return ""

    def _open(self, text: str) -> str:
        """Opens a group; refuses flags, assertions, comments and conditions."""
        if text not in ("(", "(?:") and not text.startswith("(?P<"):
            return f"“{text}” is not allowed in it"
        self.groups += 1
        self.alternatives.append(1)
        self.varies.append(False)
        return ""

    def _choice(self, _: str) -> str:
        """Notes that the open group chooses."""
        self.alternatives[-1] += 1
        self.varies[-1] = True
        return ""

    def _repeat(self, text: str) -> str:
        """Counts a repetition, unless it is one of a fixed number; refuses that of a group that
        varies.
        """
        if self.closed_varies:
            return "it repeats a group that itself repeats or chooses"
        if not re.fullmatch(r"\{[0-9]+\}[?+]?", text):
            self.repeats += 1
        self.varies[-1] = True
        return ""


_HANDLERS = {
    "escape": _Cost._escape,
    "open": _Cost._open,
    "choice": _Cost._choice,
    "repeat": _Cost._repeat,
}
