"""Takes the screenshots of a page that never changes, and compares them with those that are kept.

    python -m tests.support.screenshots

writes tests/page/screenshots again (`make screenshots`): look at them before they are committed.

Rules: the fleet and the clock are fixed, so the page has the same bytes each time. Pictures are
kept and compared at `SCALE`: another version of Chromium or of a font moves edges by a fraction of
a pixel, which is gone at that size; a block that moved by some pixels is not.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from PIL import Image, ImageChops, ImageFilter, ImageStat

from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import AuditRun, Drift
from tests import ROOT

from .browser import ARGUMENTS, page_of
from .long_names import ordinary_names

FOLDER = ROOT / "tests" / "page" / "screenshots"
SCALE = 3
"""How many pixels of the page, each way, become one of a picture."""
TOLERANCE = 2.2
"""The largest mean difference of a picture, in levels of a colour from 0 to 255.

As measured: letters at whole pixels or between them make 1.6, the status 6 pixels lower 6.7.
"""
LOCAL_TOLERANCE = 30.0
"""The largest mean difference of a block of `BLOCK` by `BLOCK` pixels of a picture.

As measured: 16 and 51, and 57 to 108 if RST has no background.
"""
BLOCK = 8
FONTS = (
    "*, *::before, *::after { font-family: 'DejaVu Sans' !important } "
    "code, .code, .code *, .ending, .ladder text { font-family: 'DejaVu Sans Mono' !important }"
)
"""Fonts that tools/system-packages installs, whatever else a machine has."""


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: the window or, with a selector, one element of the page."""

    name: str
    width: int = 1440
    height: int = 900
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"
    selector: str = ""


SHOTS = (
    *(
        Shot(name=f"first-{width}-{scheme}", width=width, height=height, scheme=scheme)
        for width, height in ((390, 844), (768, 1024), (1440, 900))
        for scheme in ("light", "dark")
    ),
    Shot(name="matrix", selector="table.matrix"),
    Shot(name="ladders", selector="figure.trace-pair"),
    Shot(name="ladder-phone", width=390, height=844, selector="figure.trace-pair .side"),
    Shot(name="legend-phone", width=390, height=844, selector="dl.legend"),
    Shot(name="paper", width=720, height=1032, media="print"),
)


def runs() -> tuple[AuditRun, Drift]:
    """Returns the run on the pictures, and what changed since a run before it."""
    after = ordinary_names()
    info = msgspec.structs.replace(
        after.run, id="2026-11-21T020000Z", started="2026-11-21T02:00:00Z"
    )
    before = msgspec.structs.replace(after, run=info, hosts=after.hosts[1:])
    return after, compute_drift(before, after)


def take(browser: Any, path: Path, shot: Shot) -> Image.Image:
    """Returns a picture of the page in a file, reduced."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    try:
        tab = context.new_page()
        tab.goto(path.as_uri())
        tab.add_style_tag(content=FONTS)
        tab.emulate_media(media=shot.media)
        place = tab.locator(shot.selector).first if shot.selector else tab
        png = place.screenshot(animations="disabled", caret="hide")
    finally:
        context.close()
    return reduce(Image.open(io.BytesIO(png)))


def reduce(picture: Image.Image) -> Image.Image:
    """Returns a picture with one pixel for `SCALE` by `SCALE`."""
    return picture.convert("RGB").reduce(SCALE)


def difference(kept: Image.Image, taken: Image.Image) -> str:
    """Returns how two pictures differ, "" if they do not differ by more than is tolerated.

    Both are blurred first, so that the exact edges of letters do not count.
    """
    if any(abs(a - b) > 1 for a, b in zip(kept.size, taken.size, strict=True)):
        return f"the size is {taken.size}, and was {kept.size}"
    common = (min(kept.width, taken.width), min(kept.height, taken.height))
    blur = ImageFilter.GaussianBlur(1)
    one, other = (picture.crop((0, 0, *common)).filter(blur) for picture in (kept, taken))
    changed = ImageChops.difference(one, other)
    mean = max(ImageStat.Stat(changed).mean)
    if mean > TOLERANCE:
        return f"the mean difference is {mean:.2f}, more than {TOLERANCE}"
    worst = max(most for _, most in ImageStat.Stat(changed.reduce(BLOCK)).extrema)
    return f"a block differs by {worst}" if worst > LOCAL_TOLERANCE else ""


def open_browser() -> Iterator[Any]:
    """Yields the system's Chromium."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("chromium is not installed, so there could be no screenshots")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


def main() -> None:
    """Writes every picture again."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(page_of(*runs()), "utf-8")
        for browser in open_browser():
            for shot in SHOTS:
                take(browser, path, shot).save(FOLDER / f"{shot.name}.png", optimize=True)


if __name__ == "__main__":
    main()
