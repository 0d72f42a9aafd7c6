"""The first screen in a real browser: status, traces and sentences are there without scrolling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetaudit.model import AuditRun
from tests.support.browser import LoadedPage, page_of
from tests.support.runs import K618, SCENARIOS, Fleet, missing, observe, run_of, small_fleet

NOTEBOOK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def long_sentence() -> AuditRun:
    """Returns a run with much to say: errors, hosts not audited, a void host, long traces."""
    fleet = Fleet()
    partly = next(s for s in SCENARIOS if s.name == "reread-fin-close")
    hosts = [
        fleet.host("a", K618, instead=[observe(partly, "ipv4", "RST")]),
        *small_fleet().hosts,
        *(missing(f"lost{n}", "connect", f"refused {n}", f"nc -vz lost{n} 22") for n in range(3)),
    ]
    return run_of(hosts)


RUNS = {
    "small fleet": small_fleet(),
    "much to say": long_sentence(),
    "all met": run_of([Fleet().host("web1", K618)]),
    "one trace": run_of(
        [Fleet().host("web1", K618, instead=[observe(SCENARIOS[2], "ipv4", "FIN")])]
    ),
    "empty": run_of([]),
}
SEEN_WITHOUT_SCROLLING = ("#status-h", ".status-sentence", ".status-why", ".status-meaning")


def bottom(visit: LoadedPage, selector: str) -> float:
    """Returns the lowest edge of what a selector matches, in CSS pixels; 0 without any."""
    return float(
        visit.page.evaluate(
            "s => Math.max(0, ...[...document.querySelectorAll(s)]"
            ".map(e => e.getBoundingClientRect().bottom))",
            selector,
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("name", RUNS)
def test_status_and_traces_are_on_the_first_screen_of_a_notebook(
    chromium: Any, tmp_path: Path, name: str, scripts: bool, scheme: str
) -> None:
    with loaded(chromium, tmp_path, name, NOTEBOOK, scripts, scheme) as visit:
        for selector in (*SEEN_WITHOUT_SCROLLING, ".highlight"):
            assert bottom(visit, selector) <= NOTEBOOK["height"], selector
        sides = visit.page.locator(".highlight svg.ladder")
        assert sides.count() == {"small fleet": 2, "much to say": 2, "one trace": 1}.get(name, 0)
        assert visit.width() <= NOTEBOOK["width"]


@pytest.mark.parametrize("name", RUNS)
def test_status_and_sentences_are_on_the_first_screen_of_a_phone(
    chromium: Any, tmp_path: Path, name: str
) -> None:
    with loaded(chromium, tmp_path, name, PHONE) as visit:
        for selector in SEEN_WITHOUT_SCROLLING:
            assert bottom(visit, selector) <= PHONE["height"], selector
        assert visit.width() <= PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", RUNS)
def test_axe_finds_no_violation_on_the_first_screen(
    chromium: Any, axe: str, tmp_path: Path, name: str, scheme: str
) -> None:
    with loaded(chromium, tmp_path, name, PHONE, scheme=scheme) as visit:
        assert visit.violations(axe) == []
        assert (visit.console, visit.requests) == ([], [visit.url])


def test_on_paper_the_status_comes_first_without_the_ladders_that_follow(
    chromium: Any, tmp_path: Path
) -> None:
    with loaded(chromium, tmp_path, "small fleet", NOTEBOOK) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".status-sentence").is_visible()
        assert not visit.page.locator(".highlight").is_visible()
        assert visit.page.locator("#duel-1 svg.ladder").first.is_visible()
    with loaded(chromium, tmp_path, "one trace", NOTEBOOK) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".highlight svg.ladder").is_visible()


def test_an_answer_without_anything_to_report_takes_one_line(chromium: Any, tmp_path: Path) -> None:
    with loaded(chromium, tmp_path, "all met", NOTEBOOK) as visit:
        card = visit.page.locator(".summary-brief", has_text="There is no earlier run").first
        box = card.bounding_box()
        assert box is not None
        line = float(visit.page.evaluate("parseFloat(getComputedStyle(document.body).lineHeight)"))
        assert box["height"] < 3 * line
        heading = card.locator("h3").bounding_box()
        answer = card.locator(".sentences").bounding_box()
        assert heading is not None
        assert answer is not None
        assert abs(heading["y"] - answer["y"]) < line / 2


def test_the_label_is_a_word_and_not_only_a_colour(chromium: Any, tmp_path: Path) -> None:
    labels = {
        "small fleet": "Act",
        "all met": "All as expected",
        "one trace": "Act",
        "empty": "Cannot say",
    }
    for name, label in labels.items():
        with loaded(chromium, tmp_path, name, NOTEBOOK) as visit:
            assert visit.page.locator("#status-h").inner_text().endswith(label)


def test_the_numbers_of_the_status_lead_to_what_they_count(chromium: Any, tmp_path: Path) -> None:
    # With a script those that count hosts lead to the list of hosts: test_host_filters.
    with loaded(chromium, tmp_path, "small fleet", NOTEBOOK, scripts=False) as visit:
        links = visit.page.locator(".status-sentence a")
        targets = [links.nth(n).get_attribute("href") for n in range(links.count())]
        assert len(targets) >= 4
        for target in targets:
            assert target is not None
            assert visit.page.locator(target).count() == 1


def loaded(
    chromium: Any,
    folder: Path,
    name: str,
    viewport: dict[str, int],
    scripts: bool = True,
    scheme: str = "light",
) -> LoadedPage:
    file = folder / "page.html"
    file.write_text(page_of(RUNS[name]), "utf-8")
    return LoadedPage(
        chromium, file, viewport=viewport, java_script_enabled=scripts, color_scheme=scheme
    )
