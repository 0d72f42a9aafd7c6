"""Words and values of INI inventories: split as a shell splits, typed as Python literals. Pure.

Rules: the language is Ansible's own. A value is a Python literal if it looks like one (`1,2` is a
list, `True` a boolean), and text otherwise (`0022`). No message repeats a value.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
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
_REASONS = {"\\": "no escaped character"}
"""Why no step fits at this character."""
_ESCAPED_QUOTE = re.compile(r"\\([\"\\])")


def split_words(line: str, at: Origin) -> list[str]:
    """Returns the words of a line as a shell in POSIX mode splits them, without their quotes.

    `line` has no blanks around it; “#” begins a comment. Raises `InputError` at the place `at` for
    an open quotation, and for a backslash at the end. Ansible: `_parse_host_definition` in
    plugins/inventory/ini.py, which calls `shlex.split(line, comments=True)`.
    """
    if _QUOTING.isdisjoint(line):
        return re.split("[ \t\r\n]+", line)
    words, parts = list[str](), list[str]()
    for step in _steps(line, at):
        if step.lastgroup in ("blank", "comment"):
            words += _joined(parts)
            parts = []
        else:
            parts.append(_text_of(step))
    return words + _joined(parts)


def _steps(line: str, at: Origin) -> Iterator[re.Match[str]]:
    """Yields the steps through a line, one after the other; raises `InputError` where none fits."""
    position = 0
    while position < len(line):
        step = _STEP.match(line, position)
        if step is None:
            reason = _REASONS.get(line[position], "no closing quotation")
            raise at.error(f"a host's line does not end well: {reason}", "close the quotation")
        position = step.end()
        yield step


def _text_of(step: re.Match[str]) -> str:
    """Returns the text that one step adds to a word."""
    double = step["double"]
    if double is None:
        return step[step.lastgroup or 0]
    # Between double quotes a backslash only guards a quote or another backslash.
    return _ESCAPED_QUOTE.sub(r"\1", double)


def _joined(parts: list[str]) -> list[str]:
    """Returns the word that consists of these parts, none without parts."""
    if not parts:
        return []
    return ["".join(parts)]


def parse_value(text: str, name: str, at: Origin) -> Any:
    """Returns the value of the variable `name`, whose text is written at `at`.

    A Python literal has its type (`5`, `1,2`, `True`, `{'a': 1}`); anything else is text, also
    `0022`, `yes` and `1.2.3`. Raises `InputError` for a literal that is nested too deeply, has too
    long a number or half a character, or is binary and no UTF-8; the error names the variable and
    not the value.
    Ansible: `_parse_value` in plugins/inventory/ini.py.
    """
    if _TEXT.fullmatch(text):
        return text
    cause: Exception
    try:
        return _plain_value(_parse_literal(text))
    except UnicodeDecodeError as e:
        problem, hint, cause = "is binary", "quote it twice, if it is meant as text", e
    except UnicodeEncodeError as e:
        problem, hint, cause = "has half a character (a lone surrogate)", "correct the escape", e
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

    Raises OverflowError for too long a number, UnicodeDecodeError for bytes that are not UTF-8 and
    UnicodeEncodeError for half a character.
    """
    match value:
        case int() if value.bit_length() > 4 * MAX_NUMBER:
            raise OverflowError
        case bool() | int() | float() | None:
            return value
        case str():
            value.encode()
            return value
        case bytes():
            return Unsafe(value.decode())  # Ansible trusts no template in it
        case dict():
            "".join(map(str, value)).encode()
            return {key: _plain_value(inner) for key, inner in value.items()}
        case set():
            return _plain_list(_in_order(value))
        case list() | tuple():
            return _plain_list(value)
        case _:
            return "..." if value is ... else str(value)


def _plain_list(values: Iterable[Any]) -> list[Any]:
    """Returns the plain value of each of `values`."""
    return list(map(_plain_value, values))


def _in_order(values: set[Any]) -> Iterable[Any]:
    """Returns the members of a set, sorted if all are text.

    Such a set has another order in every run of Python, in Ansible too.
    """
    return sorted(values) if all(isinstance(value, str) for value in values) else values
