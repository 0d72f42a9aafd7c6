"""How many clicks it takes a reader of a published site to answer five questions.

The reader begins where a bookmark leads: at the stable address of the latest report, or at the list
of jobs. The fleet is that of 22 nights, in which a finding opened on the twelfth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import LoadedPage
from tests.support.nights import night_time, store_nights
from tests.support.published import publish

NIGHTS = 22
UNMET = 12
"""The hosts that send FIN where the playbook expects RST, in the last night."""
FIRST_SEEN = f"{night_time(11):%Y-%m-%d}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a site of all the nights."""
    output, site = tmp_path_factory.mktemp("reports"), tmp_path_factory.mktemp("www") / "site"
    store_nights(output, NIGHTS)
    publish(site, output)
    return site


class Reader:
    """Somebody who looks at a page and counts the clicks. `page` is playwright's."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.clicks = 0

    def click(self, selector: str) -> None:
        """Clicks on the first such element that can be seen."""
        self.page.locator(selector).filter(visible=True).first.click()
        self.clicks += 1

    def reads(self, selector: str) -> str:
        """Returns the text of an element of which a part is in view without scrolling."""
        place = self.page.locator(selector).filter(visible=True).first
        box = place.bounding_box()
        height = self.page.viewport_size["height"]
        assert box is not None
        assert box["y"] < height
        assert box["y"] + box["height"] > 0
        return str(place.inner_text())


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["desk", "phone"])
def latest(chromium: Any, site: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Yields a reader of the latest report."""
    yield from _opened(chromium, site / "latest" / "index.html", request.param)


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["desk", "phone"])
def jobs(chromium: Any, site: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Yields a reader of the list of jobs."""
    yield from _opened(chromium, site / "index.html", request.param)


def _opened(chromium: Any, path: Path, size: tuple[int, int]) -> Iterator[Reader]:
    """Yields a reader of a page."""
    viewport = {"width": size[0], "height": size[1]}
    with LoadedPage(chromium, path, viewport=viewport) as loaded:
        yield Reader(loaded.page)


def test_must_i_act_takes_no_click(latest: Reader) -> None:
    assert "Act" in latest.reads(".status-label")
    assert latest.clicks == 0


def test_which_of_the_jobs_needs_me_takes_no_click(jobs: Reader) -> None:
    assert f"{UNMET} of 180 audited hosts" in jobs.reads(".job-status")
    assert jobs.clicks == 0


def test_which_hosts_takes_one_click(latest: Reader) -> None:
    latest.click(".status-sentence a")
    assert f"{UNMET} of 180 hosts" in latest.reads("#explorer output")
    assert latest.page.locator("table.hosts tbody tr").count() == UNMET
    assert latest.clicks == 1


def test_what_do_i_type_takes_no_click(latest: Reader) -> None:
    assert latest.reads(".status-first code").startswith("fleetaudit explain ")
    assert latest.clicks == 0


def test_since_when_takes_one_click(jobs: Reader) -> None:
    jobs.click(".job-links a:has-text('History')")
    assert FIRST_SEEN in jobs.reads("header")
    assert jobs.clicks == 1


def test_is_it_getting_better_takes_one_click(jobs: Reader) -> None:
    jobs.click(".job-links a:has-text('History')")
    assert jobs.reads("#trend").lstrip("! ").startswith("Worse")
    assert jobs.clicks == 1
