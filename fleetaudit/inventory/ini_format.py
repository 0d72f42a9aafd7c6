"""INI inventories: sections of hosts, children and variables go into a draft. No I/O.

Rules: the language is Ansible's own, not configparser's. A value beside a host is split as a shell
would, one below `[web:vars]` is the rest of its line, comment and all; either is then a Python
literal where it is one (`1,2` is a list, `True` a boolean, `0022` text). No message repeats a
value.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, Literal, NamedTuple

from fleetaudit.errors import InputError
from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_lines import MAX_NUMBER

from .builder import InventoryBuilder, Origin
from .host_names import InvalidNameError, check_printable, parse_host_name
from .values import Unsafe

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_CHILD = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
# What no literal of Python looks like, for most values are so and compiling each costs more than
# all the rest.
_TEXT = re.compile(r"(?!(?:True|False|None)\Z)[A-Za-z_][\w.:/@-]*|[0-9]+(?:\.[0-9]+){2,}", re.ASCII)
_MEANS_SOMETHING = frozenset("'\"\\#")
# One step through a line, as a shell in POSIX mode takes it: blanks, plain text, quoted text, one
# escaped character, a comment. Python's shlex says the same in quadratic time.
_STEP = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|(?P<plain>[^ \t\r\n'"\\#]+)|'(?P<single>[^']*)'"""
    r"""|"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|\\(?P<escaped>.)|(?P<comment>\#.*)""",
    re.DOTALL,
)
_KINDS = ("hosts", "children", "vars")


class _Awaited(NamedTuple):
    """A group that was spoken of and has no section of its own yet, where, and the groups that it
    is a child of.
    """

    kind: Literal["children", "vars"]
    line: int
    parents: list[tuple[str, Origin]]


def is_section(line: str) -> bool:
    """Returns whether a stripped line of a file begins a section, and so whether the file is INI."""
    return _SECTION.fullmatch(line) is not None


def read_ini(text: str, source: str, draft: InventoryBuilder) -> None:
    """Puts every host and group of `text` into `draft`; raises `InputError` with the line of what
    is none.
    """
    reader = _Reader(source, draft)
    # The lines are those of str.splitlines, as Ansible counts them.
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line and line[0] not in "#;":
            reader.line(line, Origin(source, number))
    reader.end()


