"""Holds the picture in `fleetaudit/__init__.py`: who may import whom, and who owns which library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import sources

PACKAGE = Path(__file__).parent.parent / "fleetaudit"

# From the top of the house to its foundation: a room imports only rooms further down.
ROOMS = (
    "__main__",
    "cli",
    "report",
    "doctor",
    "compare",
    "drift",
    "judge",
    "policy",
    "waivers",
    "causes",
    "engine",
    "runs",
    "retention",
    "schedule",
    "config",
    "archive",
    "thrift",
    "asked",
    "shard",
    "transport",
    "verdict",
    "wire",
    "plan",
    "playbook",
    "steps",
    "windows",
    "remedies",
    "rules",
    "inventory",
    "yamlfile",
    "folding",
    "files",
    "jobs",
    "published",
    "model",
    "errors",
    "core_files",
)
# Each library, and the only rooms that may import it.
OWNERS = {
    "click": {"cli"},
    "rich": {"cli"},
    "jinja2": {"report", "inventory"},
    "markupsafe": {"report"},
    "paramiko": {"transport"},
    "cryptography": {"inventory"},
    "yaml": {"yamlfile"},
}
PURE = {
    "published",
    "doctor",
    "compare",
    "drift",
    "judge",
    "folding",
    "steps",
    "windows",
    "jobs",
    "model",
    "errors",
    "remedies",
    "rules",
    "policy",
    "causes",
}
SIDE_EFFECTS = {"os", "pathlib", "socket", "subprocess", "time", "random", "shutil", "tempfile", "threading"}


def rooms() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] not in ("remote", "__init__.py"):
            yield relative.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    """Yields absolute module names that a file imports, those of the package as "fleetaudit.ROOM"."""
    package = ["fleetaudit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(sources.tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("room", "path"), [pytest.param(r, p, id=str(p.relative_to(PACKAGE))) for r, p in rooms()])
def test_imports_go_down_the_list_of_rooms_and_libraries_have_one_owner(room: str, path: Path) -> None:
    assert room in ROOMS, f"{path.name} is in no room: add it to ROOMS where it belongs"
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "fleetaudit" and rest:
            other = rest[0]
            if other in ROOMS and other != room:
                assert ROOMS.index(other) > ROOMS.index(room), f"{room} imports {other}, which stands above it"
        if top in OWNERS:
            assert room in OWNERS[top], f"{top} belongs to {OWNERS[top]}, and {path} imports it"


def test_pure_rooms_import_nothing_that_acts_on_the_world() -> None:
    for room, path in rooms():
        if room in PURE:
            acts = {name.split(".")[0] for name in imports(path)} & SIDE_EFFECTS
            assert not acts, f"{room} is pure and imports {acts}"


def test_the_probe_is_sent_and_never_imported() -> None:
    for _, path in rooms():
        assert not [name for name in imports(path) if name.startswith("fleetaudit.remote")], path


def test_the_probe_stands_alone_with_the_standard_library() -> None:
    import sys

    foreign = {name.split(".")[0] for name in imports(PACKAGE / "remote" / "probe.py")} - set(sys.stdlib_module_names)
    assert foreign <= {"__builtin__"}


def test_every_file_says_its_job_first() -> None:
    for _, path in rooms():
        doc = ast.get_docstring(sources.tree(path))
        assert doc, f"{path} has no docstring that says its job"


def test_only_the_command_line_prints() -> None:
    for room, path in rooms():
        calls = [
            node
            for node in ast.walk(sources.tree(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
        assert room == "cli" or not calls, f"{path} prints"
