"""Arguments for programs in variables: split as a shell splits them, and described in errors. Pure.

Rules: no message repeats a word that is not an option, or the value of one: it may be a secret.
"""

from __future__ import annotations

import shlex

MAX_CHARACTERS = 65_536
"""Maximum length of arguments."""


class UnsupportedArgumentError(ValueError):
    """An argument that would change what a program does; the text names it without its value."""


def split_words(text: str) -> list[str]:
    """Returns the words of a text as a shell in POSIX mode splits them, without their quotes.

    So does Ansible (shlex.split). Raises `UnsupportedArgumentError` for an unclosed quotation, and
    for more than `MAX_CHARACTERS`, because shlex takes quadratic time.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnsupportedArgumentError(f"more than {MAX_CHARACTERS} characters")
    try:
        return shlex.split(text)
    except ValueError:
        raise UnsupportedArgumentError("an unclosed quotation") from None


def describe_word(word: str) -> str:
    """Returns how a message names an argument: by its dash and first letter alone.

    The rest of the word can be a value, and so can a word without a dash.
    """
    if word.startswith("-"):
        return word[:2]
    return "a word that is not an option"
