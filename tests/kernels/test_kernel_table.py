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
from fleetaudit.app.api import load_run
from fleetaudit.app.kernel_table import shipped_table
from fleetaudit.model import Evidence
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
PLAYBOOK_WITH_ORPHANS = """\
- name: A close of each side right after the kernel has counted an orphan
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios:
    - name: orphan-before-drained-close
      title: &title An orphan in FIN_WAIT1, while the kernel counts orphans
      steps: &steps [closer sends until blocked, closer closes, wait 150 ms, peer closes]
    - unread-close/drained-close
    - {name: orphan-before-drained-and-fin-close, title: *title, steps: *steps}
    - unread-close/drained-and-fin-close
  sysctls:
    collect: [net.ipv4.tcp_*]
"""
NO_ORPHANS = {"net.ipv4.tcp_max_orphans": "0"}
RESET_BY_LIMIT = {"FIN, then RST": "closer", "nothing": "peer"}
"""The side that the limit of orphans resets, by the ending.

tcp_close() sends its FIN and then, if tcp_check_oom() has too many orphans, an RST. If the peer
closes first, its RST leaves the closer's socket in CLOSE: the closer's own close sends nothing.

tcp_orphan_update() counts orphans every 100 ms, those in FIN_WAIT1, CLOSING and LAST_ACK: a close
is reset for the next 100 ms after one was counted, and which close that is differs from run to run.
"""
MOST_RUNS = 5
"""With KVM the time of a guest is that of this machine, and a close may come after the 100 ms."""

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


def known_kernel(
    folder: Path, kernel: Kernel, playbook: str = PLAYBOOK, **variables: Any
) -> dict[str, Any]:
    """Returns what run.json has about the one kernel of a run."""
    host = {"ansible_connection": "kernel", "kernel_image": str(kernel.image), **variables}
    (folder / "one.yml").write_text(json.dumps({"all": {"hosts": {"guest": host}}}))
    (folder / "play.yml").write_text(playbook)
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


def endings_at_limit(folder: Path, kernel: Kernel, playbook: str) -> set[str]:
    """Returns the endings that differ from the table in a guest that allows no orphans.

    Each difference must be of the limit: the segments show which side it has reset.
    """
    found = known_kernel(folder, kernel, playbook, kernel_sysctls=NO_ORPHANS)
    (host,) = load_run(folder / "reports/latest").audited
    seen = {(o.scenario, o.family): o.evidence for o in host.observations}
    for difference in found["differences"]:
        assert difference["table"] == "FIN"
        assert difference["measured"] in RESET_BY_LIMIT
        assert difference["settings"] == [AT_LIMIT]
        evidence = seen[difference["scenario"], difference["family"]]
        assert_reset_by_limit(evidence, RESET_BY_LIMIT[difference["measured"]])
    assert "local patch" not in found["printed"]
    assert (AT_LIMIT in found["printed"]) == bool(found["differences"])
    return {difference["measured"] for difference in found["differences"]}


def assert_reset_by_limit(evidence: Evidence, side: str) -> None:
    """Asserts that the limit has reset this side right after its FIN, a peer before the closer's
    close.
    """
    assert evidence.kernel is not None
    assert evidence.kernel["TCPAbortOnMemory"] == 1
    ends = [s for s in evidence.segments if s.sender == side and {"F", "R"} & set(s.flags)]
    assert [s.flags for s in ends[:2]] == ["F.", "R."]
    if side == "peer":
        last_step_us, _ = evidence.steps[-1]
        assert ends[1].at_us < last_step_us  # the closer's close


def test_a_guest_that_allows_no_orphans_is_not_called_patched(
    measured: Kernel, tmp_path: Path
) -> None:
    endings_at_limit(tmp_path, measured, PLAYBOOK)


def test_the_limit_of_orphans_resets_either_side_that_closes_first(
    measured: Kernel, tmp_path: Path
) -> None:
    endings = set[str]()
    for number in range(MOST_RUNS):
        folder = tmp_path / str(number)
        folder.mkdir()
        endings |= endings_at_limit(folder, measured, PLAYBOOK_WITH_ORPHANS)
        if endings == {*RESET_BY_LIMIT}:
            break
    assert endings == {*RESET_BY_LIMIT}
