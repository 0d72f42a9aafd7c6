"""Numbers with their nouns and verbs. Pure."""

from __future__ import annotations


def count_noun(n: int, noun: str, plural: str = "") -> str:
    """Returns "1 host", "2 hosts"; `plural` defaults to the noun with an s."""
    return f"{n:,} {agree(n, noun, plural or noun + 's')}"


def agree(n: int, singular: str, plural: str) -> str:
    """Returns the word that goes with `n` things."""
    return singular if n == 1 else plural
