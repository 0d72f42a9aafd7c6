"""Long names fit: nothing breaks in the middle of a word, is cut off or overlaps, and the page
itself never scrolls sideways. What is wrong is measured in the page, by layout.js.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetaudit.model import AuditRun
from tests.support.browser import LoadedPage, page_of
from tests.support.long_names import extreme_names, many_long_kernels, ordinary_names
from tests.support.published import add_run, publish
from tests.support.runs import small_fleet

MEASURE = Path(__file__).with_name("layout.js").read_text("utf-8")
FLEETS = {
    "ordinary": ordinary_names,
    "extreme": extreme_names,
    "kernels": many_long_kernels,
    "small": small_fleet,
}
WIDTHS = (390, 768, 1440)
NOTHING: dict[str, list[str]] = {
    "wide": [],
    "broken": [],
    "outside": [],
    "legend": [],
    "drawings": [],
    "ladders": [],
    "unreachable": [],
}


def measure(visit: LoadedPage, texts: int = 500) -> dict[str, Any]:
    """Unfolds everything and returns what is wrong with the layout of more than so many texts."""
    visit.open_all()
    found: dict[str, Any] = visit.page.evaluate(MEASURE)
    assert found.pop("texts") > texts
    return found


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each fleet."""
    folder = tmp_path_factory.mktemp("layout")
    found = {}
    for name, fleet in FLEETS.items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(page_of(fleet()), "utf-8")
    return found


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("fleet", FLEETS)
def test_long_names_fit(
    chromium: Any, paths: dict[str, Path], fleet: str, width: int, scheme: str, javascript: bool
) -> None:
    with LoadedPage(
        chromium,
        paths[fleet],
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=javascript,
    ) as visit:
        assert measure(visit) == NOTHING


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_one_host_with_long_names_fits(
    chromium: Any, paths: dict[str, Path], width: int
) -> None:
    name = first_name(ordinary_names())
    options: dict[str, Any] = {"viewport": {"width": width, "height": 900}}
    with LoadedPage(chromium, paths["ordinary"], f"#host?name={name}", **options) as visit:
        assert measure(visit) == NOTHING


def first_name(run: AuditRun) -> str:
    """Returns the name of the first host of a run."""
    return run.hosts[0].name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published site with two jobs, one of fleets with ordinary names, one with extreme ones."""
    folder = tmp_path_factory.mktemp("site")
    output = folder / "reports"
    output.mkdir()
    for night in range(3):
        inventory = ("inventories/production-of-the-whole-company-in-europe.yml",)
        add_run(output, night, run=ordinary_names(), inventory=inventory)
        add_run(output, night + 10, run=extreme_names(), inventory=(f"{'x' * 200}.yml",))
    publish(folder / "site", output)
    return folder / "site"


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_fit_on_the_pages_of_a_site(
    chromium: Any, site: Path, width: int, javascript: bool
) -> None:
    pages = [site / "index.html", *site.glob("*/index.html"), *site.glob("*/history.html")]
    options: dict[str, Any] = {"viewport": {"width": width, "height": 900}}
    found = {}
    for path in pages:
        with LoadedPage(chromium, path, java_script_enabled=javascript, **options) as visit:
            if "fleetaudit" in visit.page.title():
                found[path.relative_to(site)] = measure(visit, texts=20)
    assert len(found) >= 5
    wrong = [(path, kind, texts) for path, all_ in found.items() for kind, texts in all_.items()]
    assert [part for part in wrong if part[2]] == []


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("bdi { overflow-wrap: anywhere } th, td { max-width: 3rem !important }", "broken"),
        ("main { width: 120vw }", "wide"),
        ("bdi { white-space: nowrap } .card p { width: 6rem }", "outside"),
        (".legend dd { margin-block-start: -1rem }", "legend"),
        (".ladder { font-size: 15px }", "drawings"),
        (".ladder { width: 40rem; max-width: none }", "ladders"),
        (".cards { overflow-x: auto } .cards ol { width: 90rem }", "unreachable"),
    ],
)
def test_the_measurement_finds_what_is_wrong(
    chromium: Any, paths: dict[str, Path], harm: str, what: str
) -> None:
    options: dict[str, Any] = {"viewport": {"width": 390, "height": 900}, "bypass_csp": True}
    with LoadedPage(chromium, paths["ordinary"], **options) as visit:
        visit.page.add_style_tag(content=harm)
        assert measure(visit)[what]
