"""From the kernel to the programs that reset and the services that lose answers, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.page.test_layout import MEASURE, NOTHING, WIDTHS
from tests.support.browser import LoadedPage, page_of
from tests.support.culprits import culprit_run, hostile_run
from tests.support.runs import run_of, small_fleet

RUNS = {"culprits": culprit_run, "hostile": hostile_run}
SECTIONS = ("#story", "#resets", "#services")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each run."""
    folder = tmp_path_factory.mktemp("culprits")
    found = {}
    for name, run in RUNS.items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(page_of(run()), "utf-8")
    return found


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", RUNS)
def test_everything_fits(
    chromium: Any, paths: dict[str, Path], name: str, width: int, javascript: bool
) -> None:
    size = {"width": width, "height": 900}
    with LoadedPage(chromium, paths[name], viewport=size, java_script_enabled=javascript) as visit:
        visit.open_all()
        found: dict[str, Any] = visit.page.evaluate(MEASURE)
        assert found.pop("texts") > 300
        assert found == NOTHING


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", RUNS)
def test_axe_finds_no_violation(
    chromium: Any, axe: str, paths: dict[str, Path], name: str, width: int, scheme: Any
) -> None:
    size = {"width": width, "height": 900}
    with LoadedPage(
        chromium, paths[name], viewport=size, color_scheme=scheme, bypass_csp=True
    ) as visit:
        visit.open_all()
        assert [visit.violations(axe, section) for section in SECTIONS] == [[], [], []]


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_each_step_leads_to_its_section(
    chromium: Any, paths: dict[str, Path], javascript: bool
) -> None:
    with LoadedPage(chromium, paths["culprits"], java_script_enabled=javascript) as visit:
        links = visit.page.locator("#story h3 a")
        assert links.all_inner_texts() == ["Kernel", "Since boot", "Who resets", "Services", "Cure"]
        for n in range(links.count()):
            links.nth(n).focus()
            visit.page.keyboard.press("Enter")
            target = str(links.nth(n).get_attribute("href"))
            assert visit.page.url.endswith(target)
            assert visit.page.locator(target).is_visible()


def test_as_many_hosts_are_listed_as_every_row_counts(
    chromium: Any, paths: dict[str, Path]
) -> None:
    for path in paths.values():
        with LoadedPage(chromium, path) as visit:
            selector = ", ".join(f"{section} a[data-filter]" for section in SECTIONS)
            numbers = visit.numbers(selector)
            assert visit.console == []
        assert [n for n in numbers if n["counted"] != n["listed"] or not n["address"]] == []
        names = {n["filter"].partition("=")[0] for n in numbers}
        assert names == {"resets", "unreadby", "unwatched", "service", "unasked"}


def test_one_host_has_its_rows(chromium: Any, paths: dict[str, Path]) -> None:
    with LoadedPage(chromium, paths["culprits"], "#host?name=web01.example.net") as visit:
        facts = visit.page.locator("#host .facts-list").inner_text()
        assert "haproxy:8443 unread data" in facts
        assert "nginx:80 linger 0" in facts
        assert visit.console == []


def test_an_answer_is_shown_by_words_and_numbers_not_by_a_bar_alone(
    chromium: Any, paths: dict[str, Path]
) -> None:
    with LoadedPage(chromium, paths["culprits"]) as visit:
        row = visit.page.locator("#service-1 tbody tr", has_text="send all, then read")
        text = row.inner_text()
        assert "6 of 24" in text
        assert "no answer: 18" in text
        assert "warning" in text
        assert visit.page.locator("#service-1 .cures").inner_text().count("Cure, ") == 2
        visit.open_all()
        assert visit.page.locator("#service-1 svg.ladder").is_visible()


def test_texts_of_hosts_are_only_text(chromium: Any, paths: dict[str, Path]) -> None:
    with LoadedPage(chromium, paths["hostile"]) as visit:
        visit.open_all()
        assert visit.page.locator(", ".join(f"{one} img" for one in SECTIONS)).count() == 0
        texts = [visit.page.locator(section).inner_text() for section in SECTIONS]
        assert "<img src=x onerror=alert(1)>" in texts[1]
        assert not any("\u202e" in text or "\u200b" in text for text in texts)
        assert (visit.dialogs, visit.console, visit.requests) == ([], [], [visit.url])


def test_on_paper_the_way_and_both_sections_are_there(
    chromium: Any, paths: dict[str, Path]
) -> None:
    with LoadedPage(chromium, paths["culprits"]) as visit:
        visit.page.emulate_media(media="print")
        for section in SECTIONS:
            assert visit.page.locator(section).is_visible()


def test_without_a_watch_one_line_says_how_to_measure(chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page_of(small_fleet()), "utf-8")
    with LoadedPage(chromium, file) as visit:
        assert visit.page.locator(", ".join(SECTIONS)).count() == 0
        commands = visit.page.locator("#production code.command").all_inner_texts()
        assert [command.split()[1] for command in commands] == ["watch", "services"]
    file.write_text(page_of(run_of([])), "utf-8")
    with LoadedPage(chromium, file) as visit:
        assert visit.page.locator("#production code.command").count() == 0


def test_a_page_of_many_hosts_stays_small() -> None:
    small, large = (len(page_of(culprit_run(n)).encode()) for n in (120, 1200))
    # 1,080 hosts more: their names, numbers and rows in the list of hosts.
    assert large - small < 60 * 1080
