"""The page of two runs in a real browser: it loads nothing, runs nothing that a host sent, and can
be read on a phone, on paper, without a mouse and without JavaScript.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.model import Audited, AuditRun
from tests.support.browser import LoadedPage, diff_page_of
from tests.support.long_names import extreme_names, ordinary_names
from tests.support.runs import (
    K510,
    K612,
    K618,
    Fleet,
    by_name,
    observe,
    run_of,
    small_fleet,
    upgraded_fleet,
)

from .test_layout import NOTHING, WIDTHS, measure
from .test_page import SEEDS, hostile_run

SIDEWAYS = (320, 390, 768, 1440)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("diff") / "diff.html"
    file.write_text(diff_page_of(*upgraded_fleet()), "utf-8")
    return file


def test_the_page_logs_nothing_and_requests_nothing(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.open_all()
        assert visit.console == []
        assert visit.requests == [visit.url]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("fleet", [ordinary_names, extreme_names, small_fleet])
def test_long_names_fit(
    chromium: Any, tmp_path: Path, fleet: Callable[[], AuditRun], width: int
) -> None:
    file, run = tmp_path / "long.html", fleet()
    file.write_text(diff_page_of(run, changed_in_everything(run)), "utf-8")
    with LoadedPage(chromium, file, viewport={"width": width, "height": 900}) as visit:
        assert measure(visit) == NOTHING


@pytest.mark.parametrize("width", SIDEWAYS)
def test_the_page_itself_never_scrolls_sideways(chromium: Any, path: Path, width: int) -> None:
    with LoadedPage(chromium, path, viewport={"width": width, "height": 800}) as visit:
        visit.open_all()
        assert visit.width() <= width


def test_the_sentence_that_decides_is_on_the_first_screen_of_a_phone(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, viewport={"width": 390, "height": 844}) as visit:
        box = visit.page.locator(".decision .first").bounding_box()
        assert box["y"] + box["height"] < 844
        assert "Regressions: unread-close" in visit.page.inner_text(".decision .first")


def test_without_javascript_everything_is_there_and_a_changed_cell_is_marked_in_words(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, java_script_enabled=False) as visit:
        cells = visit.page.locator(".diff-matrix td.cell-changed").all_inner_texts()
        assert any(re.search(r"RST\s*→\s*FIN.*regression", text, re.DOTALL) for text in cells)
        assert any(re.search(r"RST\s*→\s*FIN.*fix", text, re.DOTALL) for text in cells)
        kept = visit.page.locator(".diff-matrix td:not(.cell-changed)").all_inner_texts()
        assert kept
        assert not any("→" in text for text in kept)
        assert visit.page.locator("#packets svg.ladder").count() >= 4
        assert visit.page.is_visible("#runs code.command")


def test_the_tint_of_both_ladders_begins_where_the_packets_differ(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        sides = visit.page.locator("#pair-1 .side")
        assert sides.count() == 2
        assert sides.locator(".marked").count() == 2
        assert sides.nth(0).locator(".side-title").inner_text() == "Before"
        assert sides.nth(1).locator(".side-title").inner_text() == "Now"


def test_the_first_tab_stop_skips_to_the_changes(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.textContent") == "Skip to what changed"
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate("document.activeElement.id") == "changes"


def test_the_arrow_keys_move_from_cell_to_cell(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.locator(".diff-matrix td.cell").first.focus()
        visit.page.keyboard.press("ArrowRight")
        assert visit.page.evaluate("document.activeElement.cellIndex") == 2


def test_on_paper_the_matrix_and_the_ladders_are_whole(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.emulate_media(media="print")
        for hidden in ("nav", "button.copy"):
            assert not visit.page.is_visible(hidden)
        for shown in (".decision", ".diff-matrix", "#pair-1 svg.ladder"):
            assert visit.page.is_visible(shown)
        pdf = visit.page.pdf(format="A4")
        assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 14


@pytest.mark.parametrize(("scheme", "width"), [("dark", 320), ("light", 1280)])
def test_axe_finds_no_violation(
    chromium: Any, path: Path, axe: str, scheme: str, width: int
) -> None:
    options: dict[str, Any] = {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 900},
        "bypass_csp": True,
    }
    with LoadedPage(chromium, path, **options) as visit:
        visit.open_all()
        assert visit.violations(axe) == []


def changed_in_everything(run: AuditRun) -> AuditRun:
    """Returns a later run of the same hosts, with other endings and values of the same texts."""

    def later(host: Audited) -> Audited:
        other = tuple(replace(o, ending="RST", endings={"RST": 3}) for o in host.observations)
        values = {key: replace(s, default=None) for key, s in host.sysctls.items()}
        kernel = replace(host.kernel, release=host.kernel.release + "+")
        return replace(host, observations=other, sysctls=values, kernel=kernel, void="")

    hosts = tuple(later(host) if isinstance(host, Audited) else host for host in run.hosts)
    return replace(run, hosts=hosts, run=replace(run.run, id="2026-11-24T020000Z"))


def test_no_text_of_a_host_runs(chromium: Any, tmp_path: Path) -> None:
    run, spent = hostile_run()
    file = tmp_path / "hostile.html"
    later = changed_in_everything(run)
    later = replace(later, run=replace(later.run, id=SEEDS[0], playbooks=SEEDS))
    file.write_text(diff_page_of(run, later, command=SEEDS[0]), "utf-8")
    text = file.read_text("utf-8")
    ends = [f"~{payload.split('~')[-2]}~" for payload in spent]
    assert sum(end in text for end in ends) > 100  # names, kernels, reasons and witnesses are there
    with LoadedPage(chromium, file, viewport={"width": 390, "height": 844}) as visit:
        visit.open_all()
        assert visit.page.evaluate("globalThis.ran") is None
        assert (visit.console, visit.dialogs, visit.requests) == ([], [], [visit.url])
        assert visit.width() <= 390


def test_ten_thousand_hosts_are_half_a_megabyte(chromium: Any, tmp_path: Path) -> None:
    fleet, hosts = Fleet(), 10_000
    unread = by_name("unread-close")
    kinds = (
        (fleet.host("a", K510), fleet.host("a", K612)),
        (fleet.host("a", K612), fleet.host("a", K618)),
        (
            fleet.host("a", K612),
            fleet.host("a", K618, instead=[observe(unread, f, "FIN") for f in unread.families]),
        ),
    )
    names = [f"{'edge' * (number % 7)}-{number * 7919 % hosts:05}" for number in range(hosts)]
    before = run_of(replace(kinds[i % 3][0], name=name) for i, name in enumerate(names))
    after = run_of(replace(kinds[i % 3][1], name=name) for i, name in enumerate(names))
    began = time.process_time()
    text = diff_page_of(before, after)
    print(f"{len(text):,} bytes in {time.process_time() - began:.1f} s of CPU time")
    assert len(text.encode()) < 512 * 1024
    file = tmp_path / "many.html"
    file.write_text(text, "utf-8")
    with LoadedPage(chromium, file) as visit:
        assert "unread-close on 3,333 hosts" in visit.page.inner_text(".decision .first")
        assert visit.console == []
