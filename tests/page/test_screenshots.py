"""The page looks as it did: screenshots are compared with those in tests/page/screenshots.

An intended change fails here, too: take them again with `make screenshots`, and look at them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import screenshots
from tests.support.browser import page_of
from tests.support.screenshots import FOLDER, SHOTS, Shot, difference, runs, take


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("screenshots") / "report.html"
    file.write_text(page_of(*runs()), "utf-8")
    return file


def kept(shot: Shot) -> Image.Image:
    """Returns the picture that is kept."""
    with Image.open(FOLDER / f"{shot.name}.png") as picture:
        return picture.convert("RGB")


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_the_page_looks_as_it_did(
    chromium: Any, path: Path, shot: Shot, tmp_path_factory: pytest.TempPathFactory
) -> None:
    taken = take(chromium, path, shot)
    found = difference(kept(shot), taken)
    if found:
        file = tmp_path_factory.mktemp("taken") / f"{shot.name}.png"
        taken.save(file)
        pytest.fail(f"{found}: see {file}; if it is meant, make screenshots")


def test_every_picture_that_is_kept_is_compared() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == {shot.name for shot in SHOTS}


def by_name(name: str) -> Shot:
    """Returns the picture of that name."""
    return next(shot for shot in SHOTS if shot.name == name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("first-1440-light", ".status { position: relative; top: 6px }"),
        ("first-1440-dark", ":root { --paper: #1d2227 !important }"),
        ("first-390-light", "h1 { display: none }"),
        ("matrix", "table.matrix tbody { position: relative; left: 12px }"),
        ("matrix", ".ending-rst { background: none; color: inherit }"),
        ("ladders", ".ladder { position: relative; left: 12px }"),
        ("ladder-phone", ".ladder .marked { fill: none }"),
        ("legend-phone", ".legend dd { margin-block-start: 6px }"),
        ("paper", ".ending { border: 0 } .status { padding: 0 }"),
    ],
)
def test_a_changed_page_does_not_look_as_it_did(
    chromium: Any, path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: str
) -> None:
    usual = take(chromium, path, by_name(name))
    monkeypatch.setattr(screenshots, "FONTS", f"{screenshots.FONTS} {change}")
    assert difference(usual, usual) == ""
    assert difference(usual, take(chromium, path, by_name(name)))


def test_edges_of_letters_may_move_by_a_part_of_a_pixel(
    chromium: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = by_name("first-1440-light")
    usual = take(chromium, path, shot)
    moved = "body { letter-spacing: 0.02px } main { position: relative; left: 0.4px }"
    monkeypatch.setattr(screenshots, "FONTS", f"{screenshots.FONTS} {moved}")
    again = take(chromium, path, shot)
    assert again.tobytes() != usual.tobytes()
    assert difference(usual, again) == ""
