"""Makes text that a host or a file sent harmless. Pure.

Rules: remote text is data. Each output has its function: `terminal_line` for a terminal;
`escape_line` for files with one value per line (CSV, JUnit XML, Prometheus); `escape_text` for
output of several lines; `printable_line` for the text of a host that a reason quotes. HTML and XML
escape markup themselves.

What cannot be seen is escaped, not removed or replaced by one sign, so that names that differ only
in it stay different names. Escaping twice is the same as escaping once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from .phrases import surround

MOST_MARKS = 4
"""Maximum number of combining marks on one character; Tibetan and Hebrew need as many. More of them
run into the lines above and below.
"""
_NOTHING_SHOWN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159"
    "\U000e0100-\U000e01ef]"
)
"""Letters, marks and symbols that show nothing: those that Unicode calls
Default_Ignorable_Code_Point (Hangul fillers, variation selectors), the blank Braille pattern and
the null notehead.
"""
QUOTE_MAX = 300
"""Maximum number of characters of a host's own text that a reason quotes."""
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_BLANKS = str.maketrans("\t\n\r", "   ")


def is_visible(text: str) -> bool:
    """Returns whether every character of a text can be seen, the blank among them.

    Control and format characters (bidi overrides among them), surrogates, private use, unassigned
    ones, and every white space but the blank cannot; nor can fillers and variation selectors.
    """
    return text.isprintable() and not _NOTHING_SHOWN.search(text)


def first_invisible(text: str) -> str:
    """Returns the first character of a text that is not visible, or that is a combining mark with
    no character of its own: one at the beginning, or after `MOST_MARKS` others; "" for none.
    """
    return next((c for c, shown in zip(text, _shown(text), strict=True) if c != shown), "")


def is_plain(text: str) -> bool:
    """Returns whether a text is printable ASCII, so that no character needs to be replaced."""
    return text.isascii() and text.isprintable()


def terminal_line(text: str, limit: int = 2000) -> str:
    """Returns `text` as one line for a terminal, without control sequences.

    White space becomes one blank, every other invisible character is escaped. A text of more than
    `limit` characters is cut before anything is escaped, and ends in "…".
    """
    return escape_text(cut(_WHITE_SPACE.sub(" ", text[: limit + 1]), limit))


def cut(text: str, limit: int) -> str:
    """Returns a text of at most `limit` characters unchanged, a longer one cut there, with "…"."""
    if len(text) <= limit:
        return text
    return text[:limit] + "…"


def escape_line(text: str, limit: int = 4096) -> str:
    """Returns `text` as one line for CSV, XML or metrics, with invisible characters escaped.

    Tabs and line ends become blanks. The result can be encoded as UTF-8 and contains no character
    that XML 1.0 forbids. A text of more
    than `limit` characters is cut before anything is escaped, and ends in "…".
    """
    return escape_text(cut(text, limit).translate(_BLANKS))


def escape_text(text: str) -> str:
    r"""Returns `text` with invisible characters escaped; line feeds and tabs stay.

    For outputs of several lines. An escape is `\xNN`, `\uNNNN` or `\UNNNNNNNN`. Combining marks are
    escaped, too, where they would combine with what stands before the text, and beyond
    `MOST_MARKS` on one character.
    """
    return text if is_plain(text) else "".join(_shown(text))


def _shown(text: str) -> Iterator[str]:
    """Yields what is printed for each character of a text."""
    room = 0
    for character in text:
        is_mark = unicodedata.category(character).startswith("M")
        room = room - 1 if is_mark else MOST_MARKS
        if character in "\n\t":
            yield character
        elif room < 0 or not is_visible(character):
            yield escape_code(character)
        else:
            yield character


def escape_code(character: str) -> str:
    r"""Returns the escape of any character, also of a visible one, as Python writes it.

    `\xNN` below U+0100, `\uNNNN` below U+10000, `\UNNNNNNNN` for all others.
    """
    if character.isascii():
        return f"\\x{ord(character):02x}"
    return character.encode("ascii", "backslashreplace").decode()


def printable_line(text: bytes | str, limit: int = QUOTE_MAX) -> str:
    """Returns text of a host as one printable line of at most `limit` characters, for messages.

    White space is joined to one blank. Every other character that is not printable (escape
    sequences, bidirectional marks), and every byte that is not UTF-8, becomes U+FFFD. A longer text
    is cut and ends in "…", which counts.
    """
    # A character has at most four bytes, so this cut removes nothing that would be shown.
    part = text[: limit * 8]
    if isinstance(part, bytes):
        part = part.decode("utf-8", "replace")
    line = " ".join(part.split())
    if not is_visible(line):
        line = "".join(c if is_visible(c) else _REPLACEMENT for c in line)
    return shorten(line, limit)


def quote_line(text: bytes | str, before: str = "", limit: int = QUOTE_MAX) -> str:
    """Returns `before` and a host's text in quotation marks, or "" if the text is blank.

    The text is made one line of at most `limit` characters as by `printable_line`.
    """
    return surround(f"{before}“", printable_line(text, limit), "”")


def bounded_text(text: str, limit: int = 4000) -> str:
    """Returns the first `limit` characters of `text`, with "?" for what UTF-8 cannot encode.

    That is a lone surrogate, as Python has for a byte that is not UTF-8. A cut leaves no sign.
    """
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def shorten(name: object, limit: int = 80) -> str:
    """Returns a key or a name for a message, cut to `limit` characters (it may be a megabyte).

    The "…" at the end of a cut text counts.
    """
    text = str(name)
    if len(text) <= limit:
        return text
    return text[: limit - 1] + "…"
