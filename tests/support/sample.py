"""Makes docs/sample: the report of a run over real kernels, and its screenshots.

    python -m tests.support.sample

Boots the kernels that `tests.support.kernels` has, those before the fix of 2025 next to those after
it, under QEMU: minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from tests import ROOT

from .browser import ARGUMENTS
from .kernels import kernels

FOLDER = ROOT / "docs" / "sample"
SHOTS: tuple[tuple[str, Literal["light", "dark"], int, int], ...] = (
    ("light", "light", 1280, 900),
    ("dark", "dark", 1280, 900),
    ("phone", "light", 390, 844),
)


def report_of_kernels(folder: Path) -> Path:
    """Runs fleetaudit in `folder` over the available kernels, and returns the page."""
    hosts = {}
    for kernel in kernels():
        image = folder / f"vmlinuz-{kernel.name}"
        image.symlink_to(kernel.image)
        hosts[f"linux-{kernel.name}"] = {"ansible_connection": "kernel", "kernel_image": image.name}
    (folder / "kernels.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    subprocess.run(
        [sys.executable, "-m", "fleetaudit", "run", "kernels.yml"], cwd=folder, check=True
    )
    return folder / "reports" / "latest" / "report.html"


def main() -> None:
    """Writes the report, then its screenshots where there is a Chromium."""
    from playwright.sync_api import sync_playwright

    executable = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if executable is None:
        raise SystemExit("chromium is not installed, so there could be no screenshots")
    FOLDER.mkdir(parents=True, exist_ok=True)
    report = FOLDER / "report.html"
    with tempfile.TemporaryDirectory() as folder:
        report.write_bytes(report_of_kernels(Path(folder)).read_bytes())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        for name, scheme, width, height in SHOTS:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": height}
            )
            tab = context.new_page()
            tab.goto(report.as_uri())
            tab.screenshot(path=FOLDER / f"{name}.png")
            if name == "light":
                tab.locator("#duel-1").screenshot(path=FOLDER / "ladders.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
