"""Colours the text of a terminal: only words that have the same meaning without colour.

Rules: the reports are plain text, and only their own words are coloured: those at the beginning of
a line, before two blanks or a colon, and those that only our own words precede. So no text of a
host changes the colours. Without a terminal that has colour, the text is unchanged, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TextIO

RED, GREEN, YELLOW, MAGENTA, CYAN, BOLD = "1;31", "32", "33", "35", "36", "1"
_TONES = {
    "error": RED,
    "warning": YELLOW,
    "info": CYAN,
    "regression": RED,
    "fix": GREEN,
    "changed": CYAN,
    "newly not audited": MAGENTA,
    "no longer known": MAGENTA,
    "no longer selected": MAGENTA,
    "now known": CYAN,
    "newly selected": CYAN,
    "audited again": GREEN,
    "rebuilt": CYAN,
    "renamed": CYAN,
    "gone": CYAN,
    "new host": CYAN,
    "waived": CYAN,
}
_LEADING = re.compile(rf"^(  )?({'|'.join(_TONES)})(?=(?: \w+| \(\w+\))?  )", re.MULTILINE)
_STATUS_TONES = {"Act": RED, "Watch": YELLOW, "All as expected": GREEN, "Cannot say": MAGENTA}
_STATUS = re.compile(
    rf"^({'|'.join(_STATUS_TONES)})(?=: (?:[\d,]+|all|the|only|none|no) )", re.MULTILINE
)
"""The status of a run, before the words that its sentence may begin with: a host may have its name.
"""
_HEADINGS = re.compile(
    r"^(?:First(?=(?:, for [^:\n]*)?:  )|"
    r"(?:Findings|Waived, not counted|Changed since|Not audited|Not ready|Void|VOID)\b)",
    re.MULTILINE,
)
_GOOD = re.compile(
    r"^([\d,]+) of \1 scenarios? as expected|^Nothing changed|^(?:[\d,]+ hosts?): (?=[\d,]+ ready,"
    r" 0 not)",
    re.MULTILINE,
)
_BAD = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^(\S+(?: +[\w.+–?-]+)* {2,}|  [a-z ]{12}  )(✗ FAIL)",
        r"^(\S+: )(NOT ready)",
        r"^(  \S+ +(?:ipv4|ipv6|unix) [^:\n]*expected [^:\n]*: )(NOT as expected)",
        r"^(  [^:\n]* in [\d,]+ trials?; expected [^:\n]*: )(NOT as expected)",
    )
)
"""What is wrong, after all that may stand before it in its line. Text of a host has no two blanks
together, and comes after the verdict.
"""


def has_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Returns whether text for `stream` is coloured: NO_COLOR, then FORCE_COLOR, take precedence
    over the terminal.

    Sources: no-color.org, force-color.org, bixense.com/clicolors.
    """
    if environment.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environment.get(name, "0") not in ("", "0"):
            return True
    if environment.get("TERM") == "dumb" or environment.get("CLICOLOR") == "0":
        return False
    return stream.isatty()


def add_colour(text: str) -> str:
    """Returns the text of a report with its words in colour; otherwise it is unchanged."""
    text = _LEADING.sub(lambda found: f"{found[1] or ''}{_in(_TONES[found[2]], found[2])}", text)
    text = _STATUS.sub(lambda found: _in(_STATUS_TONES[found[1]], found[1]), text)
    text = _HEADINGS.sub(lambda found: _in(BOLD, found[0]), text)
    text = _GOOD.sub(lambda found: _in(GREEN, found[0]), text)
    for pattern in _BAD:
        text = pattern.sub(lambda found: found[1] + _in(RED, found[2]), text)
    return text


def _in(colour: str, words: str) -> str:
    """Returns words in a colour (ECMA-48 SGR)."""
    return f"\x1b[{colour}m{words}\x1b[0m"
