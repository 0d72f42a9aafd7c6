"""Explains what is wrong in a YAML file: errors with line and column, and the usual cause. Pure.

Rules: no message repeats a value, because a value may be a secret.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from fleetaudit.errors import InputError

from .phrases import DUPLICATE_KEY_HINT, describe_duplicate_key
from .sanitize import shorten
from .yaml_scalars import PREFIX

Where = tuple[int, int]
"""Line and column, as in `Position`."""

QUOTE_TEXT = "quote it, if it is meant as text"
_PLAIN_VALUE = "write the plain value"
_TAG_HINTS = {
    "!vault": "leave the value out of this file; keys and an SSH agent need no password here",
    "!unsafe": "it belongs to a lone value, not to a list or mapping",
}


@dataclass(frozen=True)
class YamlErrors:
    """Makes the errors of one file; `source` is its name in messages."""

    source: str

    def at(self, message: str, where: Where, hint: str = "") -> InputError:
        """Returns an error to raise about what begins at `where`."""
        line, column = where
        return InputError(message, source=self.source, line=line, column=column, hint=hint)

    def duplicate_key(self, key: str, first: Where, where: Where) -> InputError:
        """Returns the error for a key that its mapping has already, at `first`.

        SafeLoader lets the last one win.
        """
        line, column = first
        return self.at(
            describe_duplicate_key(key, line, column),
            where,
            DUPLICATE_KEY_HINT,
        )

    def unknown_tag(self, tag: str, where: Where) -> InputError:
        """Returns the error for a tag that neither YAML 1.1 nor the caller knows."""
        name = shorten(_tag_name(tag))
        if name == "!!value":
            return self.at("a lone “=” is not a value in YAML 1.1", where, "quote it")
        if name.startswith("!!python/"):
            message = f"the tag {name}: a file that is read must not run code"
            return self.at(message, where, _PLAIN_VALUE)
        hint = _TAG_HINTS.get(name, f"{_PLAIN_VALUE}, without the tag")
        return self.at(f"the tag {name} is not supported yet", where, hint)

    def syntax(self, e: yaml.MarkedYAMLError, text: str) -> InputError:
        """Returns the parser's error with its place in `text`, and with the usual cause as a hint.

        A tab is named as such: the parser calls it a character that cannot start any token.
        """
        line, column = _place_of(e)
        written = _line_at(text, line)
        if _is_tab_at(written, column):
            return self.at(
                "a tab; YAML needs spaces",
                (line, written.index("\t") + 1),
                "indent with spaces",
            )
        problem = e.problem or e.context or "not YAML"
        return self.at(problem, (line, column), _syntax_hint(problem, e.context or "", written))


def _tag_name(tag: str) -> str:
    """Returns a tag as it is written in a file: !!int for one of YAML's own, !vault unchanged."""
    if not tag.startswith(PREFIX):
        return tag
    return "!!" + tag.removeprefix(PREFIX)


def _place_of(e: yaml.MarkedYAMLError) -> Where:
    """Returns where the parser met a problem; (0, 0) if it does not say."""
    mark = e.problem_mark or e.context_mark
    if not mark:
        return 0, 0
    return mark.line + 1, mark.column + 1


def _line_at(text: str, line: int) -> str:
    """Returns a line by its number from 1, "" if the text has no such line."""
    return "".join(text.splitlines()[max(line - 1, 0) : line])


def _is_tab_at(written: str, column: int) -> bool:
    """Returns whether a line is indented by a tab, or has one at `column`."""
    indentation = written[: len(written) - len(written.lstrip())]
    return "\t" in indentation or written[column - 1 : column] == "\t"


_INDENTATION_PROBLEMS = ("did not find expected key", "did not find expected '-' indicator")
"""What libyaml says of a line that is indented less or more than its block."""


def _syntax_hint(problem: str, context: str, written: str) -> str:
    """Returns the usual cause of a parser's problem in a line, "" if none is known."""
    is_template = "mapping" in problem or "hashable" in problem or "flow" in context
    if "{{" in written and is_template:
        return "quote a value that begins with {{"
    if "mapping values are not allowed" in problem:
        return "quote a value that contains “: ”, or look at the indentation"
    if problem in _INDENTATION_PROBLEMS:
        return "compare the indentation of this line with the lines above: it must match theirs"
    return ""
