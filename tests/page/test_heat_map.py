"""The heat map of many kernels in a real browser: rows in view only, by keyboard, on a phone, and
as ordinary tables without a script.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.model import Audited
from tests.support.browser import LoadedPage, page_of
from tests.support.many_kernels import SERIES, fleet_of

VIEW = "document.querySelector('#heat .scroll')"
ROWS = "document.querySelectorAll('table.heat tbody tr:not(.gap)').length"

SCROLL_THROUGH = f"""async () => {{
  const seen = new Set();
  const frame = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go, 20)));
  let most = 0;
  while (true) {{
    await frame();
    most = Math.max(most, {ROWS});
    document.querySelectorAll("table.heat tbody tr:not(.gap)").forEach(
      (row) => seen.add(row.getAttribute("aria-rowindex")));
    if ({VIEW}.scrollTop + {VIEW}.clientHeight >= {VIEW}.scrollHeight - 1) return [most, [...seen]];
    {VIEW}.scrollBy({{top: 500, behavior: "instant"}});
  }}
}}"""
"""Returns the most rows that there were at once, and the indexes of all of them."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The page of a fleet by its number of kernels."""
    folder = tmp_path_factory.mktemp("page")
    files = {builds: folder / f"{builds}.html" for builds in (12, 40, 400)}
    for builds, file in files.items():
        file.write_text(page_of(fleet_of(builds)), "utf-8")
    return files


def test_twelve_kernels_have_a_matrix_and_more_have_a_heat_map(
    chromium: Any, pages: dict[int, Path]
) -> None:
    for builds, tables in ((12, (1, 0)), (40, (0, 1))):
        with LoadedPage(chromium, pages[builds]) as visit:
            found = [visit.page.locator(f"table.{kind}").count() for kind in ("matrix", "heat")]
            assert tuple(found) == tables


def test_a_series_that_agrees_is_closed_and_every_series_opens_and_closes(
    chromium: Any, pages: dict[int, Path]
) -> None:
    with LoadedPage(chromium, pages[40]) as visit:
        assert visit.console == []
        open_at_first = visit.page.locator(".fold[aria-expanded=true]").all_inner_texts()
        assert "Series 5.15" not in open_at_first
        assert "Series 6.12" in open_at_first
        fold = visit.page.get_by_role("button", name="Series 5.15")
        row = visit.page.locator("table.heat tr", has_text="5.15.100-1-cloud-amd64")
        assert not row.is_visible()
        fold.press("Enter")
        assert row.is_visible()
        fold.press("Enter")
        assert not row.is_visible()
        visit.page.click("text=Open all series")
        assert visit.page.locator("table.heat tbody th.stub:visible").count() == 40 + len(SERIES)
        visit.page.click("text=Close all series")
        assert visit.page.locator("table.heat tbody th.stub:visible").count() == len(SERIES)


def test_a_cell_has_its_word_its_hosts_and_its_verdict_in_words(
    chromium: Any, pages: dict[int, Path]
) -> None:
    with LoadedPage(chromium, pages[40]) as visit:
        row = visit.page.locator("tr.sum", has_text="Series 6.12")
        texts = [" ".join(text.split()) for text in row.locator("td").all_text_contents()]
        assert "mixed 15, not as expected (info)FIN 9, RST 6" in texts
        one = visit.page.locator("tr", has_text="6.12.100-1-cloud-amd64").locator("td.h-info")
        assert one.text_content() == "RST 3, not as expected (info)"
        link = one.locator("a").get_attribute("href")
        assert link == (
            "#hosts?build=6.12.100-1-cloud-amd64"
            "&scenario=reread-fin-close&family=IPv4&family=IPv6&ending=RST"
        )


def test_four_hundred_kernels_have_only_rows_in_view_and_all_their_indexes(
    chromium: Any, pages: dict[int, Path]
) -> None:
    with LoadedPage(chromium, pages[400]) as visit:
        visit.page.click("text=Open all series")
        table = visit.page.locator("table.heat")
        assert table.get_attribute("aria-rowcount") == str(400 + len(SERIES) + 1)
        most, seen = visit.page.evaluate(SCROLL_THROUGH)
        assert most < 160
        assert set(seen) == {str(index) for index in range(2, 400 + len(SERIES) + 2)}
        last = visit.page.locator("table.heat tbody tr").last
        assert "6.18.149" in last.inner_text()
        assert visit.console == []


def test_the_header_row_and_the_first_column_stay_in_view(
    chromium: Any, pages: dict[int, Path]
) -> None:
    for width in (390, 1280):
        size = {"width": width, "height": 700}
        with LoadedPage(chromium, pages[400], viewport=size) as visit:
            visit.page.evaluate(f"{VIEW}.scrollIntoView({{behavior: 'instant'}})")
            visit.page.evaluate(f"{VIEW}.scrollTo({{top: 2000, left: 60, behavior: 'instant'}})")
            box = visit.page.locator("#heat .scroll").bounding_box()
            head = visit.page.locator("table.heat thead .stub").bounding_box()
            assert box["y"] <= head["y"] <= box["y"] + 2
            assert box["x"] <= head["x"] <= box["x"] + 2
            assert head["width"] <= 160 or width > 390
            assert visit.width() <= width


