"""Compiled templates are kept, and code that somebody else may have written is never run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from fleetaudit.analysis.compare import compare
from fleetaudit.report import document, html, template_cache
from fleetaudit.report.template_cache import TemplateCache, cache_folder
from tests.support.runs import small_fleet


def environment(
    folder: Path, source: str = "{{ 1 + 1 }}", settings: str = ""
) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.DictLoader({"page": source}),
        bytecode_cache=TemplateCache(folder, settings),
        autoescape=True,
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Returns the names of the templates that are compiled, as they are."""
    names = list[str | None]()
    parse = jinja2.Environment._parse

    def counted(
        self: jinja2.Environment, source: str, name: str | None, filename: str | None
    ) -> jinja2.nodes.Template:
        names.append(name)
        return parse(self, source, name, filename)

    monkeypatch.setattr(jinja2.Environment, "_parse", counted)
    return names


def test_a_template_is_compiled_once(tmp_path: Path, compiled: list[str | None]) -> None:
    folder = tmp_path / "cache" / "templates"
    assert [environment(folder).get_template("page").render() for _ in range(3)] == ["2"] * 3
    assert compiled == ["page"]
    assert [path.name for path in folder.iterdir()] == ["page"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "page").stat().st_mode & 0o777 == 0o600


def test_a_changed_source_is_compiled_again(tmp_path: Path, compiled: list[str | None]) -> None:
    assert environment(tmp_path).get_template("page").render() == "2"
    assert environment(tmp_path, "{{ 2 + 2 }}").get_template("page").render() == "4"
    assert environment(tmp_path, "{{ 2 + 2 }}").get_template("page").render() == "4"
    assert len(compiled) == 2


@pytest.mark.parametrize("what", ["settings", "fleetaudit", "jinja2"])
def test_code_of_other_settings_and_of_another_release_is_not_run(
    what: str, tmp_path: Path, compiled: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path).get_template("page")
    if what == "fleetaudit":
        monkeypatch.setattr(template_cache, "__version__", "9")
    if what == "jinja2":
        monkeypatch.setattr(jinja2, "__version__", "9", raising=False)
    settings = "other" if what == "settings" else ""
    environment(tmp_path, settings=settings).get_template("page")
    assert len(compiled) == 2


def _make_writable(path: Path) -> None:
    path.chmod(0o620)


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _make_large(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(template_cache.MAX_BYTES + 1)


@pytest.mark.parametrize(
    "spoil",
    [_make_writable, _flip_a_bit, _cut, _empty, _make_pipe, _make_folder, _make_large],
)
def test_a_file_that_is_not_as_it_was_written_costs_time_only(
    spoil: Callable[[Path], None], tmp_path: Path, compiled: list[str | None]
) -> None:
    environment(tmp_path).get_template("page")
    spoil(tmp_path / "page")
    assert environment(tmp_path).get_template("page").render() == "2"
    assert len(compiled) == 2


def test_a_file_of_another_user_is_not_run(
    tmp_path: Path, compiled: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path).get_template("page")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    environment(tmp_path).get_template("page")
    assert len(compiled) == 2


def test_nothing_is_written_in_the_home_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert environment(tmp_path / "cache").get_template("page").render() == "2"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert environment(tmp_path / "file" / "cache").get_template("page").render() == "2"


def test_the_page_is_the_same_with_and_without_the_cache(
    tmp_path: Path, compiled: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = list[str]()
    for home in ("", str(tmp_path), str(tmp_path)):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        if not home:
            monkeypatch.delenv("HOME", raising=False)
        document._environment.cache_clear()
        pages.append(html.render(compare(small_fleet())))
    document._environment.cache_clear()
    assert pages[0] == pages[1] == pages[2]
    assert len(compiled) == 2 * len(set(compiled))
    assert {path.name for path in (tmp_path / "fleetaudit/templates").iterdir()} == set(compiled)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/fleetaudit/templates"),
        ({"XDG_CACHE_HOME": "c", "HOME": "/h"}, "/h/.cache/fleetaudit/templates"),
        ({"HOME": "/h"}, "/h/.cache/fleetaudit/templates"),
        ({}, None),
    ],
)
def test_the_cache_is_where_the_user_keeps_caches(
    variables: dict[str, str], expected: str | None
) -> None:
    assert cache_folder(variables) == (Path(expected) if expected else None)
