"""Text of hosts and inventories in every output: harmless, bounded, and nothing else changed."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from fleetaudit.text.sanitize import (
    INVISIBLE,
    bounded_text,
    escape_code,
    escape_line,
    escape_text,
    printable_line,
    quote_line,
    shorten,
    terminal_line,
)

HOSTILE = "\x1b]0;owned\x07\x00\x9b2J\u202eabc\u2066\ud800\ufeff\U000e0001\r\n\t\u2028x"
LINES: list[Callable[[str], str]] = [terminal_line, escape_line, printable_line]


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(character) in INVISIBLE for character in text)


@pytest.mark.parametrize("sanitize", LINES)
def test_a_line_holds_no_character_that_moves_a_cursor_or_cannot_be_encoded(
    sanitize: Callable[[str], str],
) -> None:
    line = sanitize(HOSTILE)
    assert is_harmless(line)
    assert "abc" in line
    assert line.encode("utf-8")


@pytest.mark.parametrize("sanitize", LINES)
def test_visible_characters_stay_as_they_are(sanitize: Callable[[str], str]) -> None:
    assert sanitize("web-01 “ü” 日本 🙂") == "web-01 “ü” 日本 🙂"


def test_a_file_has_no_character_that_xml_forbids() -> None:
    assert ET.fromstring(f"<a>{escape_line(HOSTILE)}</a>").text == escape_line(HOSTILE)


def test_each_line_has_its_bound() -> None:
    assert terminal_line("x" * 3000) == "x" * 2000 + "…"
    assert escape_line("x" * 5000) == "x" * 4096 + "…"
    assert printable_line("x" * 5000) == "x" * 299 + "…"
    assert printable_line(b"x" * 5000, 10) == "x" * 9 + "…"
    assert shorten("x" * 5000) == "x" * 79 + "…"
    assert shorten(12) == "12"
    assert len(bounded_text("x" * 5000)) == 4000


def test_white_space_is_a_blank() -> None:
    assert terminal_line(" a\r\n\t b") == " a b"
    assert escape_line("a\r\nb") == "a  b"
    assert printable_line("  a \n\u00a0 b ") == "a b"
    assert escape_text("a\n\tb\r") == "a\n\tb\\x0d"


def test_an_escape_names_the_character() -> None:
    assert [*map(escape_code, "\x1b\u202e\U000e0001")] == [r"\x1b", r"\u202e", r"\U000e0001"]
    assert escape_line("a\x00b\u2028c") == r"a\x00b\u2028c"


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert printable_line(b"caf\xe9 \xff") == "caf\ufffd \ufffd"
    assert bounded_text("a\ud800b") == "a?b"


def test_a_quotation_is_empty_if_the_host_sent_nothing() -> None:
    assert quote_line(b" \r\n", "; it printed ") == ""
    assert quote_line(b"no\x07", "; it printed ") == "; it printed “no\ufffd”"
