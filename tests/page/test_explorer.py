"""The page under hand: filters, order, addresses, one host, keyboard, and what a screen reader
announces.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis.drift import compute_drift
from fleetaudit.model import (
    Audited,
    AuditRun,
    Drift,
    Stage,
)
from tests.support.browser import LoadedPage, page_of
from tests.support.runs import (
    K510,
    K612,
    Fleet,
    by_name,
    missing,
    observe,
    run_of,
    small_fleet,
)


def two_runs() -> tuple[AuditRun, Drift]:
    """Returns the small fleet of today, and what changed since a day on which db1 and web001 did
    otherwise.
    """
    after, fleet = small_fleet(), Fleet()
    unread = by_name("unread-close")
    old = {
        "db1.example.net": [observe(unread, f, "FIN") for f in unread.families],
        "db3.example.net": [],
        "web001": [
            observe(by_name("reread-fin-close"), f, "FIN")
            for f in by_name("reread-fin-close").families
        ],
    }
    hosts = [
        (
            fleet.host(h.name, h.kernel, groups=h.groups, instead=old[h.name])
            if isinstance(h, Audited) and h.name in old
            else h
        )
        for h in after.hosts
    ]
    info = msgspec.structs.replace(
        after.run, id="2026-11-21T020000Z", started="2026-11-21T02:00:00Z"
    )
    before = msgspec.structs.replace(after, run=info, hosts=tuple(hosts))
    return after, compute_drift(before, after)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, drift = two_runs()
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of(run, drift), "utf-8")
    return file


# ---- filters and the address


def test_the_search_filters_by_name_or_group_and_is_kept_in_the_address(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.fill("#filter", "APP0")
        assert visit.hosts() == [f"app{i:02}" for i in range(1, 9)]
        assert visit.page.inner_text(".found output") == "8 of 27 hosts"
        assert visit.page.url.endswith("#hosts?q=APP0")
        visit.page.fill("#filter", "green 06")
        assert visit.hosts() == ["app06"]
        visit.page.click("text=Show all")
        # A link changes the address, and the page follows a moment later.
        visit.page.wait_for_function(
            "() => document.querySelectorAll('table.hosts tbody th').length > 1"
        )
        assert len(visit.hosts()) == 27


def test_a_link_to_all_hosts_of_a_group_whose_ending_changed_works_from_a_file(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, "#hosts?group=db&changed=ending") as visit:
        assert visit.hosts() == ["db1.example.net", "db3.example.net"]
        assert visit.page.input_value("#by-group") == "db"
        assert visit.page.input_value("#by-changed") == "ending"


def test_each_filter_finds_its_hosts_and_they_add_up(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        states = visit.page.locator("#by-state option").evaluate_all("all => all.map(o => o.value)")
        found = {s: 0 for s in states if s not in ("", "short")}
        for state in found:
            visit.page.select_option("#by-state", state)
            found[state] = len(visit.hosts())
        assert sum(found.values()) == 27
        assert (found["not audited"], found["void"], found["error"]) == (9, 1, 1)
        visit.page.select_option("#by-state", "short")
        visit.page.select_option("#by-kernel", "1")
        assert visit.hosts() == ["app06", "app08"]


def test_a_saved_link_to_unknown_hosts_by_the_old_name_of_that_state_still_works(
    chromium: Any, path: Path
) -> None:
    unread = by_name("unread-close")
    inconclusive = [observe(unread, f, "inconclusive") for f in unread.families]
    host = Fleet().host("app01", K612, instead=inconclusive)
    waived = tuple(msgspec.structs.replace(f, waived="accepted") for f in host.findings)
    path = path.with_name("unknown.html")
    path.write_text(page_of(run_of([msgspec.structs.replace(host, findings=waived)])), "utf-8")
    with LoadedPage(chromium, path, "#hosts?state=untold") as visit:
        assert visit.page.input_value("#by-state") == "unknown"
        assert visit.hosts() == ["app01"]


def test_a_count_in_the_table_of_builds_links_to_its_hosts(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.locator("#kernel-3 a[data-filter='build=6.18.44-amd64']").click()
        assert visit.hosts() == [f"db{i}.example.net" for i in range(1, 5)]


def test_a_heading_sorts_and_announces_it(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.click("button.sort:has-text('Aborts')")
        assert visit.hosts()[:3] == ["web005", "web004", "web003"]
        assert visit.page.get_attribute("th.col-rate", "aria-sort") == "descending"
        assert visit.page.url.endswith("#hosts?sort=-rate")
        assert "Sorted by Aborts" in visit.page.inner_text("#spoken")


def test_the_back_button_goes_back_from_a_host_to_the_same_hosts(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, "#hosts?group=web") as visit:
        visit.page.click("table.hosts a:has-text('web003')")
        assert visit.page.url.endswith("#host?name=web003")
        assert not visit.page.is_visible("#list")
        visit.page.go_back()
        assert visit.page.is_visible("#list")
        assert visit.hosts() == [f"web{i:03}" for i in range(1, 7)]


def test_one_host_has_a_page_with_its_verdicts_packets_changes_and_the_command(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, "#host?name=web001") as visit:
        assert visit.page.evaluate("document.activeElement.textContent") == "web001"
        text = visit.page.inner_text("#host")
        assert "regression" in text
        assert "fleetaudit explain 2026-11-22T020000Z web001" in text
        assert visit.page.locator("#host table.verdicts").count() == 1
        visit.page.locator("#host details.trace summary").last.click()
        assert visit.page.locator("#host svg.ladder").last.is_visible()


def test_a_host_that_was_not_audited_has_one_too_and_an_unknown_name_is_reported(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path, "#host?name=cache2") as visit:
        assert "nc -vz cache2 22" in visit.page.inner_text("#host")
    with LoadedPage(chromium, path, "#host?name=<img src=x onerror=globalThis.ran=1>") as visit:
        assert "No host of that name" in visit.page.inner_text("#host")
        assert (visit.page.evaluate("globalThis.ran"), visit.console) == (None, [])


def test_a_link_to_packets_opens_the_details_around_them(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.locator("#duels a", has_text="These packets").first.click()
        assert visit.page.locator("#evidence table.packets:visible").count() == 1


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Returns the page of 1,200 hosts that differ in their names."""
    old = Fleet().host("x", K510)
    hosts = [
        msgspec.structs.replace(old, name=f"web{i:04}", machine_id=str(i)) for i in range(1200)
    ]
    file = tmp_path / "many.html"
    file.write_text(page_of(run_of(hosts)), "utf-8")
    return file


