"""The page on paper: a PDF by Chromium without backgrounds, read by poppler."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat

from tests.support.browser import LoadedPage, page_of
from tests.support.long_names import ordinary_names, six_kernels
from tests.support.runs import small_fleet

FLEETS = {"six": six_kernels, "ordinary": ordinary_names, "small": small_fleet}
MARGIN = 12 / 25.4 * 72
"""The margin of the page in points."""
POINT = 2
"""How many pixels a point has in what `Printed.darkness` looks at."""
HEADINGS = (
    "[...document.querySelectorAll('h1, h2, h3')].filter(e => e.checkVisibility())"
    ".map(e => e.innerText)"
)
XHTML = "{http://www.w3.org/1999/xhtml}"


@dataclass(frozen=True)
class Box:
    """A word or a line on a page of A4, in points from its upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Printed:
    """The page of a run on paper: the lines of each sheet from top to bottom, and its headings."""

    file: Path
    sheets: tuple[tuple[Box, ...], ...]
    words: tuple[tuple[Box, ...], ...]
    headings: frozenset[str]

    def darkness(self, sheet: int, box: Box) -> float:
        """Returns how dark a word is with the frame around it, from 0 (white) to 255."""
        command = ["pdftoppm", "-png", "-gray", "-r", str(72 * POINT), "-f", str(sheet + 1)]
        command += ["-singlefile", str(self.file)]
        png = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
        edges = (box.left - 5, box.top - 1, box.right + 5, box.bottom + 1)
        left, top, right, bottom = (round(edge * POINT) for edge in edges)
        part = Image.open(io.BytesIO(png)).convert("L").crop((left, top, right, bottom))
        return 255 - ImageStat.Stat(part).mean[0]


def boxes(page: ET.Element, kind: str) -> Iterator[Box]:
    """Yields the words or the lines of a sheet, from top to bottom."""
    for element in page.iter(XHTML + kind):
        text = " ".join("".join(element.itertext()).split())
        sides = (float(element.attrib[side]) for side in ("xMin", "yMin", "xMax", "yMax"))
        yield Box(text, *sides)


def print_page(chromium: Any, folder: Path, name: str) -> Printed:
    """Prints the page of a fleet and reads what is on the paper."""
    if shutil.which("pdftotext") is None:
        pytest.skip("poppler-utils is not installed")
    source, file = folder / f"{name}.html", folder / f"{name}.pdf"
    source.write_text(page_of(FLEETS[name]()), "utf-8")
    with LoadedPage(chromium, source) as visit:
        visit.page.pdf(format="A4", print_background=False, path=file)
        visit.page.emulate_media(media="print")
        headings = visit.page.evaluate(HEADINGS)
    command = ["pdftotext", "-bbox-layout", str(file), "-"]
    layout = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    pages = list(ET.fromstring(layout).iter(XHTML + "page"))
    lines = (sorted(boxes(page, "line"), key=lambda line: line.bottom) for page in pages)
    return Printed(
        file=file,
        sheets=tuple(map(tuple, lines)),
        words=tuple(tuple(boxes(page, "word")) for page in pages),
        headings=frozenset(" ".join(heading.split()) for heading in headings),
    )


@pytest.fixture(scope="module")
def printed(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Printed]:
    """Each fleet on paper."""
    folder = tmp_path_factory.mktemp("print")
    return {name: print_page(chromium, folder, name) for name in FLEETS}


def test_six_kernels_take_at_most_eight_sheets(printed: dict[str, Printed]) -> None:
    assert 4 <= len(printed["six"].sheets) <= 8


@pytest.mark.parametrize("fleet", FLEETS)
def test_nothing_is_cut_off_at_the_edge_of_the_paper(
    printed: dict[str, Printed], fleet: str
) -> None:
    for words in printed[fleet].words:
        outside = [w for w in words if w.left < MARGIN - 2 or w.right > 595.3 - MARGIN + 2]
        assert outside == []


@pytest.mark.parametrize("fleet", FLEETS)
def test_no_heading_is_alone_at_the_end_of_a_sheet(printed: dict[str, Printed], fleet: str) -> None:
    last = [lines[-1].text for lines in printed[fleet].sheets]
    assert not [line for line in last if is_heading(line, printed[fleet].headings)]
    assert any(
        is_heading(lines[0].text, printed[fleet].headings) for lines in printed[fleet].sheets
    )


def is_heading(line: str, headings: frozenset[str]) -> bool:
    """Returns whether a line is a heading, or the beginning of a long one."""
    return line in headings or any(h.startswith(line) for h in headings if len(line) > 20)


def test_rst_is_the_darkest_ending_without_backgrounds(printed: dict[str, Printed]) -> None:
    paper = printed["six"]
    lines = [(sheet, line) for sheet, found in enumerate(paper.sheets) for line in found]
    title = next(i for i, (_, line) in enumerate(lines) if "What close() put" in line.text)
    legend = {line.text: (sheet, line) for sheet, line in reversed(lines[title:])}
    endings = ("RST", "FIN", "nothing", "inconclusive", "mixed")
    dark = {text: paper.darkness(*legend[text]) for text in endings}
    assert dark.pop("RST") > 1.3 * max(dark.values())


def test_a_row_is_on_one_sheet_and_the_table_of_agreement_stays_folded(
    chromium: Any, printed: dict[str, Printed]
) -> None:
    source = printed["ordinary"].file.with_suffix(".html")
    with LoadedPage(chromium, source, viewport={"width": 703, "height": 1032}) as visit:
        visit.page.emulate_media(media="print")
        rows = visit.page.evaluate(
            "[...document.querySelectorAll('tr')].filter(e => e.checkVisibility())"
            ".map(e => [getComputedStyle(e).breakInside, e.getBoundingClientRect().height])"
        )
        assert len(rows) > 40
        assert {breaking for breaking, _ in rows} == {"avoid"}
        assert max(height for _, height in rows) < 500
        assert not visit.page.is_visible("#agreed table")
        visit.page.evaluate("document.getElementById('agreed').open = true")
        assert visit.page.is_visible("#agreed table")


def test_what_is_printed_stays_printed_in_the_order_of_the_page(
    printed: dict[str, Printed],
) -> None:
    text = " ".join(line.text for lines in printed["six"].sheets for line in lines)
    order = [
        text.index(f" {title} ") for title in ("Kernels by scenarios", "Expectations", "Legend")
    ]
    assert order == sorted(order)
    assert re.search(r"Printed: the scenarios that differ", text)
