"""Orders the versions of Debian packages as dpkg does (deb-version(7)). Pure.

Rules: versions come from files of users and are treated as text only; any text has a place in the
order.
"""

from __future__ import annotations

import re

_Number = tuple[int, str]
_Part = tuple[tuple[int, ...], _Number]
DebianVersionKey = tuple[_Number, tuple[_Part, ...], tuple[_Part, ...]]

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_END = 0
"""The weight of the end of a text: after "~", before everything else."""
_LAST_ASCII = 256


def debian_version_key(version: str) -> DebianVersionKey:
    """Returns a sort key: 6.12~rc3-1, 6.12.9-1~bpo12+1, 6.12.9-1, 6.12.9-1+b1, 6.12.10-1, 1:1-1.

    The parts of the key are the epoch, the upstream version and the revision of the package. A
    revision that is missing counts as 0.
    """
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return _number_key(epoch if colon else ""), _text_key(upstream), _text_key(revision)


def _text_key(text: str) -> tuple[_Part, ...]:
    """Returns the key of a part of a version: other characters and numbers in turn.

    findall ends with an empty match, which compares the end of the text. "0" is equal to "".
    """
    parts = [(_word_key(word), _number_key(number)) for word, number in _PARTS.findall(text)]
    if len(parts) > 1 and parts[-2] == parts[-1]:
        parts.pop()
    return tuple(parts)


def _word_key(word: str) -> tuple[int, ...]:
    """Returns the key of characters that are no digits."""
    return (*map(_weight, word), _END)


def _weight(character: str) -> int:
    """Returns the weight of a character: "~" before the end, letters before all others."""
    if character == "~":
        return _END - 1
    if character.isascii() and character.isalpha():
        return ord(character)
    return ord(character) + _LAST_ASCII


def _number_key(digits: str) -> _Number:
    """Returns the key of a number of any length: how many digits it has, then these."""
    significant = digits.lstrip("0")
    return len(significant), significant