def test_rows_are_built_while_scrolling(chromium: Any, many: Path) -> None:
    with LoadedPage(chromium, many) as visit:
        rows = visit.page.locator("table.hosts tbody tr")
        assert 0 < rows.count() <= 300
        visit.page.locator("#hosts").scroll_into_view_if_needed()
        visit.page.evaluate("document.getElementById('list').scrollTop = 1e6")
        rows.nth(150).wait_for(state="attached")
        visit.page.fill("#filter", "web0199")
        assert visit.hosts() == ["web0199"]


def test_rows_fill_a_tall_screen_again_after_a_filter_with_few_hosts(
    chromium: Any, many: Path
) -> None:
    with LoadedPage(chromium, many) as visit:
        visit.page.set_viewport_size({"width": 1280, "height": 4000})
        for text in ("web0199", ""):
            visit.page.fill("#filter", text)
            visit.page.evaluate(
                "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
        visit.page.locator("table.hosts tbody tr").nth(100).wait_for(state="attached")


@pytest.mark.parametrize(
    ("stage", "hint", "offered"),
    [
        ("inventory", "change it as this says", 0),
        ("connect", "ssh web1 true", 1),
        ("connect", "add memory", 0),
    ],
)
def test_only_commands_have_a_copy_button(
    chromium: Any, tmp_path: Path, stage: Stage, hint: str, offered: int
) -> None:
    file = tmp_path / "one.html"
    file.write_text(page_of(run_of([missing("web1", stage, "as it is", hint)])), "utf-8")
    with LoadedPage(chromium, file, "#host?name=web1") as visit:
        visit.page.locator("dd", has_text=hint).wait_for()
        for place in ("#answers", "#not-audited", ".facts-list"):
            assert visit.page.locator(place, has_text=hint).count() == 1
            assert visit.page.locator(f"{place} button.copy").count() == offered


# ---- by keyboard, on paper, in other conditions


def test_the_arrow_keys_move_in_the_matrix_and_highlight_row_and_column(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.locator("table.matrix td.cell").first.focus()
        visit.page.keyboard.press("ArrowDown")
        visit.page.keyboard.press("ArrowRight")
        where = "[document.activeElement.parentElement.rowIndex, document.activeElement.cellIndex]"
        assert visit.page.evaluate(where) == [4, 2]
        assert visit.page.locator("table.matrix thead th.lit").count() == 1
        assert visit.page.locator("table.matrix tbody th.stub.lit").count() == 1


def test_the_keyboard_reaches_everything_that_the_mouse_reaches(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        wanted = int(
            visit.page.evaluate(
                "Array.from(document.querySelectorAll('a, button, input, select, summary'))"
                ".filter(e => e.checkVisibility() && !e.closest('[hidden]')).length"
            )
        )
        visit.page.evaluate("globalThis.seen = new Map()")
        home = (
            "e = document.activeElement; seen.has(e) || seen.set(e, seen.size); e === document.body"
        )
        for _ in range(wanted + 200):
            visit.page.keyboard.press("Tab")
            if visit.page.evaluate(home):
                break
        got = visit.page.evaluate(
            "[...seen.keys()].filter(e => e.matches('a, button, input, select, summary')).length"
        )
        assert got == wanted


def test_a_command_is_copied_completely(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.page.locator("#not-audited button.copy").first.click()
        visit.page.locator("#spoken", has_text="Copied").wait_for(state="attached")
        assert (
            visit.page.evaluate("navigator.clipboard.readText()") == "ansible-inventory --host win1"
        )


def test_at_400_percent_and_with_forced_colours_nothing_is_cut_off(
    chromium: Any, path: Path
) -> None:
    # 1280 pixels at 400% are 320 CSS pixels (WCAG 2.2, 1.4.10).
    with LoadedPage(
        chromium, path, viewport={"width": 320, "height": 256}, forced_colors="active"
    ) as visit:
        visit.open_all()
        assert visit.width() <= 320


def test_headings_go_down_one_step_at_a_time(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, "#host?name=web001") as visit:
        levels = visit.page.evaluate(
            "Array.from(document.querySelectorAll('h1, h2, h3, h4'))"
            ".filter(e => e.checkVisibility()).map(e => +e.tagName[1])"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))


def test_a_right_to_left_host_name_does_not_affect_the_text_around_it(
    chromium: Any, tmp_path: Path
) -> None:
    hosts = [Fleet().host("שרת-01", K510), Fleet().host("خادم", K612)]
    file = tmp_path / "rtl.html"
    file.write_text(page_of(run_of(hosts)), "utf-8")
    with LoadedPage(chromium, file) as visit:
        assert visit.hosts() == ["שרת-01", "خادم"]
        assert visit.page.locator("table.hosts tbody th bdi").count() == 2


@pytest.mark.parametrize(
    ("scheme", "width", "fragment"),
    [
        ("dark", 320, ""),
        ("light", 1280, ""),
        ("light", 1280, "#host?name=web001"),
        ("dark", 1280, "#hosts?q=db"),
    ],
)
def test_axe_finds_no_violation(
    chromium: Any, path: Path, axe: str, scheme: str, width: int, fragment: str
) -> None:
    options: dict[str, Any] = {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 900},
        "bypass_csp": True,
    }
    with LoadedPage(chromium, path, fragment, **options) as visit:
        visit.open_all()
        assert visit.violations(axe) == []
        assert (visit.console, visit.requests) == ([], [visit.url])
