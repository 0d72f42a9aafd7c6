"""Builds values and their places from the events of a YAML parser.

The events of libyaml's parser are read, not its nodes: composing nodes recurses in C, so that a
file of nothing but "- - - -" ends the process, and it takes several times as long. What a merge key
means is left to the installed SafeLoader.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from fleetaudit.errors import InputError

from .document import Document, Place, Position
from .sanitize import shorten
from .yaml_errors import QUOTE_TEXT, Where, YamlErrors
from .yaml_scalars import (
    MAP,
    MAX_NUMBER,
    MERGE,
    NUMBERS,
    PREFIX,
    SCALARS,
    STR,
    ConstructedNode,
    Constructor,
    tag_of,
)

MAX_DEPTH = 100
"""Maximum depth to which lists and mappings nest."""
MAX_NODES = 5_000_000
"""Maximum number of values of a document once every alias and merge key is written out; a long text
counts as several.
"""

DuplicateKeyHandler = Callable[[str, int, int], None]
"""Called for a duplicate key of a mapping: the key, the line of the first and of the second."""
Tags = Mapping[str, Callable[[str], Any]]
"""What a scalar with a tag of the caller's becomes, given its text."""
Pairs = list[tuple[yaml.Node, yaml.Node]]

# libyaml's parser if PyYAML was built with it; the one in Python gives the same events, ten times
# slower.
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_KEY = object()
_MERGE_KEY = object()
_COLLECTION_TAGS = {
    True: (None, "!", PREFIX + "seq"),
    False: (None, "!", PREFIX + "map"),
}
"""The tags that a list may have, and those of a mapping."""
_DEPTH_CHANGES = {
    yaml.FlowSequenceStartToken: 1,
    yaml.FlowMappingStartToken: 1,
    yaml.FlowSequenceEndToken: -1,
    yaml.FlowMappingEndToken: -1,
}


class _Frame:
    """A list or mapping that is still open.

    `key` is the pending key of a mapping, `_NO_KEY` if a key is due; None in a list. `mergeable`
    tells whether a merge key may name it or an item of it. `pairs` are the nodes of a mergeable
    mapping's entries, and of any other mapping's merge keys.
    """

    __slots__ = (
        "anchor",
        "is_list",
        "items",
        "key",
        "key_node",
        "key_place",
        "mergeable",
        "pairs",
        "places",
        "size",
        "start",
    )

    def __init__(self, is_list: bool, start: Where, anchor: str | None, mergeable: bool) -> None:
        self.is_list, self.start, self.anchor, self.mergeable = is_list, start, anchor, mergeable
        self.items: Any = [] if is_list else {}
        self.places: dict[Any, Place] = {}
        self.pairs: Pairs = []
        self.key: Any = None if is_list else _NO_KEY
        self.key_node: yaml.Node | None = None
        self.key_place = start
        self.size = 1

    def set(self, value: Any, where: Where) -> None:
        """Puts the value of the pending key into the mapping."""
        place = self.places[self.key] = (*self.key_place, *where)
        self.items[self.key] = value
        if self.key_node is not None:
            self.pairs.append((self.key_node, ConstructedNode((value, place))))
        self.key = _NO_KEY