class _Reader:
    def __init__(self, source: str, draft: InventoryBuilder) -> None:
        self._source, self._draft = source, draft
        self._group, self._kind = "ungrouped", "hosts"
        self._awaited = dict[str, _Awaited]()
        self._set_here = set[str]()
        self._empty = True

    def line(self, line: str, at: Origin) -> None:
        self._empty = False
        if match := _SECTION.fullmatch(line):
            self._section(match[1], match[2] or "hosts", at)
        elif line[0] == "[" and line[-1] == "]":
            raise at.error(
                "a section that is none",
                "a section is written [web], [web:vars] or [prod:children]",
            )
        elif self._kind == "hosts":
            self._hosts(line, at)
        elif self._kind == "vars":
            self._variable(line, at)
        else:
            self._child(line, at)

    def end(self) -> None:
        if self._empty:
            raise InputError("empty: nothing but white space and comments", source=self._source)
        for name, awaited in self._awaited.items():
            at = Origin(self._source, awaited.line)
            if awaited.kind == "vars":
                word = shorten(name)
                raise at.error(
                    f"variables of the group “{word}”, which is nowhere", f"add a section [{word}]"
                )
            parent, name = shorten(awaited.parents[-1][0]), shorten(name)
            raise at.error(
                f"the group “{name}”, a child of “{parent}”, has no section",
                f"add a section [{name}], empty if need be, or put hosts into [{parent}]",
            )

    def _section(self, group: str, kind: str, at: Origin) -> None:
        if kind not in _KINDS:
            raise at.error(
                f"a section of an unknown kind, “{kind}”",
                "there are [web], [web:vars] and [web:children]",
            )
        try:
            check_printable(group)
        except InvalidNameError as e:
            raise at.error(e.message, e.hint) from e
        self._group, self._kind, self._set_here = group, kind, set()
        if kind == "vars" and not self._draft.has_group(group) and group not in self._awaited:
            self._awaited[group] = _Awaited("vars", at.line, [])
        self._draft.group(group, at)
        if kind != "vars" and group in self._awaited:
            for parent, where in self._awaited.pop(group).parents:
                self._draft.child(parent, group, where)

    def _hosts(self, line: str, at: Origin) -> None:
        try:
            pattern, *words = _words(line)
        except ValueError as e:
            raise at.error(
                f"a host's line that does not end well: {str(e).lower()}", "close the quotation"
            ) from e
        try:
            names, port = parse_host_name(pattern)
        except InvalidNameError as e:
            raise at.error(e.message, e.hint) from e
        if pattern == "---":
            raise at.error(
                "“---” is no host: is this YAML?", "give a YAML inventory a name that ends in .yml"
            )
        variables = dict[str, Any]()
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise at.error(
                    f"a word without “=” after the host “{shorten(pattern)}”",
                    "one host a line; after it only variables, name=value, quoted where a value has"
                    " blanks",
                )
            self._check_new(name, variables, at)
            variables[name] = self._value(value, name, at)
        for host in names:
            self._draft.host(host, self._group, port, at)
            for name, value in variables.items():
                self._draft.set_host(host, name, value, at)

    def _variable(self, line: str, at: Origin) -> None:
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise at.error(
                f"a line without “=” among the variables of “{self._group}”", "write  name = value"
            )
        self._check_new(name, self._set_here, at)
        self._set_here.add(name)
        self._draft.set_group(self._group, name, self._value(value, name, at), at)

    def _child(self, line: str, at: Origin) -> None:
        match = _CHILD.fullmatch(line)
        if not match:
            raise at.error(
                f"no group's name among the children of “{self._group}”", "one name a line"
            )
        child = match[1]
        if self._draft.has_group(child):
            self._draft.child(self._group, child, at)
        else:
            self._awaited.setdefault(child, _Awaited("children", at.line, [])).parents.append(
                (self._group, at)
            )

    def _check_new(self, name: str, before: dict[str, Any] | set[str], at: Origin) -> None:
        if not name:
            raise at.error("a variable without a name", "write  name=value")
        if name in before:
            raise at.error(
                f"the variable “{shorten(name)}” is here for the second time", "remove one"
            )

    def _value(self, text: str, name: str, at: Origin) -> Any:
        if _TEXT.fullmatch(text):
            return text
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
        except (RecursionError, MemoryError) as e:
            raise at.error(
                f"the value of “{shorten(name)}” is nested too deep", "shorten it"
            ) from e
        try:
            return _plain(value)
        except OverflowError as e:
            raise at.error(
                f"the value of “{shorten(name)}” has too long a number", "quote it twice"
            ) from e
        except UnicodeDecodeError as e:
            raise at.error(
                f"the value of “{shorten(name)}” is binary",
                "quote it twice, if it is meant as text",
            ) from e


def _words(line: str) -> list[str]:
    """Returns a line's words as a shell would split them; raises ValueError where a quotation does
    not end.
    """
    if _MEANS_SOMETHING.isdisjoint(line):
        return re.split("[ \t\r\n]+", line)
    words, parts, at = list[str](), list[str](), 0
    while at < len(line):
        step = _STEP.match(line, at)
        if step is None:
            raise ValueError("No escaped character" if line[at] == "\\" else "No closing quotation")
        kind, at = step.lastgroup, step.end()
        if kind in ("blank", "comment"):
            words += ["".join(parts)] if parts else []
            parts = []
        else:
            text = step[kind or ""]
            # Between double quotes a backslash only guards a quote or another backslash.
            parts.append(re.sub(r"\\([\"\\])", r"\1", text) if kind == "double" else text)
    return words + (["".join(parts)] if parts else [])


def _plain(value: Any) -> Any:
    """Returns what Ansible makes of a Python literal: lists of tuples and sets, text of what JSON
    has no word for.
    """
    match value:
        case int() if value.bit_length() > 4 * MAX_NUMBER:
            raise OverflowError
        case str() | bool() | int() | float() | None:
            return value
        case bytes():
            return Unsafe(value.decode())  # Ansible trusts no template in it
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case set():
            # A set of texts has another order in every run of Python, in Ansible too.
            return [
                _plain(inner)
                for inner in (sorted(value) if all(isinstance(v, str) for v in value) else value)
            ]
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return "..." if value is ... else str(value)
