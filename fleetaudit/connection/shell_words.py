"""Arguments for programs in variables: split as a shell splits them, and described in errors. Pure.

Rules: no message repeats a word that is not an option, or the value of one: it may be a secret.
"""

from __future__ import annotations

import shlex


class UnsupportedArgumentError(ValueError):
    """An argument that would change what a program does; the text names it without its value."""


def split_words(text: str) -> list[str]:
    """Returns the words of a text; raises `UnsupportedArgumentError` for an unclosed quotation."""
    try:
        return shlex.split(text)
    except ValueError:
        raise UnsupportedArgumentError("an unclosed quotation") from None


def describe_word(word: str) -> str:
    """Returns the first letter of options with its dash, or what else the word is."""
    return word[:2] if word.startswith("-") else "a word that is not an option"
