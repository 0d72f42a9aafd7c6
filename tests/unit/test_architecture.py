"""The picture in `fleetaudit/__init__.py` holds: who imports whom, and who owns which library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.support import sources

PACKAGE = ROOT / "fleetaudit"

# From the top to the foundation: a package imports only packages further down.
PACKAGES = (
    "__main__",
    "cli",
    "app",
    "report",
    "analysis",
    "store",
    "engine",
    "transport",
    "probe",
    "playbook",
    "connection",
    "inventory",
    "model",
    "text",
    "caching",
    "errors",
    "log",
)
# Each library, and the only packages that may import it.
OWNERS = {
    "click": {"cli"},
    "rich": {"cli"},
    "jinja2": {"report", "connection"},
    "markupsafe": {"report"},
    "greenlet": {"transport"},
    "paramiko": {"transport"},
    "dask": {"engine"},
    "distributed": {"engine"},
    "cryptography": {"inventory"},
    "yaml": {"text"},
}
# Packages and modules that neither read nor write anything but their arguments.
PURE = (
    "analysis",
    "errors",
    "model",
    "playbook.conditions",
    "playbook.contradictions",
    "playbook.controls",
    "playbook.expectation_tests",
    "playbook.expectations",
    "playbook.patterns",
    "playbook.phrases",
    "playbook.services",
    "playbook.shards",
    "playbook.step_order",
    "playbook.steps",
    "playbook.tags",
    "playbook.watch",
    "probe.command",
    "probe.controls",
    "probe.counters",
    "probe.joiner",
    "probe.peer_socket",
    "probe.reply",
    "probe.reply_errors",
    "probe.result_line",
    "probe.scenario_verdict",
    "probe.segments",
    "probe.step_effects",
    "probe.times",
    "probe.trial_verdict",
    "probe.verdict",
    "probe.verdict_cache",
    "probe.watch_explanation",
    "probe.wire",
    "caching",
    "store.jobs",
    "text.debian_versions",
    "text.durations",
    "text.host_ranges",
    "text.json_schema",
    "text.kernel_releases",
    "text.phrases",
    "text.sanitize",
    "transport.kernel.package",
)
# Where users type a command, nothing but use cases is called: cli prints what app returns.
CLI_IMPORTS = {"__version__", "app", "cli", "errors", "log", "model", "text"}
SIDE_EFFECTS = {
    "os",
    "pathlib",
    "socket",
    "subprocess",
    "time",
    "random",
    "shutil",
    "tempfile",
    "threading",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Yields the package and the path of every module, without those of the probe."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] != "__init__.py" and relative.parts[:2] != ("probe", "remote"):
            yield relative.parts[0].removesuffix(".py"), path


def name_of(path: Path) -> str:
    """Returns the name of a module without the project's own, such as "store.jobs"."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Yields absolute module names that a file imports, those of the package as
    "fleetaudit.PACKAGE".
    """
    package = ["fleetaudit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(sources.syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("package", "path"), [pytest.param(n, p, id=name_of(p)) for n, p in modules()]
)
def test_imports_go_down_the_list_of_packages_and_libraries_have_one_owner(
    package: str, path: Path
) -> None:
    assert package in PACKAGES, f"{path.name} is in no package: add it to PACKAGES where it belongs"
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "fleetaudit" and rest:
            other = rest[0]
            if other in PACKAGES and other != package:
                assert PACKAGES.index(other) > PACKAGES.index(package), (
                    f"{package} imports {other}, which stands above it"
                )
        if top in OWNERS:
            assert package in OWNERS[top], f"{top} belongs to {OWNERS[top]}, and {path} imports it"


def test_the_command_line_uses_nothing_but_the_use_cases() -> None:
    paths = [path for package, path in modules() if package == "cli"]
    assert paths
    for path in paths:
        parts = [name.split(".") for name in imports(path) if name.startswith("fleetaudit.")]
        others = {part[1] for part in parts} - CLI_IMPORTS
        assert not others, f"{path} imports {others}: call a function of fleetaudit.app instead"


def is_pure(path: Path) -> bool:
    return any(name_of(path) == pure or name_of(path).startswith(f"{pure}.") for pure in PURE)


def test_pure_modules_import_nothing_that_acts_on_the_world() -> None:
    for _, path in modules():
        if is_pure(path):
            acts = {name.split(".")[0] for name in imports(path)} & SIDE_EFFECTS
            assert not acts, f"{name_of(path)} is pure and imports {acts}"


def test_the_probe_is_sent_as_text_and_imported_by_no_module_of_the_package() -> None:
    for _, path in modules():
        assert not [name for name in imports(path) if name.startswith("fleetaudit.probe.remote")], (
            path
        )


def test_the_probe_imports_only_its_own_modules_and_the_standard_library() -> None:
    paths = sorted((PACKAGE / "probe" / "remote").glob("*.py"))
    assert len(paths) > 20
    for path in paths:
        foreign = {
            name
            for name in imports(path)
            if not name.startswith("fleetaudit.probe.remote.")
            and name.split(".")[0] not in sys.stdlib_module_names
        }
        assert not foreign, f"{path.name} imports {foreign}"


def test_every_file_says_its_job_first() -> None:
    for _, path in modules():
        doc = ast.get_docstring(sources.syntax_tree(path))
        assert doc, f"{path} has no docstring that says its job"


def test_only_the_command_line_prints() -> None:
    for package, path in modules():
        calls = [
            node
            for node in ast.walk(sources.syntax_tree(path))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ]
        assert package == "cli" or not calls, f"{path} prints"


def test_every_logger_comes_from_the_module_that_gives_them_a_handler() -> None:
    for package, path in modules():
        calls = [
            node
            for node in ast.walk(sources.syntax_tree(path))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "getLogger"
            and isinstance(node.args[0], ast.Name)
        ]
        assert package == "log" or not calls, f"{path}: use fleetaudit.log.get_logger"
