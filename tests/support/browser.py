"""A headless Chromium that records what a page logs and requests, and the page of a run as a
file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.analysis.run_diff import lay_out
from fleetaudit.model import AuditRun, Drift
from fleetaudit.report import diff_page
from fleetaudit.report.html import render

GENERATED = "2026-11-22T02:03:41Z"
ARGUMENTS = [
    "--no-sandbox", "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


_NUMBERS = """async (selector) => {
    const found = [];
    // What is folded has no innerText.
    const shown = (element) => element.innerText || element.textContent;
    const first = (words) => Number((words.match(/[0-9,]+/) || ["1"])[0].replace(/,/g, ""));
    for (const link of Array.from(document.querySelectorAll(selector))) {
        link.click();
        await new Promise((done) => setTimeout(done));
        const text = document.querySelector(".found output").textContent;
        const word = link.querySelector("b, .ending");
        found.push({
            section: link.closest("section")?.id || "", filter: link.hash.split("?")[1] || "",
            counted: first(shown(link).replace(word ? shown(word) : "", "")),
            listed: first(text), text, address: location.hash === link.getAttribute("href"),
        });
    }
    return found;
}"""


def page_of(run: AuditRun, drift: Drift | None = None) -> str:
    """Returns the page of a run."""
    return render(compare(run, drift), generated=GENERATED)


def diff_page_of(before: AuditRun, after: AuditRun, *, command: str = "fleetaudit diff") -> str:
    """Returns the page of two runs."""
    return diff_page.render(lay_out(before, after, compute_drift(before, after)), command=command)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium; without one the test is skipped, in CI it fails."""
    executable = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The accessibility checker's source, out of its package."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: axe-core is fetched with it")
    folder = tmp_path_factory.mktemp("axe")
    packed = subprocess.run(
        [npm, "pack", "axe-core@4"], cwd=folder, capture_output=True, timeout=300, check=False
    )
    if packed.returncode:
        pytest.skip("axe-core could not be fetched with npm")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source
        return source.read().decode()


class LoadedPage:
    """A page opened from its file, with everything that it logged and requested since."""

    def __init__(self, chromium: Any, path: Path, fragment: str = "", **options: Any) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.context = chromium.new_context(**options)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dialog)
        self.url = path.as_uri()
        self.page.goto(self.url + fragment, wait_until="load")

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def __enter__(self) -> LoadedPage:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def width(self) -> int:
        """Returns how wide the page is, in CSS pixels."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def open_all(self) -> None:
        """Unfolds everything."""
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")

    def violations(self, axe: str, within: str = "html") -> list[tuple[str, list[str]]]:
        """Returns what axe-core finds in an element: rules, and the first that break them.

        `axe` is its source. The page must have been opened with `bypass_csp=True`.
        """
        self.page.evaluate(axe)
        run = "(within) => axe.run(within, {resultTypes: ['violations']}).then(r => r.violations)"
        found = self.page.evaluate(run, within)
        return [(rule["id"], [n["html"][:200] for n in rule["nodes"][:3]]) for rule in found]

    def hosts(self) -> list[str]:
        """Returns the names in the table of hosts, in its order."""
        return list(self.page.locator("table.hosts tbody th").all_inner_texts())

    def numbers(self, selector: str = "a[data-filter]") -> list[dict[str, Any]]:
        """Clicks every number that leads to hosts.

        Returns what each counts, how many hosts are listed then, the text above the list, and
        whether the address has become that of the link; "the one host" counts 1.
        """
        found: list[dict[str, Any]] = self.page.evaluate(_NUMBERS, selector)
        return found
