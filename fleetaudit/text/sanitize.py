"""Makes text that a host or a file sent harmless. Pure.

Rules: remote text is data. Each output uses the one function here that fits it: a terminal, a file of
one value a line, or a page that escapes markup itself.
"""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that are never printed as they are: control, format (bidi overrides among them),
surrogate, private use, unassigned, line separator and paragraph separator.
"""
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")


def terminal_line(text: str, limit: int = 2000) -> str:
    """Returns `text` as one line for a terminal, with nothing in it that a terminal obeys.

    White space becomes one blank, every other invisible character U+FFFD. A text of more than `limit`
    characters is cut and ends in "…".
    """
    line = _WHITE_SPACE.sub(" ", text[: limit + 1])
    line = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in INVISIBLE else c for c in line
    )
    return line if len(line) <= limit else line[:limit] + "…"


def escape_line(text: str, limit: int = 4096) -> str:
    """Returns `text` as one line for a file: white space as a blank, invisible characters escaped.

    The result can be encoded as UTF-8 and has no character that XML 1.0 forbids. A text of more than
    `limit` characters is cut and ends in "…".
    """
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if c in "\t\n\r" else escape_character(c) for c in text)


def escape_text(text: str) -> str:
    """Returns `text` with invisible characters escaped; line feeds and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" else escape_character(c) for c in text)


def escape_character(character: str) -> str:
    r"""Returns a visible character unchanged, an invisible one as `\xNN`, `\uNNNN` or `\UNNNNNNNN`."""
    if unicodedata.category(character) not in INVISIBLE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
