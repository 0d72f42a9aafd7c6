"""Lines of plain text for a terminal: harmless, counted, wrapped. Pure.

Rules: what a host or an inventory said passes `safe` before it becomes part of a line.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable

from ..folding import Folded

UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Control, format (bidi overrides among them), surrogate, private use, unassigned, line and paragraph separators."""


def safe(text: str, limit: int = 2000) -> str:
    """Returns `text` on one line with nothing in it that a terminal would obey; other white space becomes a blank."""
    plain = re.sub(r"[ \t\r\n]+", " ", text[: limit + 1])
    plain = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in UNSEEN else c for c in plain)
    return plain if len(plain) <= limit else plain[:limit] + "…"


def counted(n: int, noun: str) -> str:
    """Returns "1 host", "2 hosts"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def hosts_in_words(folded: Folded) -> str:
    """Returns folded hosts as one text, and how many are not named."""
    names = ", ".join(safe(name) for name in folded.ranges)
    return names + (f" and {folded.more:,} more" if folded.more else "")


def wrapped(paragraphs: Iterable[str], width: int, indent: str = "") -> list[str]:
    """Returns the lines of the paragraphs; further lines of one hang by two blanks, and no word is broken."""
    return [
        line
        for text in paragraphs
        for line in textwrap.wrap(
            text,
            max(width, 40),
            initial_indent=indent,
            subsequent_indent=indent + "    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def joined(lines: Iterable[str]) -> str:
    """Returns lines as one text, without blanks at their ends."""
    return "".join(line.rstrip() + "\n" for line in lines)
