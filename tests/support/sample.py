"""Makes docs/sample from real kernels: a report, a site, a page of an upgrade, and screenshots.

    python -m tests.support.sample

Boots the kernels that `tests.support.kernels` has, those before the fix of 2025 next to those after
it, under QEMU: minutes. The site is that of a small fleet which is upgraded over four nights; the
page of an upgrade compares the first night with the last.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests import ROOT

from .browser import ARGUMENTS
from .kernels import kernels

FOLDER = ROOT / "docs" / "sample"
REPORT, DIFF, SITE = FOLDER / "report.html", FOLDER / "diff.html", FOLDER / "site"


class Shot(NamedTuple):
    """A screenshot: its name, the page in docs/sample, and what is taken ("": the first screen).

    `page` is a pattern of one file, because the name of a job ends in digits.
    """

    name: str
    page: str
    scheme: Literal["light", "dark"] = "light"
    width: int = 1280
    height: int = 900
    element: str = ""


SHOTS = (
    Shot("light", "report.html"),
    Shot("dark", "report.html", "dark"),
    Shot("phone", "report.html", width=390, height=844),
    Shot("ladders", "report.html", element="#duel-1"),
    Shot("diff", "diff.html"),
    Shot("diff-matrix", "diff.html", element=".diff-matrix"),
    Shot("site", "site/index.html"),
    Shot("history", "site/*/history.html"),
)

NIGHTS = (
    {"web1": "5.10-before", "web2": "5.10-before", "db1": "6.12-before", "db2": "6.12-before"},
    {"web1": "5.10-before", "web2": "5.10-before", "db1": "6.12-after", "db2": "6.12-before"},
    {"web1": "6.12-after", "web2": "5.10-before", "db1": "6.12-after", "db2": "6.12-after"},
    {"web1": "6.12-after", "web2": "6.12-after", "db1": "6.12-after", "db2": "6.12-after"},
)
"""The kernel of each host in each night: an upgrade that spreads."""
SCENARIOS = (
    "unread-close",
    "partly-read-close",
    "drained-close",
    "reread-fin-close",
    "urgent-reread-fin-close",
    "mptcp-unread-close",
    "mptcp-zero-linger-close",
    "unix-urgent-read-close",
)
"""The scenarios of the small fleet, so that its site stays small."""
_PATIENT = ("--host-deadline", "900")
"""A guest is emulated, and the machine may be busy."""
_DAY_S, _TWO_O_CLOCK_S = 86_400, 7_200


def fleetaudit(folder: Path, *arguments: str, status: Collection[int] = (0,), now: int = 0) -> None:
    """Runs the command in `folder`; `now` (seconds since 1970) stops its clock.

    Raises `SystemExit` if the command ends with another status.
    """
    environment = dict(os.environ)
    if now:
        environment["SOURCE_DATE_EPOCH"] = str(now)
    command = [sys.executable, "-m", "fleetaudit", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    if done.returncode not in status:
        raise SystemExit(f"{' '.join(arguments)} ended with status {done.returncode}")


def write_inventory(folder: Path, name: str, images: dict[str, Path]) -> None:
    """Writes an inventory of kernel images by host, which are links in `folder`."""
    hosts = {}
    for host, image in images.items():
        link = folder / f"vmlinuz-{host}"
        link.unlink(missing_ok=True)
        link.symlink_to(image)
        hosts[host] = {"ansible_connection": "kernel", "kernel_image": link.name}
    (folder / name).write_text(json.dumps({"all": {"hosts": hosts}}))


def report_of_kernels(folder: Path) -> Path:
    """Runs fleetaudit in `folder` over the available kernels, and returns the page."""
    images = {f"linux-{kernel.name}": kernel.image for kernel in kernels()}
    write_inventory(folder, "kernels.yml", images)
    fleetaudit(folder, "run", "kernels.yml", *_PATIENT)
    return folder / "reports" / "latest" / "report.html"


def nights_of_an_upgrade(folder: Path) -> list[str]:
    """Runs fleetaudit in `folder` as if in the last nights, and returns the runs, oldest first."""
    images = {kernel.name: kernel.image for kernel in kernels()}
    scenarios = [f"unread-close/{name}" for name in SCENARIOS]
    play = {"name": "Close with unread data", "hosts": "all", "scenarios": scenarios}
    (folder / "nightly.yml").write_text(json.dumps([play]))
    for night, now in zip(NIGHTS, _times(len(NIGHTS)), strict=True):
        write_inventory(folder, "fleet.yml", {host: images[name] for host, name in night.items()})
        fleetaudit(folder, "run", "fleet.yml", "-p", "nightly.yml", *_PATIENT, now=now)
    return sorted(path.name for path in (folder / "reports").glob("2*"))


def _times(nights: int) -> Iterator[int]:
    """Yields two o'clock of the last nights, in seconds since 1970, oldest first."""
    today = int(time.time()) // _DAY_S
    for day in range(today - nights + 1, today + 1):
        yield day * _DAY_S + _TWO_O_CLOCK_S


def write_pages() -> None:
    """Writes the report, the site and the page of an upgrade."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        REPORT.write_bytes(report_of_kernels(Path(name)).read_bytes())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, *_, last = nights_of_an_upgrade(folder)
        runs = (f"reports/{first}", f"reports/{last}")
        fleetaudit(folder, "diff", *runs, "--format", "html", "-o", DIFF.name, status=(8,))
        DIFF.write_bytes((folder / DIFF.name).read_bytes())
        fleetaudit(folder, "publish", "--publish-mode", "0644", "site")
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.copytree(folder / "site", SITE, ignore=shutil.ignore_patterns(".*"))


def take(browser: Any, shot: Shot) -> None:
    """Takes one screenshot."""
    context = browser.new_context(
        color_scheme=shot.scheme, viewport={"width": shot.width, "height": shot.height}
    )
    tab = context.new_page()
    (page,) = FOLDER.glob(shot.page)
    tab.goto(page.as_uri())
    target = tab.locator(shot.element) if shot.element else tab
    target.screenshot(path=FOLDER / f"{shot.name}.png")
    context.close()


def main() -> None:
    """Writes the pages, then their screenshots."""
    from playwright.sync_api import sync_playwright

    executable = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if executable is None:
        raise SystemExit("chromium is not installed, so there could be no screenshots")
    write_pages()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        for shot in SHOTS:
            take(browser, shot)
        browser.close()


if __name__ == "__main__":
    main()
