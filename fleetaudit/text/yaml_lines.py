"""Text in, plain values out, each of which knows its line: YAML as PyYAML's SafeLoader means it,
but stricter.

Rules: only `load_yaml` and `read_bounded` touch a file, and never one that could make them wait. Values are
YAML 1.1's, exactly as SafeLoader gives them (0022 is 18, yes is True). What SafeLoader passes over
in silence is refused with file, line and column: duplicate keys, several documents, empty ones; so
is what could run code or exhaust memory. No message repeats a value, because a value may be a
secret.

The events of libyaml's parser are read, not its nodes: composing nodes recurses in C, so that a
file of nothing but "- - - -" ends the process, and it takes several times as long. What a scalar
means and what a merge key does is left to the installed SafeLoader, through its documented API:
releases of PyYAML differ in it.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import yaml

from fleetaudit.errors import InputError, NothingToDoError

from .files import read_first_bytes
from .sanitize import shorten

MAX_FILE_BYTES = 64 * 1024 * 1024
"""The most bytes that a file may have."""
MAX_DEPTH = 100
"""How deep lists and mappings may nest."""
MAX_NODES = 5_000_000
"""How many values a document may have once every alias and merge key is written out; a long text
counts as several.
"""
MAX_NUMBER = 1000
"""How many characters a number may have: Python takes quadratic time for longer ones, and refuses
to print them.
"""

ValuePath = Sequence[str | int]
"""Where a value is in a document: keys and indexes from the root."""
DuplicateKeyHandler = Callable[[str, int, int], None]
"""Called for a duplicate key of a mapping: the key, the line of the first and of the second."""
T = TypeVar("T")

# libyaml's parser where PyYAML was built with it; the one in Python says the same, ten times
# slower.
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PREFIX = "tag:yaml.org,2002:"
_STR, _MAP, _MERGE = _PREFIX + "str", _PREFIX + "map", _PREFIX + "merge"
_NUMBERS = (_PREFIX + "int", _PREFIX + "float")
_SCALARS = (*_NUMBERS, *(_PREFIX + name for name in ("null", "bool", "binary", "timestamp")))
_CONSTRUCTED = "!constructed"


class _Constructor(yaml.SafeLoader):
    """Makes single values out of nodes, as the installed SafeLoader does."""


class _Constructed(yaml.ScalarNode):
    """A node whose value is there already; `text` is how it was written."""

    def __init__(self, value: Any, text: str = "") -> None:
        super().__init__(_CONSTRUCTED, text)
        self.constructed = value


def _constructed(_: _Constructor, node: _Constructed) -> Any:
    return node.constructed


_Constructor.add_constructor(_CONSTRUCTED, _constructed)
_RESOLVER: Any = _Constructor("")


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


# Of an entry: line and column of its key, then of its value. Bare integers, because a large file
# has millions.
_Place = tuple[int, int, int, int]
_Where = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: `value` is plain Python; `at` and `key_at` tell where in `source` each part of
    it was written.
    """

    source: str
    value: Any
    _root: Position = field(repr=False)
    # By id() of each list and mapping in `value`, which keeps them alive: their entries' places.
    _places: dict[int, Mapping[Any, _Place]] = field(repr=False)

    def at(self, path: ValuePath = ()) -> Position:
        """Returns where the value at `path` (keys and indexes from the root) begins.

        A path that leads nowhere gives the place of the deepest part that is there. What came by an
        alias or a merge key is where it was written.
        """
        return Position(*self._walk(path)[2:])

    def key_at(self, path: ValuePath) -> Position:
        """Returns where the key that ends `path` is written; an item of a list gives its value's
        place.
        """
        return Position(*self._walk(path)[:2])

    def written(self, container: Any) -> Mapping[Any, _Place]:
        """Returns where the entries of a list or mapping inside `value` are written: line and
        column of each key, then of its value. Empty for what was not written in the file.
        """
        return self._places.get(id(container), {})

    def error(
        self, message: str, path: ValuePath = (), *, key: bool = False, hint: str = ""
    ) -> InputError:
        """Returns an error to raise about the value at `path`, or about its key."""
        where = self.key_at(path) if key else self.at(path)
        return InputError(
            message, source=self.source, line=where.line, column=where.column, hint=hint
        )

    def _walk(self, path: ValuePath) -> _Place:
        place, value = (*self._root, *self._root), self.value
        for step in path:
            entries = self._places.get(id(value), {})
            if step not in entries:
                break
            place, value = entries[step], value[step]
        return place


