"""The page in Chromium: nothing that a host sent runs, requests, asks or changes the document."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.browser import ARGUMENTS, LoadedPage, page_of

from .runs import Made, harmless, make_run
from .scoreboard import Score, shown

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")
_EVERYTHING = """async () => {
  const list = document.getElementById("list");
  for (let i = 0; i < 400 && document.getElementById("more").textContent; i++) {
    list.scrollTop = list.scrollHeight;
    await new Promise((done) => setTimeout(done, 20));
  }
}"""
"""Scrolls through the hosts, whose rows are built as they come into view."""
_STRUCTURE = """() => {
  const paths = {};
  const walk = (element, path) => {
    const names = element.getAttributeNames().filter((name) => name !== "open").sort().join(",");
    const own = `${path}/${element.localName}[${names}]`;
    const ofText = element.matches("wbr, .ladder text > tspan[dy]:not(:has(*))");
    if (!ofText) paths[own] = (paths[own] || 0) + 1;
    for (const child of element.children) walk(child, own);
  };
  walk(document.documentElement, "");
  return paths;
}"""
"""Counts elements by the names of their parents and the names of their attributes.

Where a word may break, and the further lines of a label in a ladder, depend on the text.
"""
_TEXT = """() => {
  const texts = [document.title];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const parent = node.parentElement;
    if (!parent.closest("script, style")) {
      const block = parent.closest("td, th, p, li, dd, dt, h1, h2, h3, summary, option, svg text");
      texts.push(block === texts.block ? node.data : "\\n" + node.data);
      texts.block = block;
    }
  }
  for (const element of document.querySelectorAll("[aria-label], [title]")) {
    texts.push("\\n" + (element.getAttribute("aria-label") || ""));
    texts.push("\\n" + (element.getAttribute("title") || ""));
  }
  return texts.join("");
}"""
"""Returns everything that can be read, also by a screen reader."""


@contextmanager
def browser() -> Iterator[Any]:
    """Starts the system's Chromium, as the tests of the page do."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, EXECUTABLES)))
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield started
        started.close()


def _in_page(payload: str) -> str:
    """Returns what the page shows of a payload: a carriage return is no blank there."""
    return "".join(r"\x0d" if c == "\r" else shown(c) for c in payload)


def page(made: Made, chromium: Any, *, first: int = 0) -> Score:
    """Opens the page of a run, and that of a run of the same shape with harmless texts."""
    hosts = len(made.run.audited)
    plain = make_run(first, hosts, change=harmless)
    score = Score(made.placed)
    hostile = _visit(made, chromium, score)
    expected = _visit(plain, chromium, Score(plain.placed))
    for path in (hostile - expected) | (expected - hostile):
        score.fail(f"{hostile[path]} elements instead of {expected[path]}: {path[-200:]}")
    return score


def without_script(made: Made, chromium: Any) -> Score:
    """Opens the page where scripts are switched off."""
    score = Score(made.placed)
    with _loaded(made, chromium, java_script_enabled=False) as visit:
        text = visit.page.inner_text("body")
        score.read(visit.page.title() + "\n" + text, _in_page)
        _check_quiet(visit, score)
    return score


@contextmanager
def _loaded(made: Made, chromium: Any, fragment: str = "", **options: Any) -> Iterator[LoadedPage]:
    """Opens the page of a run from a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.html")
        file.write_text(page_of(made.run, made.run.drift), "utf-8", errors="replace")
        with LoadedPage(chromium, file, fragment, **options) as visit:
            yield visit


def _visit(made: Made, chromium: Any, score: Score) -> Counter[str]:
    """Reads a page as a person does, and returns its structure."""
    with _loaded(made, chromium) as visit:
        visit.open_all()
        visit.page.evaluate(_EVERYTHING)
        structure = Counter[str](visit.page.evaluate(_STRUCTURE))
        text = visit.page.evaluate(_TEXT)
        score.refuse_hidden(text, "\n\t")
        score.read(text, _in_page)
        _look_at_hosts(made, visit, score)
        _follow_numbers(visit, score)
        _check_quiet(visit, score)
    return structure


def _look_at_hosts(made: Made, visit: LoadedPage, score: Score) -> None:
    """Opens the view of each host by its link, and searches for it."""
    links = visit.page.evaluate(
        "Array.from(document.querySelectorAll('table.hosts tbody th a'), (a) => a.hash)"
    )
    if len(set(links)) != len(made.run.hosts):
        score.fail(f"{len(set(links))} links to {len(made.run.hosts)} hosts")
    for link in links:
        visit.page.evaluate("(hash) => { location.hash = hash }", link)
        visit.page.wait_for_selector("#host:not([hidden])")
        score.read(visit.page.text_content("#host") or "", _in_page)
    visit.page.evaluate("location.hash = '#hosts'")
    for placed in list(made.placed.values())[:20]:
        visit.page.fill("#filter", placed.payload[:60].replace("\n", " "))


def _follow_numbers(visit: LoadedPage, score: Score) -> None:
    """Follows every number to its hosts: as many are listed, whatever the texts in the address."""
    for number in visit.numbers():
        if number["counted"] != number["listed"] or not number["address"]:
            score.fail(f"{number['counted']} counted, {number['text'][:200]}: {number['filter']}")


def _check_quiet(visit: LoadedPage, score: Score) -> None:
    """Fails if anything ran, asked, was requested or logged."""
    ran = visit.page.evaluate("globalThis.ran")
    if ran is not None:
        score.fail("a script ran")
    for name, seen in (("logged", visit.console), ("asked", visit.dialogs)):
        if seen:
            score.fail(f"{name}: {seen[:3]}")
    if requests := [url for url in visit.requests if url.partition("#")[0] != visit.url]:
        score.fail(f"requested: {requests[:3]}")
