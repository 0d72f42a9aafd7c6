"""The table of kernels holds: every fourth build is booted again, and a run knows its kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.analysis.kernel_table.statements import AT_LIMIT
from fleetaudit.app.kernel_table import shipped_table
from fleetaudit.transport.kernel import qemu
from tests.support.kernels import Kernel
from tools.kernel_archive import NoArchiveError
from tools.kernel_table import Bench, check, choose, default_cache, in_table, list_packages

IN_CI = bool(os.environ.get("CI"))
MOST_S = 900
"""After this time no further build is booted: the whole table is checked by hand."""
PLAYBOOK = """\
- name: What the fix of 2025 changes, and what a limit changes
  hosts: all
  trials: 1
  scenarios: [unread-close/reread-fin-close, unread-close/drained-*]
  sysctls:
    collect: [net.ipv4.tcp_*]
"""

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        shutil.which(qemu.PROGRAM) is None and not IN_CI, reason=f"no {qemu.PROGRAM}"
    ),
]


def test_every_fourth_build_of_the_table_still_ends_as_the_table_has_it() -> None:
    bench, table = Bench(default_cache()), shipped_table().table
    try:
        packages = list_packages(bench, "amd64")
    except NoArchiveError as e:
        if IN_CI:
            raise
        pytest.skip(str(e))
    chosen = choose(in_table(table, packages), every=4, every_flavour=True)
    checks = list(check(bench, table, chosen, time.monotonic() + MOST_S))
    assert len(checks) >= min(3, len(chosen))
    assert {one.package: one.differences for one in checks if one.differences} == {}


def known_kernel(folder: Path, kernel: Kernel, **variables: Any) -> dict[str, Any]:
    """Returns what run.json has about the one kernel of a run."""
    host = {"ansible_connection": "kernel", "kernel_image": str(kernel.image), **variables}
    (folder / "one.yml").write_text(json.dumps({"all": {"hosts": {"guest": host}}}))
    (folder / "play.yml").write_text(PLAYBOOK)
    command = [sys.executable, "-m", "fleetaudit", "run", "one.yml", "-p", "play.yml"]
    done = subprocess.run(
        [*command, "--host-deadline", "900"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 2), done.stdout + done.stderr
    (found,) = json.loads((folder / "reports/latest/run.json").read_text())["known_kernels"]
    return {**found, "printed": " ".join(done.stdout.split())}


@pytest.fixture
def measured(real: dict[str, Kernel]) -> Kernel:
    """Returns a kernel of the tests that the table has."""
    builds = {(build.package, build.package_version) for build in shipped_table().table.builds}
    for kernel in real.values():
        if (kernel.package, kernel.version) in builds:
            return kernel
    pytest.skip("the table has none of the kernels of the tests")


def test_a_run_knows_its_kernel_and_finds_no_difference(measured: Kernel, tmp_path: Path) -> None:
    found = known_kernel(tmp_path, measured)
    assert found["match"] == "exact"
    assert found["differences"] == []
    assert "table of kernels" not in found["printed"]


def test_a_guest_that_allows_no_orphans_is_not_called_patched(
    measured: Kernel, tmp_path: Path
) -> None:
    """Which of the closes then end in RST as well depends on when the kernel counts orphans."""
    found = known_kernel(tmp_path, measured, kernel_sysctls={"net.ipv4.tcp_max_orphans": "0"})
    for difference in found["differences"]:
        assert (difference["table"], difference["measured"]) == ("FIN", "FIN, then RST")
        assert difference["settings"] == [AT_LIMIT]
    assert "local patch" not in found["printed"]
    assert (AT_LIMIT in found["printed"]) == bool(found["differences"])
