"""The history page in a real browser: sixty nights with a kernel rollout, on a phone and on a desk,
on paper, in the dark, with the keyboard, and without JavaScript.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.history import history_of
from fleetaudit.analysis.history.model import JobHistory, LeftOutRun
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.report.document import page_text
from fleetaudit.report.history_page import render
from tests.support.browser import GENERATED, LoadedPage
from tests.support.nights import (
    FINDING_NIGHTS,
    NO_RUN_NIGHT,
    OUTAGE_NIGHT,
    name_of,
    night_time,
    nights,
    run_of_night,
)

HOST = "web026.example.net"
"""It had a finding for a while, got both builds of 6.12, and was out of reach in the outage."""
UNREADABLE = LeftOutRun(id="2026-09-27T020000Z", reason="store.jsonl ends in the middle of a line")
SIZES = [(390, 844), (768, 1024), (1440, 900)]


@pytest.fixture(scope="module")
def history() -> JobHistory:
    """The history of sixty nights."""
    return history_of([outline_of(run) for run in nights()], (UNREADABLE,))


@pytest.fixture(scope="module")
def path(history: JobHistory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of it."""
    links = {run.id: f"runs/{run.id}/report.html" for run in history.runs}
    file = tmp_path_factory.mktemp("history") / "history.html"
    file.write_text(render(history, links=links, generated=GENERATED), "utf-8")
    return file


def index_of(night: int) -> int:
    """Returns the index of the run of a night."""
    return night - (night > NO_RUN_NIGHT)


def legend(visit: LoadedPage, chart: str) -> dict[str, str]:
    """Returns the numbers in the legend of a chart, by name."""
    items = visit.page.locator(f"#{chart} .key li")
    names = items.locator("span:not(.quiet)").all_inner_texts()
    return dict(zip(names, items.locator("strong").all_inner_texts(), strict=True))


OVERLAPS = """() => {
  const found = []
  for (const svg of document.querySelectorAll("svg.chart")) {
    const texts = [...svg.querySelectorAll("text")]
      .map(text => [text, text.getBoundingClientRect()]).filter(([, box]) => box.width > 0)
    texts.forEach(([a, p], n) => {
      if (p.left < 0 || p.right > innerWidth) found.push("outside: " + a.textContent)
      for (const [b, q] of texts.slice(n + 1)) {
        if (p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom)
          found.push(a.textContent + " and " + b.textContent)
      }
    })
  }
  return found
}"""
"""The texts of charts that overlap one another, or are not on the page."""

CUT_WORDS = """() => [...document.querySelectorAll("td, th, li, p, dd, h1, h2, h3")].filter(
  one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline"
    && !one.closest(".scroll, .unseen") && one.clientWidth > 0).map(one => one.textContent)"""
"""The texts that are wider than their place."""


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_no_label_overlaps(
    chromium: Any, path: Path, width: int, height: int, scheme: str
) -> None:
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": height},
        "color_scheme": scheme,
    }
    with LoadedPage(chromium, path, f"#host?name={HOST}", **options) as visit:
        assert visit.page.locator("svg.chart").count() == 6
        assert visit.page.locator("svg.chart text.x:visible").count() >= 6 * 2
        assert visit.page.evaluate(OVERLAPS) == []
        assert visit.page.evaluate(CUT_WORDS) == []
        visit.open_all()
        assert visit.width() <= width
        assert (visit.console, visit.requests) == ([], [visit.url])


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_axe_finds_no_violation(
    chromium: Any, path: Path, axe: str, width: int, scheme: str
) -> None:
    options: dict[str, Any] = {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 900},
        "bypass_csp": True,
    }
    with LoadedPage(chromium, path, f"#host?name={HOST}", **options) as visit:
        visit.open_all()
        assert visit.violations(axe) == []


