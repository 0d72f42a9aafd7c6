"""JSON into a document whose values know their lines. No I/O.

Rules: Ansible tries JSON before YAML in every file, and the two differ (`1e3` is a number in JSON
only). The standard library decides what is JSON; the walk here adds places, and refuses duplicate
keys and what nests too deep.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_lines import (
    MAX_DEPTH,
    MAX_NODES,
    Document,
    DuplicateKeyHandler,
    Position,
)

from .values import from_json

# Commas and colons say nothing that is not known already: the text was found to be JSON.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]|[^][{}:,"\s]+')
_NO_KEY = object()


def parse_json(
    text: str, *, source: str, repeated: DuplicateKeyHandler | None = None
) -> Document | None:
    """Returns the document in `text`, or None if it is not JSON; raises `InputError` for JSON that
    is not supported.

    `repeated` is called for a duplicate key, whose last value counts; None makes that an error.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return None
    # Commas in texts are counted too: five million of them are in no inventory that is meant.
    if sum(map(text.count, ",[{")) > MAX_NODES:
        raise InputError(f"more than {MAX_NODES} values", source=source, hint="split the file")
    try:
        json.loads(text)
    except RecursionError:
        pass  # so far it was JSON, and the walk stops where it nests too deep
    except ValueError:
        return None
    return _Walk(text, source, repeated).document()


class _Frame:
    """A list or mapping that is still open."""

    __slots__ = ("items", "key", "key_at", "places", "start")

    def __init__(self, items: Any, start: Position) -> None:
        self.items, self.start = items, start
        self.key: Any = _NO_KEY
        self.key_at = start
        self.places: dict[Any, tuple[int, int, int, int]] = {}


class _Walk:
    """Builds values from the tokens of a text that is known to be JSON."""

    def __init__(self, text: str, source: str, repeated: DuplicateKeyHandler | None) -> None:
        self._text, self._source, self._repeated = text, source, repeated
        self._line, self._line_start, self._seen = 1, 0, 0
        self._frames: list[_Frame] = []
        self._places: dict[int, Any] = {}
        self._root: tuple[Any, Position] = (None, Position(1, 1))

    def document(self) -> Document:
        for match in _TOKEN.finditer(self._text):
            word = match[0]
            if word in "]}":
                self._close()
            else:
                self._take(word, self._position(match.start()))
        return Document(self._source, *self._root, self._places)

    def _position(self, at: int) -> Position:
        newlines = self._text.count("\n", self._seen, at)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", self._seen, at) + 1
        self._seen = at
        return Position(self._line, at - self._line_start + 1)

    def _take(self, word: str, at: Position) -> None:
        if word in "{[":
            if len(self._frames) >= MAX_DEPTH:
                raise self._fail(f"nested deeper than {MAX_DEPTH}", at)
            self._frames.append(_Frame({} if word == "{" else [], at))
        elif word[0] == '"' and "\\" not in word and word.isascii():
            self._add(word[1:-1], at)
        else:
            value = json.loads(word)
            if (
                isinstance(value, str)
                and not value.isascii()
                and any("\ud800" <= c <= "\udfff" for c in value)
            ):
                raise self._fail("half a character (a lone surrogate)", at)
            self._add(value, at)

    def _close(self) -> None:
        frame = self._frames.pop()
        value = from_json(frame.items) if isinstance(frame.items, dict) else frame.items
        if value is frame.items:
            self._places[id(value)] = frame.places
        self._add(value, frame.start)

    def _add(self, value: Any, at: Position) -> None:
        if not self._frames:
            self._root = (value, at)
            return
        frame = self._frames[-1]
        if isinstance(frame.items, list):
            frame.places[len(frame.items)] = (*at, *at)
            frame.items.append(value)
        elif frame.key is _NO_KEY:
            if value in frame.items:
                line, column = frame.places[value][:2]
                if self._repeated:
                    self._repeated(shorten(value), line, at.line)
                    frame.key, frame.key_at = value, at
                    return
                what = f"the key “{shorten(value)}” is here for the second time"
                raise self._fail(f"{what}; the first is in line {line}, column {column}", at)
            frame.key, frame.key_at = value, at
        else:
            frame.items[frame.key] = value
            frame.places[frame.key] = (*frame.key_at, *at)
            frame.key = _NO_KEY

    def _fail(self, message: str, at: Position) -> InputError:
        return InputError(message, source=self._source, line=at.line, column=at.column)
