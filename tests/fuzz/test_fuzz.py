"""Every harness holds for its seeds, for what hypothesis makes of them, and for what was once
found; and every parser has a harness.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from . import parsers
from .__main__ import find_files, write_seeds
from .harness import FINDS_VARIABLE, FOLDER, Finds, load_target, signature, target_names

TARGETS = target_names()
FINDS = [(name, path) for name in TARGETS for path in find_files(name)]


@pytest.mark.parametrize("name", TARGETS)
def test_a_harness_holds_for_its_seeds(name: str) -> None:
    target = load_target(name)
    for seed in target.seeds():
        target.TestOneInput(seed)


@pytest.mark.parametrize(("name", "path"), FINDS, ids=lambda value: Path(str(value)).name)
def test_what_was_once_found_is_mended(name: str, path: Path) -> None:
    load_target(name).TestOneInput(path.read_bytes())


def test_every_find_has_a_line_that_says_what_it_did() -> None:
    text = (FOLDER / "finds" / "README.md").read_text("utf-8")
    described = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(described) == sorted(f"{name}/{path.name}" for name, path in FINDS)


@pytest.fixture(scope="module", autouse=True)
def _loaded_targets() -> None:
    """Imports every harness first: some import tests with @given, which cannot be nested."""
    for name in TARGETS:
        load_target(name)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_harness_holds_for_what_hypothesis_makes_of_its_seeds(
    name: str, data: st.DataObject
) -> None:
    target = load_target(name)
    pieces = [*map(bytes, target.seeds())]
    words = [
        word if isinstance(word, bytes) else word.encode("utf-8", "surrogatepass")
        for word in target.WORDS
    ]
    seed = data.draw(st.sampled_from(pieces))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(seed)))
        more = data.draw(st.binary(max_size=8) | st.sampled_from(words))
        drop = data.draw(st.integers(0, 8))
        seed = seed[:at] + more + seed[at + drop :]
    target.TestOneInput(seed)


def test_fuzzing_finds_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise ValueError(data)

    keeper = Finds(tmp_path)
    for data in (b"long input", b"short", b"longer again"):
        try:
            broken(data)
        except ValueError as e:
            keeper.keep(data, e)
            name = signature(e)
    assert (tmp_path / name).read_bytes() == b"short"
    assert "ValueError" in (tmp_path / f"{name}.txt").read_text()


def test_every_parser_is_reached_by_a_harness_or_says_why_not() -> None:
    rows = parsers.table()
    assert [name for name, where in rows.items() if not where] == []
    names = set(parsers.parsers())
    assert not (parsers.THROUGH.keys() | parsers.NOT_PARSERS.keys()) - names
    assert not parsers.THROUGH.keys() & parsers.NOT_PARSERS.keys()
    reached = parsers.by_harness().keys()
    assert not (parsers.THROUGH.keys() | parsers.NOT_PARSERS.keys()) & reached


def test_the_seeds_and_the_dictionary_are_written_for_libfuzzer(tmp_path: Path) -> None:
    dictionary = write_seeds("step", tmp_path / "step")
    assert len([*(tmp_path / "step").iterdir()]) >= len([*load_target("step").seeds()])
    assert all(
        re.fullmatch(r'"(\\x[0-9a-f]{2})+"', line) for line in dictionary.read_text().split()
    )
    assert FINDS_VARIABLE not in os.environ
