"""The joiner: modules of the probe become one text."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from fleetaudit.probe import joiner, protocol, request
from tests import ROOT

REMOTE = ROOT / "fleetaudit" / "probe" / "remote"
MODULES = sorted(path for path in REMOTE.glob("*.py") if path.stem != "__init__")
PARTS = (*request.PARTS, *request.STEP_PARTS)
MAX_TEXT = 160 * 1024
"""A bound on what a reviewer must read. The network sees it compressed: see
test_what_is_sent_for_the_shipped_playbook_fits_three_flights_of_tcp.
"""
PACKAGE = '"""Package."""\n'
FILES = '"""Reads files."""\n\nimport os\n\nLIMIT = 3\n\n\ndef read_file():\n    return os.name\n'
MAIN = (
    '"""Runs it.\n\nIt is the last.\n"""\n\nimport errno\nimport os\n\n'
    "from .files import LIMIT, read_file\n\n\n"
    "def main():\n    # type: () -> None\n    # Why.\n    found = []  # type: List[str]\n"
    "    return read_file(), LIMIT, errno, found\n"
)
JOINED = '''"""Package."""

import errno
import os

# ==== files: Reads files.
LIMIT = 3

def read_file():
\treturn os.name

# ==== main: Runs it.
#
# It is the last.
def main():
\t# Why.
\tfound = []
\treturn read_file(), LIMIT, errno, found
'''


def join(modules: Mapping[str, str]) -> str:
    return joiner.join({"__init__": PACKAGE, **modules}.__getitem__)


def test_modules_are_joined_after_those_that_they_import() -> None:
    assert join({"main": MAIN, "files": FILES}) == JOINED


def test_an_import_of_several_lines_is_dropped_too() -> None:
    lines = MAIN.replace("LIMIT, read_file", "(\n    LIMIT,\n    read_file,\n)")
    assert join({"main": lines, "files": FILES}) == JOINED


def test_imports_of_typing_are_dropped() -> None:
    typed = MAIN.replace("import os\n\n", "import os\nfrom typing import Any, List\n\n")
    assert join({"main": typed, "files": FILES}) == JOINED


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        (
            {"main": MAIN + "\n\ndef read_file():\n    pass\n", "files": FILES},
            "read_file is defined by files.py and by main.py",
        ),
        (
            {"main": MAIN, "files": FILES + "\n\nerrno = 1\n"},
            "errno is defined by the standard library and by files.py",
        ),
        (
            {"main": MAIN, "files": FILES + "A, LIMIT = 1, 2\n"},
            "LIMIT is defined twice in files.py",
        ),
        (
            {"main": MAIN, "files": FILES.replace("read_file", "load_file")},
            "main.py imports read_file from files.py, which does not define it",
        ),
        (
            {"main": MAIN, "files": FILES.replace("import os\n", "from .main import main\n")},
            "modules import each other: main imports files imports main",
        ),
        (
            {"main": MAIN, "files": FILES + "if LIMIT:\n    pass\n"},
            "files.py has a line that cannot be joined: if LIMIT:",
        ),
        (
            {"main": MAIN.replace("read_file\n", "read_file as f\n"), "files": FILES},
            "main.py has a line that cannot be joined: from .files import LIMIT, read_file as f",
        ),
        ({"main": "import os\n"}, "main.py begins without a docstring"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(modules: dict[str, str], problem: str) -> None:
    with pytest.raises(joiner.JoinError) as error:
        join(modules)
    assert str(error.value) == problem


@pytest.mark.parametrize("parts", [(), PARTS])
def test_the_text_is_ascii_and_can_be_quoted(parts: tuple[str, ...]) -> None:
    text = protocol.probe_text(parts)
    assert text.isascii()
    assert "'''" not in text


def test_the_text_is_bounded() -> None:
    assert len(protocol.probe_text()) < MAX_TEXT


def test_the_text_is_the_same_each_time() -> None:
    first = protocol.probe_text()
    protocol.probe_text.cache_clear()
    assert protocol.probe_text() == first


def test_every_module_is_in_the_text_with_its_name_and_docstring() -> None:
    text = protocol.probe_text(PARTS)
    headers = re.findall(r"^# ==== (\w+): (.*)$", text, re.MULTILINE)
    assert sorted(name for name, _ in headers) == [path.stem for path in MODULES]
    for name, line in headers:
        docstring = ast.get_docstring(ast.parse((REMOTE / f"{name}.py").read_text()))
        assert docstring is not None
        assert docstring.splitlines()[0] == line


def normalized(tree: ast.Module) -> list[str]:
    """Returns every statement but imports and the module's docstring, without indentation of
    docstrings.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body[0] = ast.Expr(ast.Constant(ast.get_docstring(node)))
    skipped = (ast.Import, ast.ImportFrom, ast.Expr)
    return [ast.dump(node) for node in tree.body if not isinstance(node, skipped)]


def test_the_text_has_every_statement_of_the_modules_unchanged() -> None:
    joined = normalized(ast.parse(protocol.probe_text(PARTS)))
    parts = [part for path in MODULES for part in normalized(ast.parse(path.read_text()))]
    assert sorted(joined) == sorted(parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_name_that_a_module_imports_is_used_in_it(path: Path) -> None:
    """Stands for ruff's F401, which does not know `# type:` comments."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                assert len(re.findall(rf"\b{alias.name}\b", text)) > 1, alias.name


def test_a_comment_explains_and_stays() -> None:
    text = protocol.probe_text(PARTS)
    for path in MODULES:
        for line in path.read_text().splitlines():
            if line.lstrip().startswith("# ") and "# type:" not in line:
                assert line.strip() in text
