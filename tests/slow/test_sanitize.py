"""No Unicode character is invisible in a terminal or in a file."""

from __future__ import annotations

import sys

from fleetaudit.text.sanitize import escape_line, escape_text, printable_line, terminal_line
from tests.unit.text.test_sanitize import is_harmless

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]


def test_no_unicode_character_is_invisible_in_a_terminal_or_a_file() -> None:
    for start in range(0, len(EVERY_CHARACTER), 1000):
        some = "".join(EVERY_CHARACTER[start : start + 1000])
        assert is_harmless(terminal_line(some))
        assert is_harmless(escape_line(some))
        assert is_harmless(escape_text(some).replace("\n", "").replace("\t", ""))
        assert printable_line(some, 1000).isprintable()
