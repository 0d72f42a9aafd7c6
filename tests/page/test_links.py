"""Addresses on the page: of headings, of the hosts behind a number, and of what is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetaudit.report.document import link_text, page_text
from tests.page.test_explorer import two_runs
from tests.support.browser import LoadedPage, page_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, drift = two_runs()
    file = tmp_path_factory.mktemp("links") / "report.html"
    file.write_text(page_of(run, drift), "utf-8")
    return file


HEADINGS = """() => Array.from(document.querySelectorAll("main h2, main h3, main h4"))
    .filter(heading => heading.checkVisibility() && !heading.classList.contains("unseen"))
    .filter(heading => !heading.closest(".summary, #host")).map(heading => {
        const link = heading.nextElementSibling;
        const id = link && link.matches("a.anchor") ? link.getAttribute("href").slice(1) : "";
        const target = id && document.getElementById(id);
        return [heading.textContent, Boolean(target) && (target === heading
            || target.querySelector("h2, h3, h4") === heading), link && link.ariaLabel];
    })"""


@pytest.mark.parametrize("javascript", [True, False])
def test_every_heading_has_an_address_of_its_own(
    chromium: Any, path: Path, javascript: bool
) -> None:
    with LoadedPage(chromium, path) as visit:
        found = visit.page.evaluate(HEADINGS)
    assert len(found) > 20
    assert [text for text, leads_there, _ in found if not leads_there] == []
    assert all(label.startswith("Link to ") for *_, label in found)
    with LoadedPage(chromium, path, java_script_enabled=javascript) as visit:
        link = visit.page.locator("h2#sysctls-h + a.anchor")
        assert link.evaluate("e => getComputedStyle(e).opacity") == "0"
        link.focus()
        assert link.evaluate("e => getComputedStyle(e).opacity") == "1"
        link.click()
        assert visit.page.url.endswith("#sysctls")


def test_no_id_is_given_twice(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        ids = visit.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("RFC 2525 section 2.17; lost.", ["https://www.rfc-editor.org/rfc/rfc2525#section-2.17"]),
        ("(RFC 5961), RFC 7413.", ["https://www.rfc-editor.org/rfc/rfc5961", "https://www.rfc-editor.org/rfc/rfc7413"]),
        ("see ip-sysctl", ["https://docs.kernel.org/networking/ip-sysctl.html"]),
        ("commit 0123456789ab", ["https://git.kernel.org/linus/0123456789ab"]),
        ("commit " + "a" * 41 + ", 0123456789ab, commit 0123, RFC 0, RFC 123456, XRFC 1", []),
        ("https://evil.example/ javascript:alert(1) <a href=x>RFC</a> RFC\u202e1", []),
        ('RFC 1"onmouseover="x', ["https://www.rfc-editor.org/rfc/rfc1"]),
    ],
)  # fmt: skip
def test_only_known_places_are_linked_from_the_text_of_a_playbook(
    chromium: Any, tmp_path: Path, text: str, links: list[str]
) -> None:
    html = link_text(text)
    file = tmp_path / "text.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><p>{html}</p>", "utf-8")
    with LoadedPage(chromium, file) as visit:
        found = visit.page.locator("a")
        assert found.evaluate_all("all => all.map(one => one.href)") == links
        assert set(found.evaluate_all("all => all.map(one => one.rel)")) <= {"noreferrer"}
        assert visit.page.inner_text("p") == page_text(text)
        assert visit.page.locator("p *:not(a, bdi)").count() == 0


def test_the_reason_of_an_expectation_links_to_its_rfc(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        link = visit.page.locator("#scenarios a[href^='https://www.rfc-editor.org/rfc/rfc']").first
        assert link.inner_text().startswith("RFC ")
        assert link.get_attribute("rel") == "noreferrer"
