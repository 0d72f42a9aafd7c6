"""Parts of sentences: numbers with their nouns, and parts that may be missing. Pure."""

from __future__ import annotations

DUPLICATE_KEY_HINT = "remove one, or join the two"
"""What to do about a duplicate key."""


def count_noun(n: int, noun: str, plural: str = "") -> str:
    """Returns "1 host", "2 hosts", "10,000 hosts".

    `plural` defaults to the noun with an s.
    """
    return f"{n:,} {agree(n, noun, plural or noun + 's')}"


def agree(n: int, singular: str, plural: str) -> str:
    """Returns the word that goes with `n` things; 0 goes with the plural."""
    return singular if n == 1 else plural


def surround(before: str, value: object, after: str = "") -> str:
    """Returns a text or number between `before` and `after`; "" if it is "", 0 or None.

    For a part of a sentence that is left out if there is nothing to say: surround(" (", why, ")").
    """
    return f"{before}{value}{after}" if value else ""


def and_more(n: int) -> str:
    """Returns " and 3 more" after a list that names only some; "" if nothing is left out."""
    return f" and {n:,} more" if n > 0 else ""


def describe_duplicate_key(key: str, line: int, column: int = 0) -> str:
    """Returns the message about a key that one mapping has twice, in every format of files.

    `key` is short and printable already. `line` and `column` are where it stands first; the column
    is 0 if it is not known.
    """
    place = f"line {line}{surround(', column ', column)}"
    return f"duplicate key “{key}”; the first is in {place}"
