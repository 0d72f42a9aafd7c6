"""Whether a sysctl's value meets an expectation, and the expectation as text. Pure.

Rules: reading a playbook and judging a host call the same functions, so that what was accepted is
what is judged. A sysctl's value is compared with one space between its numbers: the probe reports
some with tabs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from fleetaudit.model import SysctlExpectation

from .patterns import MAX_MATCHED

_ORDINALS = ("first", "second", "third")


def normalize_spaces(text: str) -> str:
    """Returns `text` with one space between its words and none around them."""
    return " ".join(text.split())


def meets(value: str, expectation: SysctlExpectation) -> bool:
    """Returns whether a value as read meets the tests of its text and of its number.

    A value without a word at the expected position meets nothing, and a test that is not set is
    met. The tests `is_default` and `present` need more than the value and are not applied.
    """
    part = word_at(value, expectation.position)
    return part is not None and all(test(part, expectation) for test in _TESTS)


def _equals(part: str, expectation: SysctlExpectation) -> bool:
    """Returns whether a text is the expected one; true if none is expected."""
    if expectation.equals is None:
        return True
    return part == normalize_spaces(expectation.equals)


def _is_one_of(part: str, expectation: SysctlExpectation) -> bool:
    """Returns whether a text is among those expected; true if none are."""
    if expectation.one_of is None:
        return True
    return part in map(normalize_spaces, expectation.one_of)


def _matches(part: str, expectation: SysctlExpectation) -> bool:
    """Returns whether the whole of a text matches the expected pattern; true if there is none.

    A text of more than `MAX_MATCHED` characters does not match, whatever the pattern.
    """
    if expectation.matches is None:
        return True
    if len(part) > MAX_MATCHED:
        return False
    return re.fullmatch(expectation.matches, part) is not None


def _is_in_bounds(part: str, expectation: SysctlExpectation) -> bool:
    """Returns whether a text is a number within the expected bounds; true if there are none."""
    return is_within(parse_number(part), expectation.at_least, expectation.at_most)


_TESTS = (_equals, _is_one_of, _matches, _is_in_bounds)


def word_at(value: str, position: int | None) -> str | None:
    """Returns the word of `value` at `position` (from 1), None if it has fewer words.

    The second word of "4096 131072" is "131072", its third is None. Without a position the whole
    value is returned, with one space between its words, also where the probe reports a tab.
    """
    if position is None:
        return normalize_spaces(value)
    words = value.split()
    if position > len(words):
        return None
    return words[position - 1]


def parse_number(text: str) -> int | None:
    """Returns a whole number in decimal digits, None for other text.

    -1 for "-1", and None for "1.5", "0x10" and "". Several numbers ("4096 131072") are not one, and
    Python's "1_0" is not a number of the kernel.
    """
    if not re.fullmatch(r"-?[0-9]{1,40}", text, re.ASCII):
        return None
    return int(text)


def is_within(value: float | None, low: float | None, high: float | None) -> bool:
    """Returns whether `value` is within the bounds that are set, both included.

    A bound of None is not set. A value of None is unknown or not a number: it is within bounds only
    if none is set.
    """
    if low is None and high is None:
        return True
    if value is None:
        return False
    least = -math.inf if low is None else low
    greatest = math.inf if high is None else high
    return least <= value <= greatest


# ---- as text


def describe_expectation(expectation: SysctlExpectation) -> str:
    """Returns the text of an expectation: "at least 10 and at most 60", "third number at least
    5".

    The tests that are set are joined by "and", in the order of `_DESCRIPTIONS`, bounds last.
    """
    texts = [*filter(None, (_describe(expectation, field) for field in _DESCRIPTIONS))]
    if expectation.is_default:
        texts.append("this kernel's own default")
    texts += describe_bounds(expectation.at_least, expectation.at_most)
    text = " and ".join(texts)
    if not expectation.position:
        return text
    return f"{ordinal(expectation.position)} number {text}"


def _describe(expectation: SysctlExpectation, field: str) -> str:
    """Returns the text of one test of an expectation, "" if it is not set."""
    value = getattr(expectation, field)
    if value is None:
        return ""
    return _DESCRIPTIONS[field](value)


_DESCRIPTIONS: dict[str, Callable[[Any], str]] = {
    "present": lambda present: "present" if present else "absent",
    "equals": lambda text: normalize_spaces(text) or "empty",
    "one_of": lambda texts: "one of " + ", ".join(map(normalize_spaces, texts)),
    "matches": lambda pattern: f"matches {pattern}",
}
"""The text of each test that has a value, in the order in which the texts are joined."""


def ordinal(position: int) -> str:
    """Returns "first", "second", "third", "4th"… for a position from 1, up to "20th".

    A playbook's positions are at most 16.
    """
    if position > len(_ORDINALS):
        return f"{position}th"
    return _ORDINALS[position - 1]


def describe_bounds(low: float | None, high: float | None) -> list[str]:
    """Returns "at least 10" and "at most 60", those of the two that are set, [] if neither is.

    A number has no needless ".0", because a playbook's bounds of exposure are floats.
    """
    bounds = (("at least", low), ("at most", high))
    return [f"{word} {_number_text(bound)}" for word, bound in bounds if bound is not None]


def _number_text(number: float) -> str:
    """Returns a number without a needless ".0"."""
    return f"{number:g}" if isinstance(number, float) else str(number)
