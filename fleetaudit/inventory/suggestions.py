"""Names that may be meant by a misspelt one, for messages. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fleetaudit.text.phrases import surround

_MAX_COMPARED = 5_000
_MAX_LENGTH_DIFFERENCE = 2
_MAX_SUGGESTIONS = 3


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Returns "; did you mean “a” or “b”?" for names that are similar to `word`, "" without any.

    The text continues a message. At most three names are suggested, the most similar first
    (`difflib.get_close_matches`). Of a large inventory only the first 5,000 names whose length
    differs by at most two characters are compared, which bounds the time.
    """
    comparable = [name for name in names if abs(len(name) - len(word)) <= _MAX_LENGTH_DIFFERENCE]
    similar = difflib.get_close_matches(word, comparable[:_MAX_COMPARED], _MAX_SUGGESTIONS)
    quoted = " or ".join(f"“{name}”" for name in similar)
    return surround("; did you mean ", quoted, "?")