def load_yaml(path: Path, *, tags: Mapping[str, Callable[[str], Any]] | None = None) -> Document:
    """Returns the document in the file at `path`, as `parse_yaml` does.

    Raises `NothingToDoError` where the file is missing or cannot be read.
    """
    try:
        data = read_bounded(path)
    except OSError as e:
        raise NothingToDoError(f"{path}: {e.strerror or e}") from e
    return parse_yaml(decode_utf8(data, source=str(path)), source=str(path), tags=tags)


def read_bounded(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Returns the bytes of a file, at most one more than `most`; raises OSError, also for a pipe or
    a device.
    """
    return read_first_bytes(path, most + 1)


def decode_utf8(data: bytes, *, source: str) -> str:
    """Returns `data` as text; raises `InputError` naming the line of the first byte that is no
    UTF-8.
    """
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"larger than the {MAX_FILE_BYTES} bytes that are read", source=source)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            "UTF-16; only UTF-8 is read", source=source, hint="convert it: iconv -f UTF-16 -t UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        before = data[: e.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise InputError(
            f"byte 0x{data[e.start]:02x} is no UTF-8, and only UTF-8 is read",
            source=source,
            line=line,
            column=column,
            hint="convert it: iconv -f ISO-8859-1 -t UTF-8, if that is what it is in",
        ) from e


def parse_yaml(
    text: str,
    *,
    source: str,
    tags: Mapping[str, Callable[[str], Any]] | None = None,
    empty: Any = None,
    repeated: DuplicateKeyHandler | None = None,
) -> Document:
    """Returns the one YAML document in `text`; raises `InputError` at the first thing that is
    wrong.

    `tags` says what a scalar with a tag such as `!vault` becomes, given its text; any other tag is
    refused. `empty` is the value of a document with nothing in it; None makes that an error.
    `repeated` is called for a duplicate key, whose last value counts; None makes a duplicate an
    error.
    """
    text = text.removeprefix("\ufeff")
    odd = _NOT_TEXT.search(text)
    if odd:
        line, column = (
            text.count("\n", 0, odd.start()) + 1,
            odd.start() - text.rfind("\n", 0, odd.start()),
        )
        name = "NUL" if odd[0] == "\0" else f"U+{ord(odd[0]):04X}"
        raise InputError(
            f"the character {name}, which YAML does not allow",
            source=source,
            line=line,
            column=column,
        )
    builder = _Builder(source, tags or {}, repeated)
    builder.take_all(text)
    return builder.document(empty)


def _syntax_error(e: yaml.MarkedYAMLError, text: str, source: str) -> InputError:
    mark = e.problem_mark or e.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    lines = text.splitlines()
    written = lines[line - 1] if 0 < line <= len(lines) else ""
    problem, hint = e.problem or e.context or "no YAML", ""
    blank = written[: len(written) - len(written.lstrip())]
    if "\t" in blank or written[column - 1 : column] == "\t":
        problem, hint = "a tab; YAML wants spaces", "indent with spaces"
        column = written.index("\t") + 1
    elif "{{" in written and (
        "mapping" in problem or "flow" in (e.context or "") or "hashable" in problem
    ):
        hint = "quote a value that begins with {{"
    elif "mapping values are not allowed" in problem:
        hint = "quote a value that contains “: ”, or look at the indentation"
    return InputError(problem, source=source, line=line, column=column, hint=hint)


class _Frame:
    """A list or mapping that is still open. `key` is the pending key of a mapping, `_NO_KEY` where
    one is due.

    `mergeable` says whether a merge key may name it or an item of it. `pairs` are the nodes of a
    mergeable mapping's entries, and of any other mapping's merge keys.
    """

    __slots__ = (
        "anchor", "is_list", "items", "key", "key_node", "key_place", "mergeable", "pairs", "places", "size", "start",
    )  # fmt: skip

    def __init__(self, is_list: bool, start: _Where, anchor: str | None, mergeable: bool) -> None:
        self.is_list, self.start, self.anchor, self.mergeable = is_list, start, anchor, mergeable
        self.items: Any = [] if is_list else {}
        self.places: dict[Any, _Place] = {}
        self.pairs: list[tuple[yaml.Node, yaml.Node]] = []
        self.key: Any = _NO_KEY
        self.key_node: yaml.Node | None = None
        self.key_place = start
        self.size = 1


_NO_KEY = object()
_MERGE_KEY = object()


class _Builder:
    """Turns events into values, one at a time and without recursion."""

    def __init__(
        self,
        source: str,
        tags: Mapping[str, Callable[[str], Any]],
        repeated: DuplicateKeyHandler | None = None,
    ) -> None:
        self._source, self._tags, self._repeated = source, tags, repeated
        self._frames: list[_Frame] = []
        self._anchors: dict[
            str, tuple[Any, int, Any]
        ] = {}  # value, expanded size, the event of a scalar
        self._open_anchors: set[str] = set()
        self._places: dict[int, Mapping[Any, _Place]] = {}
        self._root: tuple[Any, _Where] | None = None
        self._nodes: dict[
            int, yaml.MappingNode
        ] = {}  # by id() of each mapping that a merge key may name
        self._constructor = _Constructor("")
        self._plain: dict[
            str, Any
        ] = {}  # values of plain scalars already met: resolving takes regular expressions
        self._take = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.DocumentStartEvent: self._document_start,
        }

    def take_all(self, text: str) -> None:
        loader = _Loader(text)
        get, handlers, event = loader.get_event, self._take, None
        try:
            while type(event := get()) is not yaml.StreamEndEvent:
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except yaml.MarkedYAMLError as e:
            raise self._depth_error(text, event) or _syntax_error(e, text, self._source) from e
        finally:
            loader.dispose()

    def _depth_error(self, text: str, last: Any) -> InputError | None:
        """Returns an error if the text after the `last` event is nested too deeply, else None.

        libyaml scans up to 1,024 characters ahead of its events, and since PyYAML 6.0.4 has a bound
        of its own there.
        """
        mark, depth = last.end_mark, len(self._frames)
        with contextlib.suppress(yaml.YAMLError):
            for token in yaml.scan(text[mark.index : mark.index + 4096], Loader=yaml.SafeLoader):
                depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
                depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
                if depth > MAX_DEPTH:
                    line, column = _position(token)
                    return self._too_deep(
                        (mark.line + line, column + (mark.column if line == 1 else 0))
                    )
        return None

    def _too_deep(self, where: _Where) -> InputError:
        return self._fail(f"nested deeper than {MAX_DEPTH}", where)

    def document(self, empty: Any) -> Document:
        if self._root is None or self._root[0] is None:
            if empty is not None:
                return Document(self._source, empty, Position(1, 1), {})
            raise InputError("empty: nothing but white space and comments", source=self._source)
        value, position = self._root
        return Document(self._source, value, Position(*position), self._places)

    def _fail(self, message: str, where: _Where, hint: str = "") -> InputError:
        line, column = where
        return InputError(message, source=self._source, line=line, column=column, hint=hint)

    def _document_start(self, event: Any) -> None:
        if self._root is not None:
            raise self._fail(
                "a second document begins here; one is read",
                _position(event),
                "remove this “---”, or make it a file of its own",
            )

    def _start(self, event: Any) -> None:
        where = _position(event)
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in (None, "!", _PREFIX + ("seq" if is_list else "map")):
            raise self._unknown_tag(event.tag, where)
        if len(self._frames) >= MAX_DEPTH:
            raise self._too_deep(where)
        if event.anchor is not None:
            self._new_anchor(event.anchor, where)
            self._open_anchors.add(event.anchor)
        self._frames.append(_Frame(is_list, where, event.anchor, self._is_mergeable(event)))

    def _is_mergeable(self, event: Any) -> bool:
        if event.anchor is not None or not self._frames:
            return event.anchor is not None
        parent = self._frames[-1]
        return parent.key is _MERGE_KEY or (parent.is_list and parent.mergeable)

    def _new_anchor(self, name: str, where: _Where) -> None:
        if name in self._anchors or name in self._open_anchors:
            raise self._fail(
                f"the anchor &{shorten(name)} is defined twice", where, "rename one of the two"
            )

    def _end(self, event: Any) -> None:
        frame = self._frames.pop()
        value = frame.items
        if frame.pairs and (merges := [pair for pair in frame.pairs if pair[0].tag == _MERGE]):
            value = self._merge(frame, merges)
        self._places[id(value)] = frame.places
        if frame.mergeable and not frame.is_list:
            self._nodes[id(value)] = yaml.MappingNode(_MAP, frame.pairs)
        if frame.anchor is not None:
            self._open_anchors.discard(frame.anchor)
            self._anchors[frame.anchor] = (value, frame.size, None)
        self._add(value, frame.start, frame.size)

    def _merge(self, frame: _Frame, merges: list[tuple[yaml.Node, yaml.Node]]) -> dict[Any, Any]:
        """Returns a mapping with the entries of its merge keys, and adds their places to those of
        the frame.

        Which of two merged entries wins differs between releases of PyYAML, so the installed one
        decides. Merged entries come first; entries that are written in the mapping itself replace
        them.
        """
        merged = self._constructor.construct_document(yaml.MappingNode(_MAP, merges))
        value: dict[Any, Any] = {key: entry[0] for key, entry in merged.items()}
        places: dict[Any, _Place] = {key: entry[1] for key, entry in merged.items()}
        frame.places = places | frame.places
        value.update(frame.items)
        return value

    def _alias(self, event: Any) -> None:
        where = _position(event)
        if event.anchor in self._open_anchors:
            raise self._fail(
                f"the alias *{shorten(event.anchor)} is inside of what it names", where
            )
        if event.anchor not in self._anchors:
            raise self._fail(f"the alias *{shorten(event.anchor)} names nothing above", where)
        value, size, scalar = self._anchors[event.anchor]
        self._add(value, where, size, scalar)

    def _scalar(self, event: Any) -> None:
        where, size = _position(event), 1 + len(event.value) // 64
        plain = event.tag is None and event.implicit[0]
        if plain and event.value in self._plain:
            value = self._plain[event.value]
        else:
            value = self._value_of(event, where)
            if plain:
                self._plain[event.value] = value
        if event.anchor is not None:
            self._new_anchor(event.anchor, where)
            self._anchors[event.anchor] = (value, size, event)
        self._add(value, where, size, event)

    def _value_of(self, event: Any, where: _Where) -> Any:
        tag = _tag_of(event)
        if tag == _STR:
            return event.value
        if tag == _MERGE:
            return _MERGE_KEY
        if tag not in self._tags and tag not in _SCALARS:
            raise self._unknown_tag(tag, where)
        if tag in _NUMBERS and len(event.value) > MAX_NUMBER:
            raise self._fail(
                f"a number of more than {MAX_NUMBER} characters",
                where,
                "quote it, if it is meant as text",
            )
        try:
            if tag in self._tags:
                return self._tags[tag](event.value)
            return self._constructor.construct_document(yaml.ScalarNode(tag, event.value))
        except Exception as e:  # no two of PyYAML's constructors raise the same
            name = tag.removeprefix(_PREFIX)
            raise self._fail(
                f"not a valid {name}", where, "quote it, if it is meant as text"
            ) from e

    def _unknown_tag(self, tag: str, where: _Where) -> InputError:
        name = shorten("!!" + tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else tag)
        if name == "!!value":
            return self._fail("a lone “=” is no value in YAML 1.1", where, "quote it")
        if name.startswith("!!python/"):
            return self._fail(
                f"the tag {name}: a file that is read must not run code",
                where,
                "write the plain value",
            )
        hint = {
            "!vault": (
                "leave the value out of this file; keys and an SSH agent need no password here"
            ),
            "!unsafe": "it belongs to a lone value, not to a list or mapping",
        }.get(name, "write the plain value, without the tag")
        return self._fail(f"the tag {name} is not supported yet", where, hint)

    def _add(self, value: Any, where: _Where, size: int, scalar: Any = None) -> None:
        """Puts a finished value into the list or mapping around it, as a key or as a value.

        `scalar` is the event that a scalar was read from.
        """
        frame = self._frames[-1] if self._frames else None
        if value is _MERGE_KEY and (frame is None or frame.is_list or frame.key is not _NO_KEY):
            raise self._fail(
                "“<<” is a key, not a value", where, "quote it, if it is meant as text"
            )
        if frame is None:
            self._root = (value, where)
            return
        frame.size += size
        if frame.size > MAX_NODES:
            raise self._fail(
                f"more than {MAX_NODES} values once aliases and merge keys are written out",
                where,
                "use fewer aliases, or split the file",
            )
        if frame.is_list:
            frame.places[len(frame.items)] = (*where, *where)
            frame.items.append(value)
        elif frame.key is _NO_KEY:
            self._key(frame, value, where, scalar)
        elif frame.key is _MERGE_KEY:
            frame.key = _NO_KEY
            frame.pairs.append((yaml.ScalarNode(_MERGE, "<<"), self._merge_node(value, where)))
        else:
            place = frame.places[frame.key] = (*frame.key_place, *where)
            frame.items[frame.key] = value
            if frame.key_node is not None:
                frame.pairs.append((frame.key_node, _Constructed((value, place))))
            frame.key = _NO_KEY

    def _key(self, frame: _Frame, key: Any, where: _Where, scalar: Any) -> None:
        if isinstance(key, list | dict):
            raise self._fail(
                "a list or mapping where a key belongs",
                where,
                "quote a value that begins with {{, [ or {",
            )
        if key in frame.places:
            self._say_repeated(key, frame.places[key], where)
        frame.key, frame.key_place = key, where
        if frame.mergeable:
            tag = _tag_of(scalar)
            custom = tag in self._tags
            frame.key_node = (
                _Constructed(key, scalar.value) if custom else yaml.ScalarNode(tag, scalar.value)
            )

    def _say_repeated(self, key: Any, first: _Place, where: _Where) -> None:
        line, column = first[:2]
        if self._repeated:
            self._repeated(shorten(key), line, where[0])
            return
        raise self._fail(
            f"the key “{shorten(key)}” is here for the second time; the first is in line {line},"
            f" column {column}",
            where,
            "remove one, or join the two",
        )

    def _merge_node(self, value: Any, where: _Where) -> yaml.Node:
        """Returns the node of the value of a merge key."""
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._fail("“<<” merges a mapping, or a list of mappings", where)
        nodes = [self._nodes[id(mapping)] for mapping in mappings]
        return yaml.SequenceNode(_PREFIX + "seq", nodes) if isinstance(value, list) else nodes[0]


def _tag_of(scalar: Any) -> str:
    """Returns the tag of a scalar's event; YAML 1.1 gives one to what is written without."""
    if scalar.tag not in (None, "!"):
        return str(scalar.tag)
    return _resolve(scalar.value, scalar.implicit)


def _resolve(text: str, implicit: tuple[bool, bool]) -> str:
    return str(_RESOLVER.resolve(yaml.ScalarNode, text, implicit))


def parse_plain_scalar(text: str) -> Any:
    """Returns what YAML 1.1 makes of `text` where it stands unquoted and without a tag."""
    tag = _resolve(text, (True, False))
    if tag not in _SCALARS or (tag in _NUMBERS and len(text) > MAX_NUMBER):
        return text
    return _Constructor("").construct_document(yaml.ScalarNode(tag, text))


def _position(event: Any) -> _Where:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


# ---- into the project's own types
# ----------------------------------------------------------------------------------

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "yes or no",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
    "date": "a date",
    "datetime": "a time",
    "bytes": "binary data",
}