class Builder:
    """Turns events into values, one at a time and without recursion.

    `_anchors` has the value, the size when written out, and the event (of a scalar) of each anchor.
    `_nodes` has the node of each mapping that a merge key may name, by its id(). `_plain` has the
    values of plain scalars that occurred, because resolving takes regular expressions.
    """

    def __init__(
        self, source: str, tags: Tags, repeated: DuplicateKeyHandler | None = None
    ) -> None:
        """Prepares to read one document.

        `source` is the name of the file in messages. `tags` are the tags that are allowed besides
        those of YAML 1.1. `repeated` is called for a duplicate key; None makes it an error.
        """
        self._source, self._tags, self._repeated = source, tags, repeated
        self._errors = YamlErrors(source)
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, Any]] = {}
        self._open_anchors: set[str] = set()
        self._places: dict[int, Mapping[Any, Place]] = {}
        self._root: tuple[Any, Where] | None = None
        self._nodes: dict[int, yaml.MappingNode] = {}
        self._constructor = Constructor("")
        self._plain: dict[str, Any] = {}
        self._handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.DocumentStartEvent: self._document_start,
        }

    def read(self, text: str) -> None:
        """Reads all events of a text, which `document` then returns as values.

        Raises `InputError` for what is not YAML, for what is refused (see `yaml_lines.py`), and for
        more than `MAX_DEPTH` levels or `MAX_NODES` values.
        """
        loader = LOADER(text)
        get, handlers, event = loader.get_event, self._handlers, None
        try:
            while type(event := get()) is not yaml.StreamEndEvent:
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except yaml.MarkedYAMLError as e:
            raise self._depth_error(text, event) or self._errors.syntax(e, text) from e
        finally:
            loader.dispose()

    def document(self, empty: Any) -> Document:
        """Returns the document that was read.

        `empty` is the value of a document that is empty, or null; if it is None, such a document
        raises `InputError`.
        """
        if self._root is not None and self._root[0] is not None:
            value, position = self._root
            return Document(self._source, value, Position(*position), self._places)
        if empty is None:
            raise InputError("empty: nothing but white space and comments", source=self._source)
        return Document(self._source, empty, Position(1, 1), {})

    # ---- events

    def _document_start(self, event: Any) -> None:
        """Raises `InputError` if a document was read already."""
        if self._root is not None:
            raise self._errors.at(
                "a second document begins here; only one is read",
                _position(event),
                "remove this “---”, or make it a file of its own",
            )

    def _start(self, event: Any) -> None:
        """Opens a list or mapping."""
        where = _position(event)
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in _COLLECTION_TAGS[is_list]:
            raise self._errors.unknown_tag(event.tag, where)
        if len(self._frames) >= MAX_DEPTH:
            raise self._too_deep(where)
        if event.anchor is not None:
            self._check_new_anchor(event.anchor, where)
            self._open_anchors.add(event.anchor)
        self._frames.append(_Frame(is_list, where, event.anchor, self._is_mergeable(event)))

    def _is_mergeable(self, event: Any) -> bool:
        """Returns whether a merge key may name a list or mapping that begins here.

        It may if an anchor names it, if it is the value of a merge key, or if it is an item of such
        a list.
        """
        if event.anchor is not None:
            return True
        if not self._frames:
            return False
        parent = self._frames[-1]
        return parent.key is _MERGE_KEY or (parent.is_list and parent.mergeable)

    def _end(self, _: Any) -> None:
        """Closes a list or mapping and puts it into the one around it.

        Its own anchor is known from here on, not before: a value that contains itself would never
        end.
        """
        frame = self._frames.pop()
        value = frame.items
        if frame.pairs:
            value = self._with_merged(frame)
        self._places[id(value)] = frame.places
        if frame.mergeable and not frame.is_list:
            self._nodes[id(value)] = yaml.MappingNode(MAP, frame.pairs)
        if frame.anchor is not None:
            self._open_anchors.discard(frame.anchor)
            self._anchors[frame.anchor] = (value, frame.size, None)
        self._add(value, frame.start, frame.size)

    def _alias(self, event: Any) -> None:
        """Adds the value of an anchor: the same object, which counts in full each time.

        So a few lines of aliases to aliases cannot stand for more than `MAX_NODES` values.
        """
        where, name = _position(event), event.anchor
        if name in self._anchors:
            value, size, scalar = self._anchors[name]
            self._add(value, where, size, scalar)
            return
        problem = "refers to no anchor above it"
        if name in self._open_anchors:
            problem = "is inside the value that it refers to"
        raise self._errors.at(f"the alias *{shorten(name)} {problem}", where)

    def _scalar(self, event: Any) -> None:
        """Adds the value of a scalar; 64 characters count as one value more.

        Plain scalars without a tag are resolved once for each text.
        """
        where, size = _position(event), 1 + len(event.value) // 64
        plain = event.tag is None and event.implicit[0]
        if plain and event.value in self._plain:
            value = self._plain[event.value]
        else:
            value = self._value_of(event, where)
            if plain:
                self._plain[event.value] = value
        if event.anchor is not None:
            self._check_new_anchor(event.anchor, where)
            self._anchors[event.anchor] = (value, size, event)
        self._add(value, where, size, event)

    def _value_of(self, event: Any, where: Where) -> Any:
        """Returns the value of a scalar, `_MERGE_KEY` for a merge key.

        Raises `InputError` for a tag that is not allowed, a number that is too long, and a text
        that does not fit its tag.
        """
        tag = tag_of(event)
        if tag == STR:
            return event.value
        if tag == MERGE:
            return _MERGE_KEY
        if tag in self._tags:
            return self._convert(self._tags[tag], event.value, tag, where)
        if tag not in SCALARS:
            raise self._errors.unknown_tag(tag, where)
        if tag in NUMBERS and len(event.value) > MAX_NUMBER:
            message = f"a number of more than {MAX_NUMBER} characters"
            raise self._errors.at(message, where, QUOTE_TEXT)
        node = yaml.ScalarNode(tag, event.value)
        return self._convert(self._constructor.construct_document, node, tag, where)

    def _convert(self, function: Callable[[Any], Any], source: Any, tag: str, where: Where) -> Any:
        """Returns what a function makes of a scalar; raises `InputError` for whatever it raises."""
        try:
            return function(source)
        except Exception as e:  # each of PyYAML's constructors raises something else
            name = tag.removeprefix(PREFIX)
            raise self._errors.at(f"not a valid {name}", where, QUOTE_TEXT) from e

    # ---- values into the list or mapping around them

    def _add(self, value: Any, where: Where, size: int, scalar: Any = None) -> None:
        """Puts a finished value into the list or mapping around it, as a key or as a value.

        `size` is the number of values that it counts as, and `scalar` the event that a scalar was
        read from.
        """
        if value is _MERGE_KEY and not self._is_key_due():
            raise self._errors.at("“<<” is a key, not a value", where, QUOTE_TEXT)
        if not self._frames:
            self._root = (value, where)
            return
        frame = self._frames[-1]
        frame.size += size
        if frame.size > MAX_NODES:
            raise self._too_many_values(where)
        if frame.is_list:
            frame.places[len(frame.items)] = (*where, *where)
            frame.items.append(value)
        elif frame.key is _NO_KEY:
            self._add_key(frame, value, where, scalar)
        elif frame.key is _MERGE_KEY:
            frame.key = _NO_KEY
            frame.pairs.append((yaml.ScalarNode(MERGE, "<<"), self._merge_node(value, where)))
        else:
            frame.set(value, where)

    def _is_key_due(self) -> bool:
        """Returns whether the next value is a key of a mapping."""
        return bool(self._frames) and self._frames[-1].key is _NO_KEY

    def _add_key(self, frame: _Frame, key: Any, where: Where, scalar: Any) -> None:
        """Makes a value the pending key of a mapping.

        Raises `InputError` for a key that Python cannot hash, and for a duplicate one unless the
        caller has a handler for it.
        """
        if isinstance(key, list | dict):
            raise self._errors.at(
                "a list or mapping where a key belongs",
                where,
                "quote a value that begins with {{, [ or {",
            )
        if key in frame.places:
            self._report_duplicate(key, frame.places[key], where)
        frame.key, frame.key_place = key, where
        if frame.mergeable:
            frame.key_node = self._key_node(key, scalar)

    def _key_node(self, key: Any, scalar: Any) -> yaml.Node:
        """Returns the node of a key, from which SafeLoader makes the key again when it merges.

        A key with a tag of the caller's is made already: SafeLoader does not know that tag.
        """
        tag = tag_of(scalar)
        if tag in self._tags:
            return ConstructedNode(key, scalar.value)
        return yaml.ScalarNode(tag, scalar.value)

    # ---- merge keys

    def _with_merged(self, frame: _Frame) -> dict[Any, Any]:
        """Returns a mapping with the entries of its merge keys, and adds their places to those of
        the frame.

        Which of two merged entries wins differs between releases of PyYAML, so the installed one
        decides. Merged entries come first; entries that are written in the mapping itself replace
        them.
        """
        merges = [pair for pair in frame.pairs if pair[0].tag == MERGE]
        if not merges:
            return frame.items  # type: ignore[no-any-return]
        merged = self._constructor.construct_document(yaml.MappingNode(MAP, merges))
        places: dict[Any, Place] = {key: entry[1] for key, entry in merged.items()}
        frame.places = places | frame.places
        value: dict[Any, Any] = {key: entry[0] for key, entry in merged.items()}
        value.update(frame.items)
        return value

    def _merge_node(self, value: Any, where: Where) -> yaml.Node:
        """Returns the node of the value of a merge key; raises `InputError`.

        A mapping has a node if it is mergeable, and every value of a merge key is.
        """
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._errors.at("“<<” merges a mapping, or a list of mappings", where)
        nodes = [self._nodes[id(mapping)] for mapping in mappings]
        if not isinstance(value, list):
            return nodes[0]
        return yaml.SequenceNode(PREFIX + "seq", nodes)

    # ---- errors

    def _too_deep(self, where: Where) -> InputError:
        """Returns the error for a list or mapping inside of `MAX_DEPTH` others."""
        return self._errors.at(f"nested deeper than {MAX_DEPTH}", where)

    def _too_many_values(self, where: Where) -> InputError:
        """Returns the error for a document of more than `MAX_NODES` values."""
        return self._errors.at(
            f"more than {MAX_NODES} values once aliases and merge keys are written out",
            where,
            "use fewer aliases, or split the file",
        )

    def _check_new_anchor(self, name: str, where: Where) -> None:
        """Raises `InputError` if the document has the anchor already.

        YAML allows it, and the last one before an alias counts: a reader does not expect that.
        """
        if name in self._anchors or name in self._open_anchors:
            raise self._errors.at(
                f"the anchor &{shorten(name)} is defined twice", where, "rename one of the two"
            )

    def _report_duplicate(self, key: Any, first: Place, where: Where) -> None:
        """Reports a duplicate key to the caller's handler; without one it raises `InputError`."""
        if self._repeated is None:
            raise self._errors.duplicate_key(shorten(key), first[:2], where)
        self._repeated(shorten(key), first[0], where[0])

    def _depth_error(self, text: str, last: Any) -> InputError | None:
        """Returns an error if the text after the `last` event is nested too deeply, else None.

        libyaml scans up to 1,024 characters ahead of its events, and since PyYAML 6.0.4 has a bound
        of its own there.
        """
        mark, depth = last.end_mark, len(self._frames)
        with contextlib.suppress(yaml.YAMLError):
            for token in yaml.scan(text[mark.index : mark.index + 4096], Loader=yaml.SafeLoader):
                depth += _DEPTH_CHANGES.get(type(token), 0)
                if depth > MAX_DEPTH:
                    return self._too_deep(_position_after(mark, token))
        return None


def _position(event: Any) -> Where:
    """Returns where an event or a token begins."""
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _position_after(mark: Any, token: Any) -> Where:
    """Returns where a token begins that was scanned from a text that begins at `mark`."""
    line, column = _position(token)
    if line == 1:
        column += mark.column
    return mark.line + line, column
