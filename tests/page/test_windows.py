"""No line of a ladder or of its table is wider than the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.model import Evidence
from tests.support.browser import LoadedPage, page_of
from tests.unit.probe.test_segments import SHUT, connection, with_evidence


@pytest.mark.parametrize("width", [390, 1440])
def test_no_line_of_a_ladder_or_its_table_overflows(
    chromium: Any, tmp_path: Path, width: int
) -> None:
    many = tuple(
        replace(
            SHUT[2],
            flags="P.",
            length=65_483,
            seq=i * 65_483 + 16_777_216,
            ack=4_294_967_295,
            window=65_535,
        )
        for i in range(9)
    )
    run, _ = with_evidence(Evidence(wire=(*SHUT, *many), connection=connection(14, 14)))
    file = tmp_path / "report.html"
    file.write_text(page_of(run), "utf-8")
    with LoadedPage(chromium, file, viewport={"width": width, "height": 900}) as visit:
        visit.open_all()
        assert "1,073,725,440" in visit.page.locator("table.packets").first.inner_text()
        assert visit.width() <= width
        assert visit.page.evaluate(OVER) == []


OVER = """() => [...document.querySelectorAll("svg.ladder text.on")].filter(text => {
  const box = text.getBBox()
  const [left, right] = [...text.ownerSVGElement.querySelectorAll("text.head")]
  return box.x < left.getAttribute("x") || box.x + box.width > right.getAttribute("x")
}).map(text => text.textContent)"""
"""The texts over arrows that are not between the two lifelines."""
