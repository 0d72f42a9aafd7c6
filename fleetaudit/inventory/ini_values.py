"""Words and values of INI inventories: split as a shell splits, typed as Python literals. Pure.

Rules: the language is Ansible's own. A value is a Python literal if it looks like one (`1,2` is a
list, `True` a boolean), and text otherwise (`0022`). No message repeats a value.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from typing import Any

from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_scalars import MAX_NUMBER

from .entries import Origin
from .values import Unsafe

# Text that cannot be a Python literal. Most values are so, and compiling each costs more than all
# the rest of reading.
_TEXT = re.compile(r"(?!(?:True|False|None)\Z)[A-Za-z_][\w.:/@-]*|[0-9]+(?:\.[0-9]+){2,}", re.ASCII)
_QUOTING = frozenset("'\"\\#")
# One step through a line, as a shell in POSIX mode takes it: blanks, plain text, quoted text, one
# escaped character, a comment. Python's shlex says the same in quadratic time.
_STEP = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|(?P<plain>[^ \t\r\n'"\\#]+)|'(?P<single>[^']*)'"""
    r"""|"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|\\(?P<escaped>.)|(?P<comment>\#.*)""",
    re.DOTALL,
)
_ESCAPED_QUOTE = re.compile(r"\\([\"\\])")


def split_words(line: str, at: Origin) -> list[str]:
    """Returns the words of a line as a shell splits them.

    Raises `InputError` for an open quotation.
    """
    if _QUOTING.isdisjoint(line):
        return re.split("[ \t\r\n]+", line)
    words, parts, position = list[str](), list[str](), 0
    while position < len(line):
        step = _STEP.match(line, position)
        if step is None:
            reason = "no escaped character" if line[position] == "\\" else "no closing quotation"
            raise at.error(f"a host's line does not end well: {reason}", "close the quotation")
        position = step.end()
        if step.lastgroup in ("blank", "comment"):
            words += _joined(parts)
            parts = []
        else:
            parts.append(_text_of(step))
    return words + _joined(parts)


def _text_of(step: re.Match[str]) -> str:
    """Returns the text that one step adds to a word."""
    kind = step.lastgroup or ""
    if kind == "double":
        # Between double quotes a backslash only guards a quote or another backslash.
        return _ESCAPED_QUOTE.sub(r"\1", step[kind])
    return step[kind]


def _joined(parts: list[str]) -> list[str]:
    """Returns the word that consists of these parts, none without parts."""
    return ["".join(parts)] if parts else []


def parse_value(text: str, name: str, at: Origin) -> Any:
    """Returns the value of the variable `name`.

    Raises `InputError` for a literal that is nested too deeply, too long a number, or binary.
    """
    if _TEXT.fullmatch(text):
        return text
    cause: Exception
    try:
        return _plain_value(_parse_literal(text))
    except UnicodeDecodeError as e:
        problem, hint, cause = "is binary", "quote it twice, if it is meant as text", e
    except (ValueError, SyntaxError):
        return text
    except (RecursionError, MemoryError) as e:
        problem, hint, cause = "is nested too deeply", "shorten it", e
    except OverflowError as e:
        problem, hint, cause = "has too long a number", "quote it twice", e
    raise at.error(f"the value of “{shorten(name)}” {problem}", hint) from cause


def _parse_literal(text: str) -> Any:
    """Returns the value of a Python literal; raises ValueError or SyntaxError for anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return ast.literal_eval(text)


def _plain_value(value: Any) -> Any:
    """Returns what Ansible makes of a Python literal: tuples and sets become lists, others text.

    Raises OverflowError for too long a number and UnicodeDecodeError for bytes that are not UTF-8.
    """
    match value:
        case int() if value.bit_length() > 4 * MAX_NUMBER:
            raise OverflowError
        case str() | bool() | int() | float() | None:
            return value
        case bytes():
            return Unsafe(value.decode())  # Ansible trusts no template in it
        case dict():
            return {key: _plain_value(inner) for key, inner in value.items()}
        case set():
            return _plain_list(_in_order(value))
        case list() | tuple():
            return _plain_list(value)
        case _:
            return "..." if value is ... else str(value)


def _plain_list(values: Iterable[Any]) -> list[Any]:
    """Returns the plain value of each of `values`."""
    return [_plain_value(inner) for inner in values]


def _in_order(values: set[Any]) -> Iterable[Any]:
    """Returns the members of a set, sorted if all are text.

    Such a set has another order in every run of Python, in Ansible too.
    """
    return sorted(values) if all(isinstance(value, str) for value in values) else values
