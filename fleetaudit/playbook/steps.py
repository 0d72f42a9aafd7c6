"""Parses the step language: one English line to one small tuple, which the probe runs. Pure.

Rules: every word is checked here, so that the probe needs only a table of verbs. The report prints
the line as it was written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain

from fleetaudit.model import Step
from fleetaudit.text.phrases import surround

from .phrases import PHRASES, Phrase

SOCKET_OPTIONS: dict[str, int] = {
    "SO_KEEPALIVE": 1,
    "SO_LINGER": 2,
    "SO_OOBINLINE": 1,
    "SO_RCVBUF": 1,
    "SO_RCVLOWAT": 1,
    "SO_SNDBUF": 1,
    "TCP_CORK": 1,
    "TCP_DEFER_ACCEPT": 1,
    "TCP_FASTOPEN": 1,
    "TCP_KEEPCNT": 1,
    "TCP_KEEPIDLE": 1,
    "TCP_KEEPINTVL": 1,
    "TCP_LINGER2": 1,
    "TCP_MAXSEG": 1,
    "TCP_NODELAY": 1,
    "TCP_QUICKACK": 1,
    "TCP_REPAIR": 1,
    "TCP_USER_TIMEOUT": 1,
    "TCP_WINDOW_CLAMP": 1,
}
"""The socket options that a step may set, and the number of values that each takes."""
MAX_BYTES = 16 * 1024 * 1024
"""Maximum number of bytes that one step sends: the probe's footprint on a production host is
bounded.
"""
MAX_WAIT_MS = 2000
"""Longest wait of one step, in milliseconds: a host's time is bounded, too."""
MIN_BACKLOG, MAX_BACKLOG = 2, 1024
"""Below 2, some kernels take two connections for a SYN flood and log it
(inet_csk_reqsk_queue_is_full()).
"""
MAX_OTHERS = 16
"""Maximum number of strangers that wait: the accept queue has room for them and the peer."""
MAX_INT = 9_999_999_999
"""Greatest value of a socket option: as many digits as its pattern has."""
MAX_VALUES = 8
"""Maximum number of values of one sysctl."""

_A_TIME = f"a time from 1 to {MAX_WAIT_MS} ms"
_TIMES = {"ms": 1, "millisecond": 1, "milliseconds": 1, "s": 1000, "second": 1000, "seconds": 1000}
_SLOTS = {  # the pattern of a slot of one word, and what a message says that fits
    "SIDE": (r"closer|peer", ("closer", "peer")),
    "N": (r"[0-9]{1,8}", ("a number of bytes",)),
    "BACKLOG": (r"[0-9]{1,4}", (f"a number from {MIN_BACKLOG} to {MAX_BACKLOG}",)),
    "OTHERS": (r"[0-9]{1,2}", (f"a number from 1 to {MAX_OTHERS}",)),
    "INT": (r"-?[0-9]{1,10}", ("an integer",)),
    "OPTION": ("|".join(SOCKET_OPTIONS), tuple(SOCKET_OPTIONS)),
    "SYSCTL": (r"net(\.[a-z0-9_]+)+", ("net.ipv4.…",)),
    "VALUE": (r"[0-9A-Za-z_.-]{1,64}", ("a value",)),
}
_BOUNDS = {
    "N": (0, MAX_BYTES),
    "BACKLOG": (MIN_BACKLOG, MAX_BACKLOG),
    "OTHERS": (1, MAX_OTHERS),
    "INT": (-MAX_INT, MAX_INT),
}
"""The least and the greatest number in a slot whose value is a number."""
_SINGULAR = {"byte": "bytes"}

Values = tuple[str | int, ...]


class StepError(ValueError):
    """A text that is not a step.

    `word` is the word that does not fit, "" if the text is too short; `expected` is what may stand
    in its place. `near` is the expected word that it resembles, "" if it resembles none; only the
    message has it.
    """

    def __init__(self, text: str, word: str, expected: Sequence[str], near: str = "") -> None:
        self.text, self.word, self.expected = text, word, tuple(expected)
        problem = f"the step “{text}” ends too early"
        if word:
            problem = f"“{word}” does not fit in the step “{text}”"
        super().__init__(
            problem
            + surround("; expected here: ", ", ".join(expected))
            + surround(" (did you mean “", near, "”?)")
        )


class _MismatchError(Exception):
    """A word that does not fit a phrase: its index, and what may stand in its place."""

    def __init__(self, at: int, expected: Sequence[str]) -> None:
        self.at, self.expected = at, list(expected)


