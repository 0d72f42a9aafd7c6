"""A published site in a browser: from a file, from Python's web server and from nginx."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import ROOT
from tests.support.browser import LoadedPage
from tests.support.published import add_rendered_run, add_run, dead_links, publish

FOLDER = "audits/fleet"
"""The folder of the site on the web server."""
NGINX = """
daemon off;
pid {root}/nginx.pid;
error_log stderr error;
events {{}}
http {{
  include /etc/nginx/mime.types;
  access_log {root}/access.log;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  server {{
    listen 127.0.0.1:{port};
{location}  }}
}}
"""


@pytest.fixture(scope="module")
def www() -> Iterator[Path]:
    """The folder of a web server, with a site of two jobs in a folder of it.

    It is not in pytest's folder, which only its owner may enter, as nginx runs as another user.
    """
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        output, site = root / "reports", root / "www" / FOLDER
        for night in range(11):
            add_run(output, night)
        for night in (12, 13):
            add_rendered_run(output, night, scheduled=True)
        name = (
            "a-very-long-name-of-an-inventory-" + "x" * 200 + "-\u0645\u0631\u062d\u0628\u0627.yml"
        )
        add_rendered_run(output, 14, inventory=(name,), limit="web:!" + "y" * 90, latest=False)
        (root / "www").mkdir(mode=0o755)
        (root / "www/audits").mkdir(mode=0o755)
        publish(site, output, mode=0o644)
        yield root / "www"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def python_server(www: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "-b", "127.0.0.1", "-d", str(www)]
    with running(command, port):
        yield f"http://127.0.0.1:{port}/{FOLDER}/"


@contextlib.contextmanager
def nginx_server(www: Path) -> Iterator[str]:
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("nginx is missing: install the package nginx-light")
        pytest.skip("needs nginx (package nginx-light)")
    port, root = free_port(), www.parent
    text = NGINX.format(root=root, port=port, location=documented_location(root))
    (root / "nginx.conf").write_text(text)
    with running([program, "-c", str(root / "nginx.conf"), "-e", "stderr"], port):
        yield f"http://127.0.0.1:{port}/{FOLDER}/"


def documented_location(root: Path) -> str:
    """Returns the location that docs/publishing.md has, for the folder of the tests."""
    page = (ROOT / "docs/publishing.md").read_text("utf-8")
    block: str
    (block,) = re.findall(r"^```nginx\n(.*?)^```", page, re.M | re.S)
    assert f"location /{FOLDER}/" in block
    return block.replace("root /srv/www;", f"root {root}/www;")


@contextlib.contextmanager
def files(www: Path) -> Iterator[str]:
    yield (www / FOLDER / "index.html").as_uri()


SERVERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[str]]] = {
    "file": files,
    "python": python_server,
    "nginx": nginx_server,
}


class Visit:
    """A browser that opened the site, with everything that it requested and logged."""

    def __init__(self, chromium: Any, url: str, **options: Any) -> None:
        self.context = chromium.new_context(**options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.console: list[str] = []
        self.statuses: list[tuple[int, str]] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", lambda got: self.statuses.append((got.status, got.url)))
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.url = url
        self.page.goto(url, wait_until="load")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def click(self, name: str) -> str:
        """Clicks the first link with this text, and returns the path of the page that it opens."""
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.page.wait_for_load_state("load")
        return self.path()

    def path(self) -> str:
        """Returns the path of the page, in the folder of the site."""
        return urlsplit(self.page.url).path.partition(FOLDER + "/")[2] or "index.html"

    def faults(self) -> list[object]:
        """Returns requests that left the site, answers that are errors, and messages."""
        base = self.url.rpartition("/")[0]
        outside = [url for url in self.requests if not url.startswith((base, "data:"))]
        return [*outside, *(s for s in self.statuses if s[0] >= 400), *self.console]


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_reader_clicks_from_the_index_to_latest_to_a_run_and_back(
    chromium: Any, www: Path, server: str, javascript: bool
) -> None:
    with (
        SERVERS[server](www) as url,
        Visit(chromium, url, java_script_enabled=javascript) as visit,
    ):
        assert visit.click("Open the latest report") == "latest/index.html"
        assert visit.page.locator("#status").is_visible()
        visit.page.go_back()
        job = visit.click("All runs (13)").partition("/")[0]
        assert visit.path() == f"{job}/index.html"
        assert visit.page.locator("tbody tr").count() == 13
        run = visit.click("2026-01-14 02:00 UTC")
        assert run == f"{job}/2026-01-14T020000Z/index.html"
        assert visit.page.locator("#status").is_visible()
        visit.page.go_back()
        assert visit.click("Report of the last run") == f"{job}/latest/index.html"
        visit.page.go_back()
        assert visit.click("fleetaudit") == "index.html"
        assert visit.click("History over weeks") == f"{job}/history.html"
        visit.page.locator(f"a[href='{run.partition('/')[2]}']").first.click()
        assert visit.path() == run
        visit.page.go_back()
        assert visit.click("fleetaudit") == "index.html"
        assert visit.faults() == []


@pytest.mark.parametrize("server", ["python", "nginx"])
def test_every_page_is_served_and_a_folder_is_its_index(
    chromium: Any, www: Path, server: str
) -> None:
    with SERVERS[server](www) as url, Visit(chromium, url) as visit:
        pages = [str(p.relative_to(www / FOLDER)) for p in (www / FOLDER).rglob("*.html")]
        assert len(pages) > 15
        for page in [*pages, "latest/", "history.json"]:
            got = visit.context.request.get(url + page)
            assert got.status == 200, page
            kind = "application/json" if page.endswith("json") else "text/html"
            assert got.headers["content-type"].startswith(kind)
    assert dead_links(www / FOLDER) == set()


def test_nginx_as_documented_hides_the_list_and_forbids_frames(chromium: Any, www: Path) -> None:
    with nginx_server(www) as url, Visit(chromium, url) as visit:
        for name in (".fleetaudit-site", ".fleetaudit-site.lock"):
            assert visit.context.request.get(url + name).status == 404
        assert visit.context.request.get(url + "../").status == 404
        headers = visit.context.request.get(url + "latest/").headers
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


def test_an_owner_only_site_is_not_readable_for_a_server_of_another_user(
    chromium: Any, www: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, so that nginx runs as another user")
    output, site = www.parent / "reports", www / FOLDER
    with nginx_server(www) as url, Visit(chromium, url) as visit:
        publish(site, output)
        try:
            assert visit.context.request.get(url).status == 403
        finally:
            publish(site, output, mode=0o644)
        assert visit.context.request.get(url).status == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("which", ["index", "job"])
def test_a_page_is_never_wider_than_the_screen_and_axe_finds_no_violation(
    chromium: Any, www: Path, axe: str, which: str, width: int, scheme: str
) -> None:
    page = www / FOLDER / "index.html"
    if which == "job":
        page = max((www / FOLDER).glob("a-very*/index.html"))
    size = {"width": width, "height": 900}
    with LoadedPage(chromium, page, viewport=size, color_scheme=scheme, bypass_csp=True) as visit:
        assert visit.width() <= width
        assert visit.violations(axe) == []


def test_how_long_ago_is_shown_with_the_script_and_the_time_without_it(
    chromium: Any, www: Path
) -> None:
    page = www / FOLDER / "index.html"
    with LoadedPage(chromium, page) as visit:
        assert "ago)" in visit.page.locator(".job-line", has_text="Last run").first.inner_text()
        assert visit.console == []
    with LoadedPage(chromium, page, java_script_enabled=False) as visit:
        text = visit.page.locator(".job-line", has_text="Last run").first.inner_text()
        assert "2026-01-14 02:00 UTC" in text
        assert "ago" not in text


def test_a_reader_with_a_keyboard_reaches_the_latest_report(chromium: Any, www: Path) -> None:
    with LoadedPage(chromium, www / FOLDER / "index.html") as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.textContent") == "Skip to the jobs"
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_url("**/latest/index.html")