def test_the_arrow_keys_reach_every_row_also_those_not_yet_drawn(
    chromium: Any, pages: dict[int, Path]
) -> None:
    focused = (
        "[document.activeElement.closest('tr').getAttribute('aria-rowindex'),"
        " document.activeElement.closest('td').cellIndex]"
    )
    with LoadedPage(chromium, pages[400]) as visit:
        visit.page.click("text=Open all series")
        assert visit.page.locator("table.heat td [tabindex='0']").count() == 1
        visit.page.locator("table.heat td [tabindex='0']").focus()
        visit.page.keyboard.press("ArrowRight")
        for _ in range(30):
            visit.page.keyboard.press("PageDown")
        for _ in range(5):
            visit.page.keyboard.press("ArrowDown")
        assert visit.page.evaluate(focused) == [str(2 + 305), 2]
        inside = (
            f"(() => {{ const one = document.activeElement.getBoundingClientRect(), box ="
            f" {VIEW}.getBoundingClientRect(), head = document.querySelector('table.heat"
            " thead').getBoundingClientRect(); return one.top >= head.bottom - 1 &&"
            " one.bottom <= box.bottom; })()"
        )
        visit.page.wait_for_function(inside)
        visit.page.keyboard.press("Control+Home")
        assert visit.page.locator("table.heat td [tabindex='0']").count() == 1
        for _ in range(45):
            visit.page.keyboard.press("PageDown")
        assert visit.page.evaluate(focused)[0] == str(400 + len(SERIES) + 1)


def test_without_javascript_every_build_is_in_a_table(
    chromium: Any, pages: dict[int, Path]
) -> None:
    with LoadedPage(chromium, pages[400], java_script_enabled=False) as visit:
        assert visit.page.locator("#heat tr.sum").count() == len(SERIES)
        assert visit.page.locator("#heat-builds td").first.is_visible() is False
        visit.page.click("#heat-builds summary")
        assert visit.page.locator("#heat-builds tbody th.stub:visible").count() == 400
    with LoadedPage(chromium, pages[40], java_script_enabled=False) as visit:
        assert visit.page.locator("#heat-builds tbody th.stub:visible").count() == 40


def test_on_paper_every_build_is_printed_and_afterwards_the_page_is_as_before(
    chromium: Any, pages: dict[int, Path]
) -> None:
    with LoadedPage(chromium, pages[400]) as visit:
        before = visit.page.evaluate(ROWS)
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert visit.page.locator("table.heat tbody th.stub:visible").count() == 400 + len(SERIES)
        visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
        visit.page.wait_for_function(f"{ROWS} <= {before + 20}")


@pytest.mark.parametrize(("builds", "scheme", "width"), [(40, "light", 1280), (400, "dark", 390)])
def test_axe_finds_no_violation_in_a_heat_map(
    chromium: Any, pages: dict[int, Path], axe: str, builds: int, scheme: str, width: int
) -> None:
    options: dict[str, Any] = {"color_scheme": scheme, "bypass_csp": True}
    size = {"width": width, "height": 900}
    with LoadedPage(chromium, pages[builds], viewport=size, **options) as visit:
        assert visit.violations(axe, "#heat") == []


def test_with_forced_colours_every_cell_has_a_border(chromium: Any, pages: dict[int, Path]) -> None:
    with LoadedPage(chromium, pages[40], forced_colors="active") as visit:
        cell = visit.page.locator("td.h-info").first
        assert cell.evaluate("one => getComputedStyle(one).borderBlockEndWidth") == "1px"
        assert "RST" in cell.inner_text()


def test_a_cell_leads_to_the_hosts_that_it_counts(chromium: Any, pages: dict[int, Path]) -> None:
    with LoadedPage(chromium, pages[40]) as visit:
        visit.page.click("text=Open all series")
        cells = visit.page.locator("table.heat td a").evaluate_all(
            "all => all.map(a => [a.getAttribute('href'), a.querySelector('b').textContent,"
            " parseInt(a.childNodes[1].textContent)])"
        )
        assert len(cells) == 4 * (40 + len(SERIES))
        chosen = [*cells[:9], *(cell for cell in cells if cell[1] in ("mixed", "inconclusive"))]
        for href, word, count in chosen:
            visit.page.evaluate("to => { location.hash = to }", href)
            text = visit.page.locator(
                ".found output", has_text=re.compile(rf"^{count} of 120 hosts")
            )
            text.wait_for()
            assert ("ending=" in href) is (word != "mixed")


@pytest.mark.parametrize("width", [390, 1440])
def test_long_and_foreign_releases_leave_room_for_the_cells(
    chromium: Any, tmp_path: Path, width: int
) -> None:
    releases = ("5.10." + "x" * 245, "6.12-\u202eعربي", "6.1-😀", "6.6-" + "long-part-" * 12)
    run = fleet_of(16)
    hosts = list(run.hosts)
    for place, release in enumerate(releases, 7):
        host = hosts[place]
        assert isinstance(host, Audited)
        kernel = replace(host.kernel, release=release)
        hosts[place] = replace(host, kernel=kernel)
    file = tmp_path / "report.html"
    file.write_text(page_of(replace(run, hosts=tuple(hosts))), "utf-8")
    with LoadedPage(chromium, file, viewport={"width": width, "height": 900}) as visit:
        visit.page.click("text=Open all series")
        assert visit.width() <= width
        view = visit.page.locator("#heat .scroll").bounding_box()
        stub = visit.page.locator("table.heat thead .stub").bounding_box()
        assert stub["width"] <= 0.45 * view["width"]
        foreign = visit.page.locator("table.heat tr", has_text="6.12-\\u202e")
        to = foreign.locator("td a").first.get_attribute("href")
        visit.page.evaluate("to => { location.hash = to }", to)
        visit.page.locator(".found output", has_text="1 of 48 hosts").wait_for()
