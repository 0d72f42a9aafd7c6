"""The page shows the hosts that no play selects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.browser import LoadedPage, page_of
from tests.unit.analysis.test_not_selected import REASON, RUN


def test_the_page_shows_its_state_in_the_list_of_hosts_and_on_its_own_page(
    chromium: Any, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page_of(RUN), "utf-8")
    with LoadedPage(chromium, path, "#hosts?state=not%20selected") as visit:
        assert visit.hosts() == ["db1", "db2"]
        visit.page.click("table.hosts tbody tr:first-child a")
        shown = visit.page.inner_text("#host")
        assert REASON in shown
        assert "fleetaudit explain" not in shown
        assert not visit.console