def convert_document(document: Document, wanted: type[T], path: ValuePath = ()) -> T:
    """Returns the part of `document` at `path` as a `wanted` (a msgspec type); raises `InputError`
    at the line of what does not fit, with the key that an unknown one may have been meant as.
    """
    value = document.value
    for step in path:
        value = value[step]
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as e:
        text, _, tail = str(e).partition(" - at `")
        inner = _path_of(tail, value, wanted)
        raise _explained(document, wanted, text, [*path, *inner], inner) from e


def _path_of(tail: str, value: Any, wanted: Any) -> list[str | int]:
    """Returns msgspec's `$.plays[0].sysctls[...].name` as a path; it does not say which key `[...]`
    is, so try them.
    """
    steps = list[str | int]()
    for name, index, unsaid in re.findall(
        r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]|(\[\.\.\.\])", tail
    ):
        if not unsaid:
            steps.append(name or int(index))
            continue
        mapping = functools.reduce(operator.getitem, steps, value)
        wrong = [
            key for key in mapping if not _fits(_with(value, steps, {key: mapping[key]}), wanted)
        ]
        if not wrong:
            break
        steps.append(wrong[0])
    return steps


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


def _with(value: Any, path: ValuePath, part: Any) -> Any:
    """Returns a copy of `value` in which `part` stands at `path`."""
    if not path:
        return part
    copy = value.copy()
    copy[path[0]] = _with(value[path[0]], path[1:], part)
    return copy


