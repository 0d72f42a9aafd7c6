"""The documentation names what there is: options, variables, kinds of failures, pages, commands."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
import typing
from pathlib import Path

import click
import pytest

from fleetaudit import errors
from fleetaudit.cli import fleetaudit
from fleetaudit.playbook import parse_playbook
from fleetaudit.playbook.phrases import PHRASES
from tests import ROOT
from tools import reference, tutorial

from .test_readme import parse_command

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SOURCES = "\n".join(p.read_text("utf-8") for p in (ROOT / "fleetaudit").rglob("*.py"))


def commands_in(page: Path) -> list[str]:
    """Returns the command lines of a page: indented lines and lines of fences with "$"."""
    found = re.findall(r"^(?: {4}|\$ )(fleetaudit [^#|<>\n]*)", page.read_text("utf-8"), re.M)
    return [line.strip() for line in found if "…" not in line]


COMMANDS = sorted({(page.name, line) for page in PAGES for line in commands_in(page)})


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_in_the_documentation_parses(page: str, line: str) -> None:
    assert parse_command(line), page


def test_commands_are_found_in_the_documentation() -> None:
    assert len(COMMANDS) > 30


def test_the_reference_has_every_command_and_every_option() -> None:
    page = reference.pages()["reference/commands.md"]
    for context in reference.walk(fleetaudit):
        assert f"\n## {context.command_path}\n" in page
        for parameter in context.command.params:
            if isinstance(parameter, click.Option):
                for name in (*parameter.opts, *parameter.secondary_opts):
                    assert name in page, f"{context.command_path} {name}"


def test_the_reference_has_every_key_of_a_playbook_and_every_step() -> None:
    pages = reference.pages()
    schema = json.loads(reference.SCHEMA.read_text("utf-8"))
    for name, one in schema["$defs"].items():
        for key in one["properties"]:
            assert f"| `{key}`" in pages["reference/playbook-keys.md"], f"{name}: {key}"
    for phrase in PHRASES:
        assert f"| `{phrase.pattern}` |" in pages["reference/steps.md"]


def test_there_is_a_man_page_of_every_command() -> None:
    pages = reference.man_pages()
    assert {"fleetaudit.1", "fleetaudit-run.1", "fleetaudit-policy-make.1"} <= pages.keys()
    for name, text in pages.items():
        assert text.startswith(f'.TH "{name.removesuffix(".1").upper()}" "1"')
        assert not re.search(r"^\.(?!TH|SH|TP|PP|B |BR|nf|fi)", text, re.M), name


def test_every_environment_variable_is_documented() -> None:
    page = (DOCS / "environment.md").read_text("utf-8")
    named = set(re.findall(r"\b_?FLEETAUDIT_[A-Z_]+[A-Z]\b", SOURCES))
    named |= {
        parameter.envvar
        for context in reference.walk(fleetaudit)
        for parameter in context.command.params
        if isinstance(parameter.envvar, str)
    }
    assert named - set(re.findall(r"`(\w+)`", page)) == set()


def test_every_kind_of_failure_is_explained() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    kinds = set(typing.get_args(errors.FailureKind)) - {""}
    rows = re.findall(r"^\| (`[^|]*`) \|", page, re.M)
    explained = {kind for row in rows for kind in re.findall(r"`([^`]+)`", row)}
    assert kinds - explained == set()


def test_every_file_that_the_architecture_names_exists() -> None:
    pages = (DOCS / "architecture.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("decisions/*.md"))
    text = "\n".join(page.read_text("utf-8") for page in pages)
    names = set(re.findall(r"`([\w/.-]+\.py|[\w/]+/)`", text))
    names -= {"probe/native/", "tests/fuzz/", "site/"}  # the page says that they are not there
    assert len(names) > 30
    there = [f"/{p.relative_to(ROOT)}" for top in ("fleetaudit", "tests") for p in
             (ROOT / top).rglob("*")]  # fmt: skip
    for name in names:
        suffix = f"/{name.rstrip('/')}"
        assert any(path.endswith(suffix) for path in there) or (ROOT / name).exists(), name


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES:
        name = page.relative_to(DOCS).as_posix()
        assert name in site, f"{name} is not in the navigation: add it to `nav` in mkdocs.yml"


def test_the_readme_links_only_to_what_a_package_index_shows_too() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.findall(r"\]\((?!https?://|#)", text) == []


def test_the_package_names_its_addresses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} == project["urls"].keys()


def test_the_playbook_of_the_story_parses() -> None:
    text = (DOCS / "why" / "chat.yml").read_text("utf-8")
    assert len(parse_playbook(text, source="chat.yml").plays[0].scenarios) == 3


def test_outputs_of_the_tutorial_are_replaced_and_its_commands_kept() -> None:
    page = "a\n```console\n$ one\nold\n$ cat > f <<'END'\n$ text\nEND\n$ two\n```\nb\n"
    again = tutorial.rewritten(page, lambda command: f"<{shlex.split(command)[0]}>\n")
    assert again == (
        "a\n```console\n$ one\n<one>\n$ cat > f <<'END'\n$ text\nEND\n<cat>\n$ two\n<two>\n```\nb\n"
    )
    assert tutorial.rewritten(again, lambda command: f"<{shlex.split(command)[0]}>\n") == again
