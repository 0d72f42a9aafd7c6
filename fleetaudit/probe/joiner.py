"""Joins the modules of `remote/` into the one text that a host is sent.

The modules import each other as usual (`from .files import read_file`), so that linters, type
checkers and tests work on them. The text has every module once, after the modules that it imports,
under a comment with its name and docstring; one list of imports; indentation by tabs; and no
`# type:` comments. All modules share one namespace there, so a name may be defined only once.

The modules are read by regular expressions, since `ast.parse` takes 40 ms for them. So a line that
begins at the first column must be one that `_parse` knows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import chain

_DOCSTRING = re.compile(r'"""(.*?)"""\n', re.DOTALL)
_STANDARD = re.compile(r"^import (\w+)\n", re.MULTILINE)
_NAMES = r"\w+(?:,\s+\w+)*"
_RELATIVE = re.compile(
    rf"^from \.(\w+) import (?:\(\s+({_NAMES}),\s+\)|({_NAMES}))\n", re.MULTILINE
)
_TYPING = re.compile(r"^from typing import [\w, ]+\n", re.MULTILINE)
_TYPE_LINE = re.compile(r"^ *# type: .*\n", re.MULTILINE)
_TYPE_COMMENT = re.compile(r"  # type: [^#\n]*[^#\s]")
_TOP_LEVEL = re.compile(r"^[^\s#)\]}].*", re.MULTILINE)
_DEFINITION = re.compile(r"(?:def|class) (\w+)\b|((?:\w+, )*\w+) = ")
_CLOSING_LINE = re.compile(r'\n +"""$', re.MULTILINE)
_MAX_DEPTH = 8


class JoinError(ValueError):
    """The modules cannot be joined: the message says which one, and why."""


@dataclass(frozen=True)
class _Module:
    """The parts of a module that the joined text needs.

    `standard` has the modules that it imports from the standard library, `imports` the other
    modules with the names that it imports from each, `names` what it defines.
    """

    name: str
    docstring: str
    standard: list[str]
    imports: dict[str, list[str]]
    names: list[str]
    body: str

    @property
    def file(self) -> str:
        """The name of its file, for messages."""
        return f"{self.name}.py"


def join(read: Callable[[str], str], first: str = "main", *others: str) -> str:
    """Returns the text of the modules `first` and `others`, and of all that they import.

    `read` returns the text of a module by its name. The docstring of the package (`__init__`) comes
    first. The same modules give the same text, byte for byte. Raises `JoinError` if a name has two
    definitions or none, and for a line that the regular expressions do not know.
    """
    modules: dict[str, _Module] = {}
    for name in (first, *others):
        _collect(read, name, modules, ())
    _check_definitions(modules.values())
    for module in modules.values():
        _check_imports(module, modules)
    standard = sorted({name for module in modules.values() for name in module.standard})
    parts = [read("__init__"), *(f"import {name}" for name in standard)]
    for module in modules.values():
        header = f"==== {module.name}: {module.docstring}".strip().splitlines()
        parts += ["", *(f"# {line}".rstrip() for line in header), module.body]
    return _shorten("\n".join(parts) + "\n")


def _shorten(text: str) -> str:
    """Returns the text with tabs for indentation, single blank lines, and the quotes that end a
    docstring in its last line: an eighth less, and as easy to read.
    """
    text = _CLOSING_LINE.sub('"""', text).replace("\n\n\n", "\n\n")
    for depth in range(_MAX_DEPTH, 0, -1):
        text = text.replace("\n" + "    " * depth, "\n" + "\t" * depth)
    return text


def _collect(
    read: Callable[[str], str],
    name: str,
    modules: dict[str, _Module],
    importers: tuple[str, ...],
) -> None:
    """Adds a module to `modules`, after those that it imports.

    `importers` are the modules that lead here, the first one first; raises `JoinError` if `name` is
    among them.
    """
    if name in importers:
        raise JoinError(f"modules import each other: {' imports '.join([*importers, name])}")
    if name in modules:
        return
    module = _parse(name, read(name))
    for other in module.imports:
        _collect(read, other, modules, (*importers, name))
    modules[name] = module


def _parse(name: str, text: str) -> _Module:
    """Returns the parts of a module, without what only type checkers need; raises `JoinError`."""
    docstring = _DOCSTRING.match(text)
    if not docstring:
        raise JoinError(f"{name}.py begins without a docstring")
    text = _TYPING.sub("", text[docstring.end() :])
    text = _TYPE_COMMENT.sub("", _TYPE_LINE.sub("", text))
    body = _STANDARD.sub("", _RELATIVE.sub("", text)).strip()
    return _Module(
        name=name,
        docstring=docstring[1],
        standard=_STANDARD.findall(text),
        imports=_imports(text),
        names=_defined_names(name, body),
        body=body,
    )


def _imports(text: str) -> dict[str, list[str]]:
    """Returns the names that a module imports from each other module of the probe:
    {"files": ["read_file"]} for `from .files import read_file`.
    """
    imports = dict[str, list[str]]()
    for other, lines, line in _RELATIVE.findall(text):
        imports.setdefault(other, []).extend(re.findall(r"\w+", lines + line))
    return imports


def _defined_names(module: str, body: str) -> list[str]:
    """Returns the names that a module defines at its top level.

    `A, B = 1, 2` defines both. Raises `JoinError` for a name that is defined twice, and for a line
    at the first column that defines nothing, such as `if`.
    """
    names = list[str]()
    for line in _TOP_LEVEL.findall(body):
        defined = _DEFINITION.match(line)
        if not defined:
            raise JoinError(f"{module}.py has a line that cannot be joined: {line}")
        names += (defined[1] or defined[2]).split(", ")
    for name, count in Counter(names).items():
        if count > 1:
            raise JoinError(f"{name} is defined twice in {module}.py")
    return names


def _check_definitions(modules: Collection[_Module]) -> None:
    """Raises `JoinError` for a name that two modules define, or a module and the standard library:
    all of them share one namespace.
    """
    owners = dict.fromkeys(
        chain.from_iterable(module.standard for module in modules), "the standard library"
    )
    for module in modules:
        for name in sorted(module.names):
            if name in owners:
                raise JoinError(f"{name} is defined by {owners[name]} and by {module.file}")
            owners[name] = module.file


def _check_imports(module: _Module, modules: Mapping[str, _Module]) -> None:
    """Raises `JoinError` for a name that a module imports and the other one does not define."""
    for other, names in module.imports.items():
        for name in sorted(set(names).difference(modules[other].names)):
            raise JoinError(
                f"{module.file} imports {name} from {other}.py, which does not define it"
            )
