"""The values of sysctls as bars in a real browser, and those apart that depend on the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import LoadedPage, page_of
from tests.support.many_kernels import fleet_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a fleet whose sysctls vary by choice, by kernel and by memory."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of(fleet_of(40)), "utf-8")
    return file


def test_the_sentence_counts_only_differences_that_the_memory_does_not_explain(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        intro = visit.page.inner_text("#sysctls .intro >> nth=0")
        assert intro.startswith("4 of 9 sysctls vary, are not as expected, or differ")
        assert intro.endswith("3 more follow from the memory of the host.")
        apart = visit.page.locator("#sysctls-memory ~ details")
        names = apart.locator("summary").inner_text()
        assert names == "net.ipv4.tcp_mem, net.ipv4.tcp_rmem, net.ipv4.tcp_wmem"
        first = visit.page.locator("#sysctls table.sysctls").first
        keys = first.locator(".series .code").all_inner_texts()
        assert "net.core.somaxconn" in keys
        assert not set(keys) & set(names.split(", "))


def test_a_bar_marks_the_kernel_default_and_so_does_the_row_of_its_value(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        body = visit.page.locator("table.sysctls tbody", has_text="net.core.somaxconn")
        bar = body.locator("svg.spread")
        assert bar.locator("text").all_text_contents() == [
            "4096",
            "65535",
            "1024",
            "kernel default",
        ]
        default, changed = (bar.locator(f".part-{kind}").first for kind in ("default", "changed"))
        assert default.bounding_box()["width"] > changed.bounding_box()["width"]
        line, part = bar.locator("line").bounding_box(), default.bounding_box()
        assert abs(line["x"] - part["x"]) <= 2
        assert abs(line["width"] - part["width"]) <= 3
        row = body.locator("tr", has=visit.page.locator("th[scope=row]", has_text="4096")).first
        assert "kernel default" in row.inner_text()


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_text_of_a_bar_leaves_its_part(chromium: Any, path: Path, width: int) -> None:
    beyond = """() => [...document.querySelectorAll("svg.spread")].flatMap((svg) => {
      const box = svg.getBoundingClientRect();
      const parts = [...svg.querySelectorAll("rect")].map((one) => one.getBoundingClientRect());
      return [...svg.querySelectorAll("text")].filter((text) => {
        const own = text.getBoundingClientRect();
        const within = (one) => one.left <= own.left && own.right <= one.right;
        return text.matches(".word") ? !within(box) : !parts.some(within);
      }).map((text) => text.textContent);
    })"""
    size = {"width": width, "height": 900}
    with LoadedPage(chromium, path, viewport=size) as visit:
        visit.open_all()
        assert visit.page.locator("svg.spread").count() >= 6
        assert visit.page.evaluate(beyond) == []
        assert visit.width() <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_the_sysctls(
    chromium: Any, path: Path, axe: str, scheme: str
) -> None:
    with LoadedPage(chromium, path, bypass_csp=True, color_scheme=scheme) as visit:
        visit.open_all()
        assert visit.violations(axe, "#sysctls") == []
        contrast = visit.page.locator("svg.spread text").first.evaluate(CONTRAST)
        assert contrast >= 4.5


CONTRAST = """(text) => {
  const light = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((byte) => {
      const share = byte / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ink = light(getComputedStyle(text).fill);
  const least = [...document.querySelectorAll("svg.spread rect")].map((part) => {
    const paper = light(getComputedStyle(part).fill);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
  return Math.min(...least);
}"""
"""Returns the least contrast of a text with any part of any bar (WCAG 2.2, relative luminance)."""


def test_without_javascript_and_with_forced_colours_the_bars_are_there(
    chromium: Any, path: Path
) -> None:
    options: dict[str, Any] = {"java_script_enabled": False, "forced_colors": "active"}
    with LoadedPage(chromium, path, **options) as visit:
        assert visit.page.locator("svg.spread").first.is_visible()
        assert visit.page.locator("text=Depends on the memory of the host").first.is_visible()
