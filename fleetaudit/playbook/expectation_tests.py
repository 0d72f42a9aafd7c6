"""What an expectation means: whether a value meets it, where it applies, in words, and which
contradict. Pure.

Rules: reading a playbook and judging a host ask the same functions, so that what was accepted is
what is judged. A sysctl's value is compared with one space between its numbers, as the probe
reports some and a playbook writes them. A kernel release is compared by as many numbers as the
comparison names: "==6.1" and "<=6.1" take in 6.1.156.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from fleetaudit.model import Audited, Condition, SysctlExpectation

MAX_PATTERN = 200
"""The longest regular expression, in characters."""
MAX_MATCHED = 128
"""The longest value that a regular expression is tried on, in characters; a longer one matches
nothing.
"""
MAX_REPEATS = 4
"""How many repetitions, and how many groups, a regular expression may have: more can take for ever
to fail.
"""

_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9]{1,6}(?:\.[0-9]{1,6}){0,3})", re.ASCII)
_ORDINALS = ("first", "second", "third")


# ---- values
# --------------------------------------------------------------------------------------------------------


def normalize_spaces(text: str) -> str:
    """Returns `text` with one space between its words and none around them."""
    return " ".join(text.split())


def meets(value: str, rule: SysctlExpectation) -> bool:
    """Returns whether a value as read meets all that `rule` asks of it; its default and its
    presence are not asked.
    """
    taken = word_at(value, rule.position)
    if taken is None:
        return False
    if rule.equals is not None and taken != normalize_spaces(rule.equals):
        return False
    if rule.one_of is not None and taken not in map(normalize_spaces, rule.one_of):
        return False
    if rule.matches is not None and not (
        len(taken) <= MAX_MATCHED and re.fullmatch(rule.matches, taken)
    ):
        return False
    return is_within(parse_number(taken), rule.at_least, rule.at_most)


def word_at(value: str, position: int | None) -> str | None:
    """Returns the word of `value` at `position` (from 1), the whole where None is given, None where
    it is too short.
    """
    if position is None:
        return normalize_spaces(value)
    words = value.split()
    return words[position - 1] if position <= len(words) else None


def parse_number(text: str) -> int | None:
    """Returns a whole number; "4096 131072" has no place on one axis, and Python's "1_0" is no
    number of a kernel's.
    """
    return int(text) if re.fullmatch(r"-?[0-9]{1,40}", text, re.ASCII) else None


def is_within(value: float | None, low: float | None, high: float | None) -> bool:
    """Returns whether `value` keeps to its bounds; what is no number keeps to none."""
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def describe_expectation(rule: SysctlExpectation) -> str:
    """Returns what `rule` wants: "at least 10 and at most 60", "third number at least 6291456"."""
    words = list[str]()
    if rule.present is not None:
        words.append("present" if rule.present else "absent")
    if rule.equals is not None:
        words.append(normalize_spaces(rule.equals) or "empty")
    if rule.one_of is not None:
        words.append("one of " + ", ".join(map(normalize_spaces, rule.one_of)))
    if rule.matches is not None:
        words.append(f"matches {rule.matches}")
    if rule.is_default:
        words.append("this kernel's own default")
    words += describe_bounds(rule.at_least, rule.at_most)
    where = f"{ordinal(rule.position)} number " if rule.position else ""
    return where + " and ".join(words)


def ordinal(position: int) -> str:
    """Returns "first", "second", "third", "4th"…"""
    return _ORDINALS[position - 1] if position <= len(_ORDINALS) else f"{position}th"


def describe_bounds(low: float | None, high: float | None) -> list[str]:
    """Returns "at least 10" and "at most 60", those that are asked."""
    given = [
        (word, bound) for word, bound in (("at least", low), ("at most", high)) if bound is not None
    ]
    return [
        f"{word} {bound:g}" if isinstance(bound, float) else f"{word} {bound}"
        for word, bound in given
    ]


# ---- contradictions
# ------------------------------------------------------------------------------------------------


def is_contradictory(rules: Sequence[SysctlExpectation]) -> bool:
    """Returns whether no value can meet all of `rules`, of one sysctl, where they apply together.

    What depends on the host (its default, overlapping conditions) is not foreseen: only what can
    never be met counts.
    """
    return any(_never(group) for group in _together(rules))


def _together(rules: Sequence[SysctlExpectation]) -> Iterable[list[SysctlExpectation]]:
    """Yields the rules that surely apply together: the unconditional ones, with those of each one
    condition.
    """
    for when in {rule.when for rule in rules} | {Condition()}:
        yield [rule for rule in rules if rule.when in (Condition(), when)]


def _never(rules: Sequence[SysctlExpectation]) -> bool:
    if any(rule.present is False for rule in rules):
        return any(rule.present is not False for rule in rules)
    for position in {rule.position for rule in rules}:
        here = [rule for rule in rules if rule.position == position]
        lows = [rule.at_least for rule in here if rule.at_least is not None]
        highs = [rule.at_most for rule in here if rule.at_most is not None]
        if lows and highs and max(lows) > min(highs):
            return True
        # What a rule names word by word must pass every other rule for the same words.
        named = [
            [rule.equals] if rule.equals is not None else [*(rule.one_of or ())] for rule in here
        ]
        for candidates in filter(None, named):
            if not any(all(_passes(value, rule) for rule in here) for value in candidates):
                return True
    wholes = [rule.equals for rule in rules if rule.position is None and rule.equals is not None]
    return any(
        not meets(whole, rule) for whole in wholes for rule in rules if rule.position is not None
    )


def _passes(value: str, rule: SysctlExpectation) -> bool:
    # `value` is the word itself already, whatever its position.
    alone = SysctlExpectation(
        equals=rule.equals,
        one_of=rule.one_of,
        at_least=rule.at_least,
        at_most=rule.at_most,
        matches=rule.matches,
    )
    return meets(value, alone)


def are_disjoint(rules: Iterable[tuple[float | None, float | None, Condition]]) -> bool:
    """Returns whether two of these (low, high, when) apply together and leave no number between
    them.
    """
    for (low, high, when), (other_low, other_high, other_when) in combinations(rules, 2):
        low, high = max(low or 0, other_low or 0), min(_or_endless(high), _or_endless(other_high))
        if low > high and (when == other_when or Condition() in (when, other_when)):
            return True
    return False


def _or_endless(bound: float | None) -> float:
    return float("inf") if bound is None else bound


# ---- where an expectation applies
# ----------------------------------------------------------------------------------


class ReleaseComparison(NamedTuple):
    """One comparison of a kernel release."""

    operator: str
    numbers: tuple[int, ...]


def parse_comparisons(text: str) -> tuple[ReleaseComparison, ...]:
    """Returns the comparisons in ">=6.1, <6.12"; raises `ValueError` with what is wrong."""
    found = list[ReleaseComparison]()
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        match = _COMPARISON.fullmatch(piece)
        if match is None:
            raise ValueError(f"“{piece}” is no comparison of a kernel release")
        found.append(ReleaseComparison(match[1], tuple(map(int, match[2].split(".")))))
    return tuple(found)


def applies(when: Condition, host: Audited) -> bool:
    """Returns whether an expectation applies to a host.

    A release that begins with no number is held to every expectation: what cannot be compared
    excuses nothing.
    """
    if when.groups and "all" not in when.groups and not set(when.groups).intersection(host.groups):
        return False
    release = release_numbers(host.kernel.release)
    return not release or all(_compares(release, c) for c in parse_comparisons(when.kernel))


def release_numbers(release: str) -> tuple[int, ...]:
    """Returns the numbers that a kernel release begins with: 6, 12, 117 of "6.12.117+deb13-amd64"."""
    match = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}", release, re.ASCII)
    return tuple(map(int, match[0].split("."))) if match else ()


def _compares(release: tuple[int, ...], comparison: ReleaseComparison) -> bool:
    wanted = comparison.numbers
    here = (*release, 0, 0, 0, 0)[: len(wanted)]
    match comparison.operator:
        case ">=":
            return here >= wanted
        case "<=":
            return here <= wanted
        case ">":
            return here > wanted
        case "<":
            return here < wanted
        case "==":
            return here == wanted
        case _:
            return here != wanted


# ---- regular expressions
# -------------------------------------------------------------------------------------------


def pattern_fault(pattern: str) -> str:
    """Returns why `pattern` is refused, "" where it is not: it must compile, and fail as quickly as
    it matches.

    A repeated group that repeats or chooses inside, or many repetitions in a row, take time that
    grows without bound.
    """
    if len(pattern) > MAX_PATTERN:
        return f"longer than {MAX_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error"
            )  # what a later Python may read otherwise is no expectation to rely on
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as e:
        return f"no regular expression: {e}"
    return _slow(pattern)


_TOKEN = re.compile(
    r"(?P<escape>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\((?:\?(?:P<\w+>|[:=!<a-zA-Z#(-]))?)|(?P<close>\))"
    r"|(?P<repeat>(?:[*+?]|\{[0-9]*(?:,[0-9]*)?\})[?+]?)|(?P<choice>\|)|.",
    re.DOTALL,
)


def _slow(pattern: str) -> str:
    repeats = groups = 0
    inside = [False]  # a group a level: whether it repeats or chooses somewhere inside
    closed = False  # whether the group that was just closed does
    for token in _TOKEN.finditer(pattern):
        kind, text = token.lastgroup, token[0]
        if kind == "escape" and text[1].isdigit() and text[1] != "0":
            return "it refers back to a group"
        if kind == "open":
            if text not in ("(", "(?:") and not text.startswith("(?P<"):
                return f"“{text}” is not allowed in it"
            groups += 1
            inside.append(False)
        elif kind == "choice":
            inside[-1] = True
        elif kind == "repeat":
            if closed:
                return "it repeats a group that itself repeats or chooses"
            if not re.fullmatch(r"\{[0-9]+\}[?+]?", text):
                repeats += 1
            inside[-1] = True
        elif kind == "close":
            closed = inside.pop()
            inside[-1] = inside[-1] or closed
            continue
        closed = False
    if max(repeats, groups) > MAX_REPEATS:
        return f"more than {MAX_REPEATS} repetitions or groups"
    return ""


# ---- tags
# ----------------------------------------------------------------------------------------------------------


def is_selected_by_tags(
    tags: Collection[str], only: Collection[str], skip: Collection[str]
) -> bool:
    """Returns whether what has these tags is chosen by --tags `only` and --skip-tags `skip`, as
    Ansible chooses.

    Nothing in `only` means all. `always` is chosen unless it is skipped by name, `never` only by
    one of its tags. Source: Ansible's documentation, "Tags", "Special tags".
    """
    own = set(tags)
    wanted, unwanted = set(only) or {"all"}, set(skip)
    tagged = bool(own)
    named = bool(own & wanted)
    by_kind = (
        "all" in wanted or ("tagged" in wanted and tagged) or ("untagged" in wanted and not tagged)
    )
    if not (named or "always" in own or (by_kind and "never" not in own)):
        return False
    if "all" in unwanted:
        return "always" in own and "always" not in unwanted
    return not (
        own & unwanted
        or ("tagged" in unwanted and tagged)
        or ("untagged" in unwanted and not tagged)
    )
