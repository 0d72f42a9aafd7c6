"""What the table of kernels has about each build, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis.kernel_table.statements import describe_kernels
from tests.support.browser import LoadedPage, page_of
from tests.support.kernel_tables import defaults, table_of_fleet
from tests.support.runs import K510, K612, K618, Fleet, by_name, observe, run_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three kernels: one known, one that differs on one host, and one unknown."""
    other = [observe(by_name("unread-close"), "ipv4", "FIN")]
    run = run_of(
        [
            Fleet().host("web1", K510),
            Fleet().host("web2", K612, sysctls=defaults()),
            Fleet().host("web3", K612, sysctls=defaults(), instead=other),
            Fleet().host("web4", K618),
        ]
    )
    known = describe_kernels(run, table_of_fleet({}))
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of(msgspec.structs.replace(run, known_kernels=known)), "utf-8")
    return file


def rows_of(visit: LoadedPage, label: str) -> list[str]:
    """Returns the rows of the body of a table, white space collapsed."""
    rows = visit.page.locator(f'[aria-label="{label}"] tbody tr').all_inner_texts()
    return [" ".join(row.split()) for row in rows]


def test_each_build_has_what_the_table_of_kernels_has_about_it(chromium: Any, path: Path) -> None:
    with LoadedPage(chromium, path) as visit:
        assert rows_of(visit, "What the table of kernels has") == [
            f"{K510.release} known; the table has no earlier build of 5.10",
            f"{K612.release} known; the table has no earlier build of 6.12",
            f"{K618.release} not in the table, which has no build of 6.18 for this machine",
        ]


def test_the_host_that_differs_has_a_row_and_its_kernel_is_a_link(
    chromium: Any, path: Path
) -> None:
    with LoadedPage(chromium, path) as visit:
        (row,) = rows_of(visit, "Hosts that differ from the table of kernels")
        assert row.startswith(f"{K612.release} unread-close IPv4 FIN RST a local patch, a module")
        assert row.endswith("please report it 1 web3")
        table = visit.page.locator('[aria-label="Hosts that differ from the table of kernels"]')
        target = table.locator("a.code").first.get_attribute("href")
        assert K612.release in visit.page.locator(f"tr{target}").inner_text()
        assert visit.page.locator('a[href="#known-kernels"]').count() >= 1