def _explained(
    document: Document, wanted: Any, text: str, path: list[str | int], inner: Sequence[str | int]
) -> InputError:
    alternatives = _types_at(wanted, inner)
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", text):
        known = [
            f.encode_name
            for t in alternatives
            if isinstance(t, msgspec.inspect.StructType)
            for f in t.fields
        ]
        return document.error(
            f"unknown key “{match[1]}”{did_you_mean(match[1], known)}",
            [*path, match[1]],
            key=True,
            hint=f"known here: {', '.join(known)}",
        )
    if match := re.fullmatch(r"Invalid enum value '(.*)'", text):
        words = [
            str(v)
            for t in alternatives
            if isinstance(t, msgspec.inspect.LiteralType)
            for v in t.values
        ]
        return document.error(
            f"“{match[1]}” is none of “{'”, “'.join(words)}”{did_you_mean(match[1], words)}", path
        )
    if match := re.fullmatch(r"Object missing required field `(.*)`", text):
        return document.error(f"the key “{match[1]}” is missing", path)
    if match := re.fullmatch(r"Expected `(.*)`, got `(.*)`", text):
        kinds = [_KINDS.get(kind, kind) for kind in match[1].split(" | ") if kind != "null"]
        return document.error(
            f"{_KINDS.get(match[2], match[2])} where {' or '.join(kinds)} belongs", path
        )
    return document.error(text[:1].lower() + text[1:], path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean “…”?" where one of the `known` words is close to `word`, else
    nothing.
    """
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean “{near[0]}”?" if near else ""


def _types_at(wanted: Any, path: ValuePath) -> list[msgspec.inspect.Type]:
    """Returns what the type at `path` inside `wanted` may be."""
    types = _alternatives(msgspec.inspect.type_info(wanted))
    for step in path:
        types = [inner for one in types for inner in _alternatives(_inner(one, step))]
    return types


def _inner(info: Any, step: str | int) -> Any:
    if isinstance(info, msgspec.inspect.StructType):
        return next((f.type for f in info.fields if f.encode_name == step), None)
    return (
        info.value_type
        if isinstance(info, msgspec.inspect.DictType)
        else getattr(info, "item_type", None)
    )


def _alternatives(info: Any) -> list[msgspec.inspect.Type]:
    if isinstance(info, msgspec.inspect.Metadata):
        return _alternatives(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return [one for part in info.types for one in _alternatives(part)]
    return [] if info is None else [info]
