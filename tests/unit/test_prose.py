"""tools/prose finds the private dialect where people read, and its exceptions are all in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT
from tools import prose

PYTHON = '''"""A docstring that was told."""
said = 1  # a comment that was felt
MESSAGE = f"{said} hosts fall short"
CODE = "`told` is code"


def test_two_hosts_behave_alike() -> None: ...
'''


def words(path: Path) -> list[tuple[int, str]]:
    return [(p.line, p.word) for p in prose.places_in(path.name, prose.texts_of(path))]


def test_docstrings_comments_messages_and_names_of_tests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(PYTHON)
    assert sorted(words(path)) == [(1, "told"), (2, "felt"), (3, "fall short"), (7, "alike")]


def test_code_in_markdown_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("He told\n```\ntold\n```\n    told\n`told` them\nThere is none\nit is none\n")
    assert words(path) == [(1, "told"), (8, "is none")]


def test_an_exception_covers_its_fragment_in_its_files() -> None:
    rows = prose.exceptions("# a comment\ndocs/* | he told | it is a quotation\n")
    found = prose.Place("docs/why.md", 1, "and he told them", "told", "")
    assert prose.is_excepted(found, rows)
    assert not prose.is_excepted(prose.Place("README.md", 1, "he told", "told", ""), rows)
    assert not prose.is_excepted(prose.Place("docs/why.md", 1, "they told", "told", ""), rows)


def test_an_exception_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="not path"):
        prose.exceptions("docs/* | told |\n")


def test_every_exception_is_still_needed() -> None:
    for path, fragment in prose.exceptions(prose.EXCEPTIONS.read_text("utf-8")):
        folder, _, last = path.rpartition("/")
        files = (ROOT / folder).glob(last)
        texts = [text for one in files for text in prose.texts_of(one)]
        assert any(fragment in " ".join(text.split()) for _, text in texts), f"{path} | {fragment}"
