"""Patterns with * and ? as regular expressions that fail as quickly as they match. Pure."""

from __future__ import annotations

import re


def wildcard_regex(pattern: str, *, question_mark: bool = True) -> str:
    """Returns the regular expression that matches the whole of what `pattern` matches.

    * is any text and ? one character; without `question_mark` it stands for itself. Of the texts
    that a * could be, only the shortest is tried (an atomic group), except for the last *: no other
    one could help. So many of them in a row take no more time than their number times the length of
    the text.
    """
    first, *rest = (_literal(part, question_mark) for part in pattern.split("*"))
    if not rest:
        return first
    *middle, last = rest
    groups = "".join(f"(?>.*?{part})" for part in middle)
    return f"{first}{groups}.*{last}"


def _literal(part: str, question_mark: bool) -> str:
    """Returns the regular expression of what is between two *."""
    if not question_mark:
        return re.escape(part)
    return ".".join(map(re.escape, part.split("?")))
