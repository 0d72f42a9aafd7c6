"""Parses JSON into a document whose values have their lines. No I/O.

Rules: Ansible tries JSON before YAML in every file, and the two differ (`1e3` is a number in JSON
only). The standard library decides what is JSON; the walk here adds places, and refuses duplicate
keys and values that are nested too deeply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.document import Document, Position
from fleetaudit.text.phrases import DUPLICATE_KEY_HINT, describe_duplicate_key
from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_builder import MAX_DEPTH, MAX_NODES, DuplicateKeyHandler

from .values import from_json

# Commas and colons add nothing: the text is known to be JSON.
# Possessive (*+): what it keeps for going back is 100 times the text.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[][{}]|[^][{}:,"\s]+')
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTAINERS: dict[str, Callable[[], Any]] = {"{": dict, "[": list}
_NO_KEY = object()


def parse_json(
    text: str, *, source: str, repeated: DuplicateKeyHandler | None = None
) -> Document | None:
    """Returns the document in `text`, None if it is not a JSON object or list.

    `source` is the name of the file in messages. `repeated` is called for a duplicate key, whose
    last value counts; without it that is an error. Objects with the keys of `from_json` become
    encrypted or unsafe text. Raises `InputError` with line and column for a duplicate key, half a
    character (a lone surrogate), values nested deeper than `MAX_DEPTH`, and more than `MAX_NODES`
    of them. Ansible: `from_yaml` in parsing/utils/yaml.py, which tries JSON first.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return None
    # Commas in texts are counted too: no real inventory has five million of them.
    if sum(map(text.count, ",[{")) > MAX_NODES:
        raise InputError(f"more than {MAX_NODES} values", source=source, hint="split the file")
    try:
        json.loads(text)
    except RecursionError:
        pass  # it was JSON so far, and the walk stops where it is nested too deeply
    except ValueError:
        return None
    return _Walk(text, source, repeated).document()


class _Frame:
    """A list or mapping that is still open; `places` are those of its items."""

    __slots__ = ("items", "key", "key_at", "places", "start")

    def __init__(self, items: Any, start: Position) -> None:
        self.items, self.start = items, start
        self.key: Any = _NO_KEY
        self.key_at = start
        self.places: dict[Any, tuple[int, int, int, int]] = {}

    def value(self) -> Any:
        """Returns what the finished list or mapping stands for, usually itself."""
        if isinstance(self.items, dict):
            return from_json(self.items)
        return self.items

    def set_key(self, key: Any, at: Position) -> None:
        """Remembers the key of the next value."""
        self.key, self.key_at = key, at

    def append(self, value: Any, at: Position) -> None:
        """Adds an item of a list."""
        self.places[len(self.items)] = (*at, *at)
        self.items.append(value)

    def set_value(self, value: Any, at: Position) -> None:
        """Adds the value of the key that came before it."""
        self.items[self.key] = value
        self.places[self.key] = (*self.key_at, *at)
        self.key = _NO_KEY


class _Walk:
    """Builds values from the tokens of a text that is known to be JSON."""

    def __init__(self, text: str, source: str, repeated: DuplicateKeyHandler | None) -> None:
        self._text, self._source, self._repeated = text, source, repeated
        self._line, self._line_start, self._counted_to = 1, 0, 0
        self._frames: list[_Frame] = []
        self._places: dict[int, Any] = {}
        self._root: tuple[Any, Position] = (None, Position(1, 1))

    def document(self) -> Document:
        """Returns the whole text as a document."""
        for match in _TOKEN.finditer(self._text):
            word = match[0]
            if word in "]}":
                self._close()
            else:
                self._take(word, self._position(match.start()))
        return Document(self._source, *self._root, self._places)

    def _position(self, at: int) -> Position:
        """Returns the line and column of an offset, which is never before the last one."""
        newlines = self._text.count("\n", self._counted_to, at)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", self._counted_to, at) + 1
        self._counted_to = at
        return Position(self._line, at - self._line_start + 1)

    def _take(self, word: str, at: Position) -> None:
        """Takes a word that opens a list or mapping, or is a scalar."""
        if word in _CONTAINERS:
            self._open(_CONTAINERS[word](), at)
        elif word[0] == '"' and "\\" not in word and word.isascii():
            self._add(word[1:-1], at)
        else:
            self._add(self._parse_scalar(word, at), at)

    def _parse_scalar(self, word: str, at: Position) -> Any:
        """Returns a number, a constant, or a text with escapes or characters beyond ASCII.

        Raises `InputError` for a lone surrogate, which no file name or terminal can have.
        """
        value = json.loads(word)
        if isinstance(value, str) and _SURROGATE.search(value):
            raise self._error("half a character (a lone surrogate)", at)
        return value

    def _open(self, items: Any, at: Position) -> None:
        """Opens a list or mapping."""
        if len(self._frames) >= MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH}", at)
        self._frames.append(_Frame(items, at))

    def _close(self) -> None:
        """Closes the innermost list or mapping and adds it to the one around it."""
        frame = self._frames.pop()
        value = frame.value()
        if value is frame.items:
            self._places[id(value)] = frame.places
        self._add(value, frame.start)

    def _add(self, value: Any, at: Position) -> None:
        """Adds a value, or the key of a mapping, to the innermost frame."""
        if not self._frames:
            self._root = (value, at)
            return
        frame = self._frames[-1]
        if isinstance(frame.items, list):
            frame.append(value, at)
        elif frame.key is not _NO_KEY:
            frame.set_value(value, at)
        else:
            if value in frame.items:
                self._report_duplicate(value, frame.places[value], at)
            frame.set_key(value, at)

    def _report_duplicate(
        self, key: Any, first: tuple[int, int, int, int], second: Position
    ) -> None:
        """Calls `repeated` for a duplicate key, or raises `InputError` without it."""
        line, column = first[:2]
        if self._repeated is None:
            message = describe_duplicate_key(shorten(key), line, column)
            raise self._error(message, second, DUPLICATE_KEY_HINT)
        self._repeated(shorten(key), line, second.line)

    def _error(self, message: str, at: Position, hint: str = "") -> InputError:
        """Returns the error about what is at this position."""
        return InputError(message, source=self._source, line=at.line, column=at.column, hint=hint)
