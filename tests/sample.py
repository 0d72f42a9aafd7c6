"""Makes docs/sample: a report and its screenshots, from the made-up fleet of tests/runs.py.

    python -m tests.sample

The hosts are made up, and the page says so; what their kernels do is what real ones were seen to do.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec

from fleetaudit.compare import compare, past_of
from fleetaudit.drift import between, dated
from fleetaudit.model import Audited
from fleetaudit.report.html import render

from .browser import ARGUMENTS, GENERATED
from .runs import Fleet, by_name, observe, small_fleet

FOLDER = Path(__file__).parent.parent / "docs" / "sample"
SHOTS: tuple[tuple[str, Literal["light", "dark"], int, int], ...] = (
    ("light", "light", 1280, 900),
    ("dark", "dark", 1280, 900),
    ("phone", "light", 390, 844),
)


def page() -> str:
    """Returns the sample report: today's run, and what changed since yesterday's."""
    today, fleet = small_fleet(), Fleet()
    unread = by_name("unread-close")
    was = [
        fleet.host(h.name, h.kernel, groups=h.groups, instead=[observe(unread, f, "RST") for f in unread.families])
        if isinstance(h, Audited) and h.name in ("db3.example.net", "web006")
        else h
        for h in today.hosts
    ]
    note = "A sample: these hosts are made up; what their kernels do is what real ones were seen to do."
    before = msgspec.structs.replace(today.run, id="2026-11-21T020000Z", started="2026-11-21T02:00:00Z")
    earlier = msgspec.structs.replace(today, run=before, hosts=tuple(was))
    run = msgspec.structs.replace(
        today,
        run=msgspec.structs.replace(today.run, notes=(note,)),
        hosts=dated(today.hosts, (earlier,), "2026-11-22"),
    )
    return render(compare(run, between(earlier, run)), generated=GENERATED, past=[past_of(earlier), past_of(run)])


def main() -> None:
    """Writes the report, then its screenshots where there is a Chromium."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(parents=True, exist_ok=True)
    report = FOLDER / "report.html"
    report.write_text(page(), "utf-8")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("chromium is not installed, so there are no screenshots")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        for name, scheme, width, height in SHOTS:
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
            tab = context.new_page()
            tab.goto(report.as_uri())
            tab.screenshot(path=FOLDER / f"{name}.png")
            if name == "light":
                tab.locator("#duel-1").screenshot(path=FOLDER / "ladders.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
