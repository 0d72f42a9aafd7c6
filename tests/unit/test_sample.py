"""docs/sample, as it is in the repository: small, whole, and with nothing of the machine that made
it.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.sample import FOLDER, NIGHTS, SHOTS

MOST_BYTES = 3 * 1024 * 1024
MACHINE = re.compile(r"/tmp/|/root/|/home/|/work/")


def pages() -> list[Path]:
    return sorted(FOLDER.rglob("*.html"))


def test_the_samples_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < MOST_BYTES


def test_the_folder_has_the_pages_the_site_and_every_screenshot() -> None:
    assert {"report.html", "diff.html"} <= {page.name for page in FOLDER.glob("*.html")}
    assert {file.stem for file in FOLDER.glob("*.png")} == {shot.name for shot in SHOTS}
    assert len(list(FOLDER.glob("site/*/2*/index.html"))) == len(NIGHTS)


def test_every_link_between_the_pages_of_the_site_has_its_file() -> None:
    links = 0
    for page in pages():
        body = re.sub(r"<script\b.*?</script>", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r'href="([^"#:]+?)(?:#[^"]*)?"', body):
            links += 1
            assert (page.parent / target).is_file(), f"{page}: {target}"
    assert links > len(NIGHTS)


def test_no_page_names_a_folder_of_the_machine_that_made_it() -> None:
    for page in pages():
        assert not MACHINE.search(page.read_text("utf-8")), page
