"""Makes text that a host or a file sent harmless. Pure.

Rules: remote text is data. Each output has its function: `terminal_line` for a terminal;
`escape_line` for files with one value per line (CSV, JUnit XML, Prometheus); `escape_text` for
output of several lines; `printable_line` for the text of a host that a reason quotes. HTML and XML
escape markup themselves.
"""

from __future__ import annotations

import re
import unicodedata

from .phrases import surround

INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that are never printed as they are: control, format (bidi overrides among
them), surrogate, private use, unassigned, line separator and paragraph separator.
"""
QUOTE_MAX = 300
"""Maximum number of characters of a host's own text that a reason quotes."""
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_BLANKS = str.maketrans("\t\n\r", "   ")


def is_visible(character: str) -> bool:
    """Returns whether a character is printed as it is: whether its category is not `INVISIBLE`."""
    return unicodedata.category(character) not in INVISIBLE


def is_plain(text: str) -> bool:
    """Returns whether a text is printable ASCII, so that no character needs to be replaced."""
    return text.isascii() and text.isprintable()


def terminal_line(text: str, limit: int = 2000) -> str:
    """Returns `text` as one line for a terminal, without control sequences.

    White space becomes one blank, every other invisible character U+FFFD. A text of more than
    `limit` characters is cut and ends in "…", which does not count: the result may have one more.
    """
    line = _WHITE_SPACE.sub(" ", text[: limit + 1])
    if not is_plain(line):
        line = "".join(map(_replace_invisible, line))
    return _cut(line, limit)


def _replace_invisible(character: str) -> str:
    """Returns a visible character unchanged, U+FFFD for an invisible one."""
    return character if is_visible(character) else _REPLACEMENT


def _cut(text: str, limit: int) -> str:
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
    text = _cut(text, limit)
    if is_plain(text):
        return text
    return escape_text(text.translate(_BLANKS))


def escape_text(text: str) -> str:
    """Returns `text` with invisible characters escaped; line feeds and tabs stay.

    For outputs of several lines.
    """
    if is_plain(text):
        return text
    return "".join(c if c in "\n\t" else escape_character(c) for c in text)


def escape_character(character: str) -> str:
    r"""Returns a visible character unchanged, an invisible one as `\xNN`, `\uNNNN` or
    `\UNNNNNNNN`.
    """
    return character if is_visible(character) else escape_code(character)


def escape_code(character: str) -> str:
    r"""Returns the escape of any character, also of a visible one, as Python writes it.

    `\xNN` below U+0100, `\uNNNN` below U+10000, `\UNNNNNNNN` for all others.
    """
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"


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
    if not line.isprintable():
        line = "".join(c if c.isprintable() else _REPLACEMENT for c in line)
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
