"""Text of hosts and inventories in every output: harmless, bounded, and nothing else changed."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from fleetaudit.text.sanitize import (
    bounded_text,
    escape_code,
    escape_line,
    escape_text,
    first_invisible,
    is_visible,
    printable_line,
    quote_line,
    shorten,
    terminal_line,
)

HOSTILE = "\x1b]0;owned\x07\x00\x9b2J\u202eabc\u2066\ud800\ufeff\U000e0001\r\n\t\u2028x"
LINES: list[Callable[[str], str]] = [terminal_line, escape_line, printable_line]


INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


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


NOTHING_SHOWN = (
    "\u00a0\u2003\u3000\u00ad\u034f\u115f\u1160\u17b4\u180b\u200b\u2066\u2800\u3164\ufe0f\uffa0"
    "\U000e0100"
)
ONE_BY_ONE: list[Callable[[str], str]] = [terminal_line, escape_line, escape_text]


@pytest.mark.parametrize("sanitize", ONE_BY_ONE)
def test_names_that_differ_in_what_cannot_be_seen_stay_different(
    sanitize: Callable[[str], str],
) -> None:
    names = {f"web{c}1" for c in NOTHING_SHOWN} | {"web1", "web 1"}
    shown = {sanitize(name) for name in names}
    assert len(shown) == len(names)
    assert all(map(is_visible, shown))
    assert {sanitize(name) for name in shown} == shown
    assert sanitize("web\u31641") == r"web\u31641"


@pytest.mark.parametrize("character", NOTHING_SHOWN)
def test_a_reason_has_a_sign_for_what_cannot_be_seen(character: str) -> None:
    assert printable_line(f"a{character}b") in ("a b", "a\ufffdb")
    assert first_invisible(f"a{character}b") == character


@pytest.mark.parametrize("sanitize", ONE_BY_ONE)
def test_combining_marks_stay_on_their_own_characters(sanitize: Callable[[str], str]) -> None:
    acute, overlay = "\u0301", "\u0338"
    tibetan, points = "\u0f62\u0f90\u0fb1\u0f7a\u0f53", "\u05e9\u05c1\u05b8\u05bc\u0596"
    for text in ("cafe" + acute, tibetan, points):
        assert sanitize(text) == text
        assert first_invisible(text) == ""
    assert sanitize(overlay + "a") == r"\u0338a"
    flood = sanitize("e" + 5000 * acute)
    assert flood.count(acute) == 4
    assert first_invisible("e" + 5 * acute) == acute