def test_the_answer_comes_first(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, viewport={"width": 1440, "height": 900}) as visit:
        answer = visit.page.locator("#trend .first")
        assert answer.bounding_box()["y"] < 300
        assert re.sub(r"\s+", " ", answer.inner_text()) == (
            "✓ Better: 9 of 180 audited hosts have open findings on 2026-11-26; 18 of 180 had them"
            " on 2026-09-28."
        )
        days = answer.locator("a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
        assert days == [
            "runs/2026-11-26T020000Z/report.html", "runs/2026-09-28T020000Z/report.html",
        ]  # fmt: skip


def table_of(visit: LoadedPage, chart: str) -> dict[str, list[str]]:
    """Returns the columns of the table of a chart, earliest run first."""
    rows = visit.page.locator(f"#{chart} table.numbers tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    head, *body = rows
    return {name: list(reversed(column)) for name, *column in zip(head, *body, strict=True)}


def test_the_tables_have_the_numbers_of_the_model(
    chromium: Any, path: Path, history: JobHistory
) -> None:
    runs = history.runs
    with LoadedPage(chromium, path) as visit:
        findings, kernels, endings, coverage, resets = (
            table_of(visit, chart)
            for chart in ("findings", "kernels", "endings", "coverage", "resets")
        )
    times = [run.started[:16].replace("T", " ") for run in runs]
    assert all(table["Run (UTC)"] == times for table in (findings, kernels, endings, coverage))
    assert findings["error"] == [str(run.findings.error) for run in runs]
    assert findings["info"] == [str(run.findings.info) for run in runs]
    assert findings["opened"] == [str(len(run.opened)) for run in runs]
    assert findings["closed"] == [str(len(run.closed)) for run in runs]
    for series in ("5.10", "6.1", "6.12"):
        assert kernels[series] == [str(dict(run.series).get(series, 0)) for run in runs]
    for ending in ("RST", "FIN"):
        assert endings[ending] == [str(dict(run.endings).get(ending, 0)) for run in runs]
    assert kernels["unknown"] == endings["unknown"] == coverage["not audited"]
    assert coverage["audited"] == [str(run.hosts.audited) for run in runs]
    assert coverage["not audited"] == [str(run.hosts.not_audited) for run in runs]
    rates = [run.resets_per_thousand for run in runs]
    assert resets["resets per 1,000 connections"] == [
        "unknown" if rate is None else f"{rate:.2f}" for rate in rates
    ]
    assert any(rates)
    assert rates[0] is None


def test_the_rollout_grows_from_below(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        kernels = table_of(visit, "kernels")
        assert list(kernels) == ["Run (UTC)", "unknown", "5.10", "6.1", "6.12"]
        assert visit.page.locator("#kernels svg text.on").all_text_contents() == [
            "6.12", "6.1", "5.10",
        ]  # fmt: skip
    share = [int(hosts) for hosts in kernels["6.12"]]
    assert share[:21] == [0] * 21
    rollout = share[21 : index_of(OUTAGE_NIGHT)]
    assert rollout == sorted(rollout)
    assert len({*rollout}) > 10


def test_a_night_without_a_run_is_a_band_and_no_area(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, viewport={"width": 1440, "height": 900}) as visit:
        assert visit.page.locator("svg.chart > svg > rect.gap").count() == 5
        bands = visit.page.locator("#coverage rect.gap")
        band, plot = bands.bounding_box(), visit.page.locator("#coverage svg.chart").bounding_box()
        assert band["width"] == pytest.approx(plot["width"] / 60, abs=0.5)
        middle = (band["x"] + band["width"] / 2 - plot["x"]) / plot["width"]
        assert middle == pytest.approx((NO_RUN_NIGHT + 0.5) / 60, abs=0.002)


def test_pointing_at_a_chart_shows_that_run_in_all_charts(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, viewport={"width": 1440, "height": 900}) as visit:
        assert legend(visit, "coverage") == {"not audited": "0", "audited": "180"}
        plot = visit.page.locator("#kernels svg.chart")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        x = box["x"] + box["width"] * (OUTAGE_NIGHT + 0.5) / 60
        visit.page.mouse.move(x, box["y"] + 80)
        assert legend(visit, "coverage") == {"not audited": "90", "audited": "90"}
        assert legend(visit, "kernels")["unknown"] == "90"
        assert visit.page.locator("#night-when").inner_text() == "2026-11-08 02:00 UTC"
        href = visit.page.locator("#night-when a").get_attribute("href")
        assert href == "runs/2026-11-08T020000Z/report.html"
        cursor = visit.page.locator("#resets line.cursor").bounding_box()
        there = visit.page.locator("#resets svg.chart").bounding_box()
        assert (cursor["x"] - there["x"]) / there["width"] == pytest.approx(41.5 / 60, abs=0.003)


def test_the_keyboard_moves_from_run_to_run(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        slider = visit.page.locator("#night")
        slider.focus()
        assert slider.get_attribute("aria-valuetext") == "2026-11-26 02:00 UTC"
        slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "2026-11-25 02:00 UTC"
        slider.press("Home")
        assert slider.get_attribute("aria-valuetext") == "2026-09-28 02:00 UTC"
        assert legend(visit, "kernels") == {"unknown": "0", "5.10": "18", "6.1": "162", "6.12": "0"}
        assert legend(visit, "resets")["resets per 1,000 connections"] == "unknown"
        for _ in range(FINDING_NIGHTS[0]):
            slider.press("ArrowRight")
        assert legend(visit, "findings")["opened"] == "2"
        visit.page.wait_for_selector("#spoken:has-text('error 24')", state="attached")
        visit.page.locator("#night-before").press("Enter")
        assert legend(visit, "findings")["error"] == "0"


def test_the_page_is_whole_without_javascript(
    chromium: Any, path: Path, history: JobHistory
) -> None:
    options: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}
    with LoadedPage(chromium, path, java_script_enabled=False, **options) as visit:
        assert visit.page.locator(".night").is_hidden()
        assert visit.page.locator("#find-host").is_hidden()
        assert legend(visit, "kernels") == {"unknown": "0", "5.10": "9", "6.1": "0", "6.12": "171"}
        visit.page.locator("#kernels summary").click()
        assert visit.page.locator("#kernels table.numbers tbody tr").count() == len(history.runs)
        visit.page.locator(".host-list > summary").click()
        row = visit.page.locator(".host-list tbody tr").first
        assert "not audited, so unknown" in row.inner_text()


def test_one_host_over_time(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, viewport={"width": 1440, "height": 900}) as visit:
        visit.page.locator("#host-name").fill("WEB02")
        names = visit.page.locator("#host-found button")
        assert names.all_inner_texts() == [f"web{n:03}.example.net" for n in range(20, 30)]
        names.filter(has_text=HOST).click()
        assert visit.page.evaluate("location.hash") == f"#host?name={HOST}"
        assert visit.page.evaluate("document.activeElement.textContent") == HOST
        rows = visit.page.locator(".host-view tbody tr").all_inner_texts()
        assert [re.split(r"[\t\n]+", row) for row in rows] == [
            ["2026-11-20 02:00", "kernel 6.12.43+deb13-amd64 → 6.12.57+deb13-amd64"],
            ["2026-11-09 02:00", "audited again"],
            ["2026-11-08 02:00", "not audited, so unknown"],
            ["2026-10-28 02:00", "kernel 6.1.0-41-amd64 → 6.12.43+deb13-amd64"],
            [
                "2026-10-25 02:00",
                "no longer open: scenario:unread-close/ipv4",
                "no longer open: scenario:unread-close/ipv6",
            ],
            [
                "2026-10-09 02:00",
                "opened: scenario:unread-close/ipv4",
                "opened: scenario:unread-close/ipv6",
            ],
            ["2026-09-28 02:00", "in the first kept run", "kernel 6.1.0-41-amd64"],
        ]
        href = visit.page.locator(".host-view tbody a").first.get_attribute("href")
        assert href.endswith(f"/runs/2026-11-20T020000Z/report.html#host?name={HOST}")
        drawn = visit.page.locator(".host-view svg.chart")
        assert drawn.locator("rect.lane-unknown").count() == 1
        assert drawn.locator("rect.fill-error").count() == 2
        assert drawn.locator("text.first").all_text_contents() == [
            "scenario:unread-close/ipv4", "scenario:unread-close/ipv6",
        ]  # fmt: skip


def test_a_renamed_host_is_two_hosts(chromium: Any, path: Path) -> None:
    old, new = name_of(0, 0), name_of(0, 59)
    with LoadedPage(chromium, path, f"#host?name={old}") as visit:
        first = visit.page.locator(".host-view tbody tr").first.inner_text()
        assert re.split(r"[\t\n]+", first) == ["2026-11-17 02:00", "not in the run any more"]
        visit.page.evaluate(f"location.hash = '#host?name={new}'")
        visit.page.wait_for_selector(f".host-view h3:has-text('{new}')")
        last = visit.page.locator(".host-view tbody tr").last.inner_text()
        assert re.split(r"[\t\n]+", last)[:2] == ["2026-11-17 02:00", "first seen"]


def test_a_name_that_no_host_has_is_reported(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        visit.page.locator("#host-name").fill("no such host")
        assert "No host of this job" in visit.page.locator("#host-found").inner_text()
        assert visit.page.locator("#host-view").inner_text() == ""


def test_findings_builds_and_runs_are_listed(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        found = visit.page.locator("#all-findings tbody tr")
        assert [text.split("\n")[0].split("\t")[0] for text in found.all_inner_texts()] == [
            "! info", "! info", "✓ closed", "✓ closed",
        ]  # fmt: skip
        assert found.last.locator("td.date").all_inner_texts() == [
            "2026-10-09 02:00", "2026-10-24 02:00",
        ]  # fmt: skip
        assert "2026-09-28 02:00\nor earlier" in found.first.inner_text()
        builds = visit.page.locator("#builds tbody th")
        assert builds.all_inner_texts() == [
            "6.12.57+deb13-amd64", "6.12.43+deb13-amd64", "6.1.0-41-amd64", "5.10.0-30-amd64",
        ]  # fmt: skip
        runs = visit.page.locator("#runs tbody tr")
        assert runs.count() == 60
        assert "unreadable: store.jsonl ends in the middle of a line" in runs.last.inner_text()


def test_paper_has_the_charts_without_what_is_for_a_screen(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, viewport={"width": 1440, "height": 900}) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".night").is_hidden()
        assert visit.page.locator("#find-host").is_hidden()
        assert visit.page.locator("#kernels details").is_hidden()
        assert visit.page.locator("#builds svg.spark").first.is_visible()
        fills = visit.page.evaluate(
            """() => ["error", "info"].map(
              kind => getComputedStyle(document.querySelector("#findings .fill-" + kind)).fill)"""
        )
        assert len({*fills}) == 2
        edge = visit.page.evaluate(
            """() => [...document.querySelectorAll("#findings text.y")].map(text => [
              text.textContent, text.getBoundingClientRect().left
              - text.closest("figure").getBoundingClientRect().left]).filter(one => one[1] < 1)"""
        )
        assert edge == []
        sheets = len(re.findall(rb"/Type\s*/Page\b", visit.page.pdf(format="A4")))
        assert sheets <= 5


def test_forced_colors_keep_lines_and_labels(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path, forced_colors="active", color_scheme="dark") as visit:
        colors = visit.page.evaluate(
            """() => ["#kernels text.x", "#kernels text.on", "#findings .mark-opened"].map(
              one => getComputedStyle(document.querySelector(one)).fill)"""
        )
        assert len({*colors}) == 1
        assert colors[0] == visit.page.evaluate("getComputedStyle(document.body).color")


HOSTILE = (
    "<script>globalThis.ran=1</script>",
    '"><svg/onload=globalThis.ran=1>',
    "</title></style></script><img src=x onerror=globalThis.ran=1>",
    "\u202e\u2066evil\u2069",
    "a" * 253,
    "שרת-01 خادم 🦆",
    "{{ 7*7 }}",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_that_a_host_sent_runs_or_breaks_the_page(
    chromium: Any, tmp_path: Path, history: JobHistory, text: str
) -> None:
    states = tuple(replace(state, release=state.release and text) for state in history.host_states)
    timelines = tuple(
        replace(one, hosts=tuple(f"{text}{n}-{m}" for m, _ in enumerate(one.hosts)))
        for n, one in enumerate(history.host_timelines)
    )
    findings = tuple(
        replace(finding, id=f"{text}{n}", subject=text)
        for n, finding in enumerate(history.findings)
    )
    ids = {old.id: new.id for old, new in zip(history.findings, findings, strict=True)}
    hostile = replace(
        history,
        job=text,
        description=text,
        scenario=text,
        runs=tuple(replace(run, series=((text, 100), ("6.12", 80))) for run in history.runs),
        findings=findings,
        builds=tuple(replace(build, release=text, series=text) for build in history.builds),
        host_states=tuple(
            replace(state, findings=tuple(map(ids.__getitem__, state.findings))) for state in states
        ),
        host_timelines=timelines,
        unreadable=(LeftOutRun(id=text, reason=text),),
    )
    file = tmp_path / "history.html"
    links = {run.id: text for run in history.runs}
    file.write_text(render(hostile, links=links, generated=GENERATED), "utf-8")
    with LoadedPage(chromium, file, viewport={"width": 390, "height": 844}) as visit:
        visit.page.locator("#host-name").fill(page_text(timelines[0].hosts[0]))
        assert visit.page.locator(".host-view h3").count() == 1
        visit.open_all()
        visit.page.locator("#night").press("ArrowLeft")
        assert visit.page.evaluate("globalThis.ran") is None
        assert (visit.console, visit.dialogs) == ([], [])
        assert visit.requests == [visit.url]
        assert visit.width() <= 390
        assert visit.page.title().startswith("fleetaudit: history of ")


@pytest.mark.parametrize("count", [1, 2])
def test_few_runs_have_a_page(chromium: Any, tmp_path: Path, count: int) -> None:
    file = tmp_path / "history.html"
    few = history_of([outline_of(run) for run in nights(count, 4)])
    file.write_text(render(few, generated=GENERATED), "utf-8")
    with LoadedPage(chromium, file, viewport={"width": 390, "height": 844}) as visit:
        assert visit.page.evaluate(OVERLAPS) == []
        assert visit.width() <= 390
        assert visit.console == []
        assert visit.page.locator("table.numbers a").count() == 0


def test_400_runs_of_1000_hosts_are_a_small_page(chromium: Any, tmp_path: Path) -> None:
    kinds = [outline_of(run_of_night(night, 1000)) for night in range(0, 60, 6)]
    outlines = []
    for number in range(400):
        outline, started = kinds[number // 40], f"{night_time(number):%Y-%m-%dT%H:%M:%SZ}"
        info = replace(outline.run, id=f"{night_time(number):%Y-%m-%dT%H%M%SZ}", started=started)
        outlines.append(replace(outline, run=info))
    history = history_of(outlines)
    links = {run.id: f"runs/{run.id}/report.html" for run in history.runs}
    began = time.process_time()
    page = render(history, links=links, generated=GENERATED)
    assert time.process_time() - began < 3
    assert len(page.encode()) < 1_000_000
    file = tmp_path / "history.html"
    file.write_text(page, "utf-8")
    with LoadedPage(chromium, file, viewport={"width": 390, "height": 844}) as visit:
        assert visit.page.evaluate(OVERLAPS) == []
        assert visit.page.locator("#runs tbody tr").count() == 400
        assert visit.width() <= 390
