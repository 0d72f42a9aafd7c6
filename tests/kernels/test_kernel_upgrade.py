"""The gate of a kernel upgrade: two real kernels under one host name, compared on a page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.transport.kernel import qemu
from tests.support.browser import LoadedPage
from tests.support.kernels import Kernel

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        shutil.which(qemu.PROGRAM) is None and not os.environ.get("CI"),
        reason=f"no {qemu.PROGRAM}",
    ),
]
PLAYBOOK = """\
- name: What the fix of 2025 changes, and what it does not
  hosts: all
  trials: 1
  scenarios: [unread-close/unread-close, unread-close/reread-fin-close]
"""


def fleetaudit(folder: Path, *arguments: str, status: Collection[int] = (0,)) -> None:
    """Runs the command in `folder`, and holds that it ends with one of these statuses."""
    command = [sys.executable, "-m", "fleetaudit", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode in status, done.stdout + done.stderr


def audit(folder: Path, name: str, kernel: Kernel) -> None:
    """Audits one kernel as the host "gate", into the output folder of that name."""
    host = {"ansible_connection": "kernel", "kernel_image": str(kernel.image)}
    (folder / f"{name}.yml").write_text(json.dumps({"all": {"hosts": {"gate": host}}}))
    fleetaudit(folder, "run", f"{name}.yml", "-p", "play.yml", "-o", name, "--baseline", "none")


def test_the_page_of_an_upgrade_has_the_ending_that_the_fix_changed(
    real: dict[str, Kernel], chromium: Any, tmp_path: Path
) -> None:
    if not {"6.12-before", "6.12-after"} <= real.keys():
        pytest.skip("the archive has no kernel 6.12 of each side of the fix today")
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    audit(tmp_path, "before", real["6.12-before"])
    audit(tmp_path, "after", real["6.12-after"])
    runs = ("before/latest", "after/latest")
    fleetaudit(tmp_path, "diff", *runs, "--format", "html", "-o", "upgrade.html", status=(8,))
    fleetaudit(
        tmp_path, "diff", *reversed(runs), "--format", "html", "-o", "back.html", status=(8,)
    )
    with LoadedPage(chromium, tmp_path / "upgrade.html") as visit:
        assert visit.page.inner_text(".decision .first").endswith("Nothing got worse.")
        (cell,) = visit.page.locator("td.cell-changed").all_inner_texts()
        assert re.search(r"RST\s*→\s*FIN\s*✓\s*fix", cell)
        heads = visit.page.locator(".diff-matrix thead a").all_inner_texts()
        assert heads == ["reread-fin-close"]
        flags = [side_flags(visit.page, f"#pair-1-{side}") for side in ("before", "after")]
        assert ["R" in last for last in flags] == [True, False]
        assert visit.page.locator("#pair-1 .marked").count() == 2
    with LoadedPage(chromium, tmp_path / "back.html") as visit:
        assert "Regressions: reread-fin-close on 1 host." in visit.page.inner_text(".decision")
        assert "The second run is the earlier one" in visit.page.inner_text("#changes")


def side_flags(page: Any, details: str) -> str:
    """Returns the flags of all segments that the closer sent, out of the table of one side."""
    page.locator(f"{details} summary").click()
    rows = page.locator(f"{details} tr", has_text="closer → peer")
    return "".join(rows.locator("td:nth-child(3) .code").all_inner_texts())