@lru_cache(maxsize=1024)
def parse_step(text: str) -> Step:
    """Returns the step that `text` describes, with one blank between its words.

    "peer sends 10 bytes" has the call ("peer", "send", 10). Many scenarios share a step; equal
    texts give the same object. Raises `StepError` with the word that
    does not fit, and what all phrases that match up to there expect instead.
    """
    words = text.split()
    furthest, expected = -1, list[str]()
    for phrase in PHRASES:
        try:
            return Step(text=" ".join(words), call=_match(phrase, words))
        except _MismatchError as mismatch:
            if mismatch.at > furthest:
                furthest, expected = mismatch.at, []
            if mismatch.at == furthest:
                expected += mismatch.expected
    word = _word(words, furthest)
    near = "".join(difflib.get_close_matches(word, expected, 1))
    raise StepError(text, word, sorted(set(expected)), near)


def _match(phrase: Phrase, words: Sequence[str]) -> Values:
    """Returns the call of a phrase with these words; raises `_MismatchError`.

    Each pattern of the phrase is a slot of several words, a slot of one word, or a word itself.
    """
    slots = list[Values]()
    at = 0
    for pattern in phrase.pattern.split():
        if pattern in _PARSERS:
            values, at = _PARSERS[pattern](words, at)
            slots.append(values)
            continue
        if pattern in _SLOTS:
            slots.append((_parse_word(pattern, words, at),))
        elif _plural(_word(words, at)) != _plural(pattern):
            raise _MismatchError(at, [pattern])
        at += 1
    if at < len(words):
        raise _MismatchError(at, ["nothing more"])
    return _fill(phrase.call, slots)


def _fill(call: Values, slots: Sequence[Values]) -> Values:
    """Returns a call with the values of the slots in place of "$1", "$2"…

    A slot of several values becomes as many parts: ("$1", "set", "$2") with ("closer",) and
    ("SO_LINGER", 1, 0) gives ("closer", "set", "SO_LINGER", 1, 0).
    """
    by_name: dict[str | int, Values] = {f"${n}": values for n, values in enumerate(slots, 1)}
    return tuple(chain.from_iterable(by_name.get(part, (part,)) for part in call))


def _word(words: Sequence[str], at: int) -> str:
    """Returns the word at an index, "" after the last."""
    return "".join(words[at : at + 1])


def _plural(word: str) -> str:
    """Returns "bytes" for "byte": both fit."""
    return _SINGULAR.get(word, word)


def _parse_word(slot: str, words: Sequence[str], at: int) -> str | int:
    """Returns the value in a slot of one word, an integer if the slot has bounds.

    Raises `_MismatchError` for a word, or for none, that the slot's pattern or bounds exclude.
    """
    pattern, expected = _SLOTS[slot]
    word = _word(words, at)
    if not re.fullmatch(pattern, word):
        raise _MismatchError(at, expected)
    if slot not in _BOUNDS:
        return word
    least, greatest = _BOUNDS[slot]
    if not least <= int(word) <= greatest:
        raise _MismatchError(at, expected)
    return int(word)


def _parse_option(words: Sequence[str], at: int) -> tuple[Values, int]:
    """Returns a socket option with its values, and the index after them; raises
    `_MismatchError`.

    "SO_LINGER 1 0" gives ("SO_LINGER", 1, 0): `SOCKET_OPTIONS` has the number of values.
    """
    name = str(_parse_word("OPTION", words, at))
    end = at + 1 + SOCKET_OPTIONS[name]
    return (name, *(_parse_word("INT", words, i) for i in range(at + 1, end))), end


def _parse_time(words: Sequence[str], at: int) -> tuple[Values, int]:
    """Returns a time in milliseconds, and the index after it; raises `_MismatchError`.

    "50 ms", "50ms", "50 milliseconds", "1 second" and "0.5 s" are times. "0.5 ms" is refused: the
    probe waits whole milliseconds.
    """
    found = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)([a-z]*)", _word(words, at))
    if found is None:
        raise _MismatchError(at, [_A_TIME])
    end, unit, expected = at + 1, found[2], [_A_TIME]
    if not unit:
        end, unit, expected = at + 2, _word(words, at + 1), ["ms", "seconds"]
    if unit not in _TIMES:
        raise _MismatchError(end - 1, expected)
    time_ms = round(float(found[1]) * _TIMES[unit], 3)
    if not (time_ms.is_integer() and 1 <= time_ms <= MAX_WAIT_MS):
        raise _MismatchError(at, [_A_TIME])
    return (int(time_ms),), end


def _parse_values(words: Sequence[str], at: int) -> tuple[Values, int]:
    """Returns the values of a sysctl as one text, and the index after them; raises
    `_MismatchError`.

    They are all words that follow, at least one and at most `MAX_VALUES`: "4096 131072".
    """
    end = max(at + 1, min(len(words), at + MAX_VALUES))
    return (" ".join(str(_parse_word("VALUE", words, i)) for i in range(at, end)),), end


_PARSERS: dict[str, Callable[[Sequence[str], int], tuple[Values, int]]] = {
    "OPTION": _parse_option,
    "TIME": _parse_time,
    "VALUES": _parse_values,
}
"""The slots that may have several words."""
